/** The arguments of `turnout pktgen`. */
import { type OptionSpec, parseOptions, UsageError } from '../base/getopt.ts';
import { MAX_BURST } from '../virtio-user/kernel/layout.ts';
import { parseVdev, type VdevConfig } from '../virtio-user/vdev.ts';

export interface PktgenOptions {
  vdevs: VdevConfig[];
  /** Commands to run before anything else, made from the flags. */
  commands: string[];
  scripts: string[];
  /** pcap files by port. */
  pcaps: Map<number, string>;
  burst: number;
  rxd: number;
  txd: number;
  /** Frames in flight at most, 0: no limit. */
  window: number;
  flows: number;
  /** Seconds to generate for; undefined: until the counts are sent. */
  duration: number | undefined;
  /** Seconds between two lines of statistics; 0: none. */
  statsPeriod: number;
  json: boolean;
  /** Where JSON lines go. */
  statsFd: number;
  interactive: boolean;
  /** Generate at once: some flag says what. */
  run: boolean;
  help: boolean;
}

export const PKTGEN_USAGE = `usage: turnout pktgen --port SOCK ... [options]
Generates packets on virtio-user ports and counts what comes back.

  --port SOCK                a port on a vhost-user socket; repeat for more
  --vdev net_virtio_user0,path=SOCK[,mac=MAC][,queue_size=N][,server=1]   the same, as DPDK writes it
  --rate PERCENT             of 10 Gbit/s line rate, preamble and gap counted, as in pktgen-dpdk; 100: as fast as it goes
  --pps N                    the rate in packets a second instead
  --count N                  packets each port sends
  --size BYTES               of a frame with its FCS, as in pktgen-dpdk (64 sends 60 bytes into the ring)
  --flows N                  so many source addresses in turn
  --proto udp|tcp|icmp       --burst N     --rxd N --txd N    --pcap PORT:FILE
  --window N                 packets in flight at most: the generator waits for what it has sent to come back
  --duration SECONDS         how long to generate
  --stats-period SECONDS     show statistics again and again
  --json                     statistics as one JSON object a line, the last one with "type": "final"
  --stats-fd FD              where those lines go (default 1)
  --script FILE              commands of the prompt, one a line
  -i, --interactive          prompt; the default on a terminal without --rate, --count, --duration or --script
Generation starts at once when --rate, --pps, --count, --duration or --flows is given. Exit code 0 when every port ran.
`;

const SPEC: OptionSpec = {
  long: {
    port: 'required',
    vdev: 'required',
    rate: 'required',
    pps: 'required',
    count: 'required',
    size: 'required',
    flows: 'required',
    proto: 'required',
    burst: 'required',
    rxd: 'required',
    txd: 'required',
    pcap: 'required',
    window: 'required',
    duration: 'required',
    'stats-period': 'required',
    json: 'none',
    'stats-fd': 'required',
    script: 'required',
    interactive: 'none',
    help: 'none',
  },
  short: { i: 'interactive', h: 'help' },
};

/** A number from `min` to `max`. Throws UsageError. */
export function numberOption(name: string, text: string, min: number, max: number): number {
  const n = Number(text);
  if (text.trim() === '' || !(n >= min && n <= max)) {
    throw new UsageError(`${name} must be a number from ${min} to ${max}, not '${text}'`);
  }
  return n;
}

function integerOption(name: string, text: string, min: number, max: number): number {
  const n = numberOption(name, text, min, max);
  if (!Number.isInteger(n)) throw new UsageError(`${name} must be a whole number, not '${text}'`);
  return n;
}

function ringOption(name: string, text: string): number {
  const n = integerOption(name, text, 1, 32768);
  if ((n & (n - 1)) !== 0) throw new UsageError(`${name} must be a power of two, not ${n}`);
  return n;
}

function setPcap(o: PktgenOptions, text: string): void {
  const match = /^(\d+):(.+)$/.exec(text);
  if (!match) throw new UsageError(`pcap must be PORT:FILE, not '${text}'`);
  o.pcaps.set(Number(match[1]), match[2]!);
}

/** Flags that are commands for all ports; those that also start the generation. */
const AS_COMMANDS = new Set(['rate', 'pps', 'count', 'size', 'proto']);
const STARTERS = new Set(['rate', 'pps', 'count', 'duration', 'flows']);

type Setter = (o: PktgenOptions, value: string) => void;

const SETTERS: Record<string, Setter> = {
  port: (o, v) => o.vdevs.push({ name: `net_virtio_user${o.vdevs.length}`, path: v, server: false }),
  vdev: (o, v) => o.vdevs.push(parseVdev(v)),
  pcap: setPcap,
  script: (o, v) => o.scripts.push(v),
  burst: (o, v) => {
    o.burst = integerOption('burst', v, 1, MAX_BURST);
  },
  rxd: (o, v) => {
    o.rxd = ringOption('rxd', v);
  },
  txd: (o, v) => {
    o.txd = ringOption('txd', v);
  },
  window: (o, v) => {
    o.window = integerOption('window', v, 0, 1e9);
  },
  flows: (o, v) => {
    o.flows = integerOption('flows', v, 1, 2 ** 31 - 1);
  },
  duration: (o, v) => {
    o.duration = numberOption('duration', v, 0, 1e9);
  },
  'stats-period': (o, v) => {
    o.statsPeriod = numberOption('stats-period', v, 0, 86400);
  },
  'stats-fd': (o, v) => {
    o.statsFd = integerOption('stats-fd', v, 0, 65535);
  },
  json: (o) => {
    o.json = true;
  },
  interactive: (o) => {
    o.interactive = true;
  },
  help: (o) => {
    o.help = true;
  },
};

export const pktgenDefaults = (): PktgenOptions => ({
  vdevs: [],
  commands: [],
  scripts: [],
  pcaps: new Map(),
  burst: 32,
  rxd: 1024,
  txd: 1024,
  window: 0,
  flows: 1,
  duration: undefined,
  statsPeriod: 0,
  json: false,
  statsFd: 1,
  interactive: false,
  run: false,
  help: false,
});

/** Throws UsageError, or Error for a vdev that is wrong. */
export function parsePktgenOptions(argv: readonly string[]): PktgenOptions {
  const o = pktgenDefaults();
  // The `--` between EAL's options and the rest is allowed and means nothing.
  const { options, args } = parseOptions(
    argv.filter((a) => a !== '--'),
    SPEC,
  );
  if (args.length > 0) throw new UsageError(`unexpected argument '${args[0]}'`);
  for (const { name, value } of options) {
    if (AS_COMMANDS.has(name)) o.commands.push(`set all ${name} ${value}`);
    else SETTERS[name]!(o, value ?? '');
    if (STARTERS.has(name)) o.run = true;
  }
  if (o.vdevs.length === 0 && !o.help) throw new UsageError('no ports: give --port SOCK');
  return o;
}
