/** What the generator sends, and what sends it. */

/** testpmd's flowgen: `nFlows` destination addresses from 10.253.0.0 upward in turn on each port, UDP port 1001. */
export interface FlowgenTraffic {
  generator: 'testpmd-flowgen';
  nFlows: number;
  /** Bytes of a frame without its FCS. */
  size: number;
}

/**
 * Turnout's own pktgen, for what testpmd's modes cannot send: UDP with a new 5-tuple each time. Addresses and ports each go round a range of their
 * own by a step that hops about in it; the rounds have lengths without a common divisor, so that no 5-tuple comes twice in hours.
 */
export interface RandomTraffic {
  generator: 'pktgen-random';
  size: number;
}

/** Frames that pktgen sends over and over on its first port; they come out of the second. */
export interface ReplayTraffic {
  generator: 'pktgen-replay';
  frames: readonly Uint8Array[];
}

export type Traffic = FlowgenTraffic | RandomTraffic | ReplayTraffic;

/** Where a field goes round: `max` is what `steps` steps of `inc` from `min` on come to. */
interface Round {
  field: string;
  min: number;
  steps: number;
  inc: number;
}

const ip = (n: number) => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255].join('.');

/** The numbers of steps are primes. Destinations lie in 10.0.0.0 to 10.19.255.255, the networks of random-20-masks.flows. */
const ROUNDS: readonly Round[] = [
  { field: 'src ip', min: 0xac100000, steps: 8191, inc: 127 },
  { field: 'dst ip', min: 0x0a000000, steps: 1297, inc: 1010 },
  { field: 'src port', min: 1024, steps: 1009, inc: 61 },
  { field: 'dst port', min: 1024, steps: 503, inc: 127 },
];

function rangeCommand({ field, min, steps, inc }: Round): string {
  const max = min + (steps - 1) * inc;
  const text = (n: number) => (field.endsWith('ip') ? ip(n) : String(n));
  return `range all ${field} ${text(min)} ${text(min)} ${text(max)} ${inc}`;
}

/** Commands of pktgen's prompt that make it send new 5-tuples, FCS counted in the size as pktgen does. */
export function randomCommands(size: number): string[] {
  return [
    'set all proto udp',
    `set all size ${size + 4}`,
    ...ROUNDS.map(rangeCommand),
    'enable all range',
    'start all',
  ];
}

/** How the packets of a row are told to a reader of its result. */
export function describeTraffic(traffic: Traffic): string {
  switch (traffic.generator) {
    case 'testpmd-flowgen':
      return `dpdk-testpmd flowgen, ${traffic.nFlows} destinations in turn on each of two ports, Ethernet/IPv4/UDP, ${traffic.size} bytes without FCS`;
    case 'pktgen-random':
      return `turnout pktgen, a new 5-tuple each time on each of two ports, Ethernet/IPv4/UDP, ${traffic.size} bytes without FCS`;
    case 'pktgen-replay':
      return `turnout pktgen, ${traffic.frames.length} frames in turn on the first of two ports`;
  }
}
