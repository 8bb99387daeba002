/** The arguments of `turnout testpmd`: those of dpdk-testpmd that mean something here; EAL's are read over, so that a DPDK command line works. */
import { type OptionSpec, type ParsedOption, parseOptions, UsageError } from '../base/getopt.ts';
import { parseMac } from '../virtio-user/address.ts';
import { FORWARD_MODES, type ForwardMode } from '../virtio-user/driver.ts';
import { MAX_BURST } from '../virtio-user/kernel/layout.ts';
import { parseVdev, type VdevConfig } from '../virtio-user/vdev.ts';

export type Topology = 'paired' | 'chained' | 'loop';

export interface TestpmdOptions {
  vdevs: VdevConfig[];
  mode: ForwardMode;
  burst: number;
  rxd: number;
  txd: number;
  topology: Topology;
  /** Seconds between two displays of the statistics; 0: none. */
  statsPeriod: number;
  autoStart: boolean;
  interactive: boolean;
  txFirst: boolean;
  /** Bytes of the frames of txonly and flowgen, without FCS. */
  txSize: number;
  flows: number;
  peerMacs: Map<number, Uint8Array>;
  help: boolean;
}

export const TESTPMD_USAGE = `usage: turnout testpmd [EAL options] [--] [options]
Forwards packets between virtio-user ports, as dpdk-testpmd does, without DPDK.

  --vdev net_virtio_user0,path=SOCK[,mac=MAC][,queue_size=N][,server=1]   a port; repeat for more
  --forward-mode=MODE       ${Object.keys(FORWARD_MODES).join(', ')}
  --port-topology=T         paired (0<->1, 2<->3; default), chained, loop
  --burst=N                 packets a burst, 1 to ${MAX_BURST} (default 32)
  --rxd=N --txd=N           descriptors a ring (default 1024; a vdev's queue_size goes first)
  --txpkts=N                bytes of a generated frame without FCS (default 64)
  --flowgen-flows=N         flows of flowgen (default 1024)
  --eth-peer=PORT,MAC       destination in the mode mac
  --tx-first                send a burst on each port first
  --stats-period=SECONDS    show the statistics again and again
  -a, --auto-start          start forwarding at once, also with a prompt
  -i, --interactive         prompt: start, stop, set fwd MODE, show port stats all, quit, help
EAL options (-l, --lcores, -m, -n, --no-pci, --in-memory, --no-huge, --file-prefix, …) are accepted and have no effect.
`;

/** EAL's options: those with an argument, those without. */
const EAL_WITH = [
  'lcores',
  'main-lcore',
  'socket-mem',
  'file-prefix',
  'huge-dir',
  'log-level',
  'iova-mode',
  'proc-type',
];
const EAL_WITHOUT = [
  'no-pci',
  'in-memory',
  'single-file-segments',
  'no-huge',
  'no-telemetry',
  'legacy-mem',
  'no-shconf',
];
const EAL_SHORT = { l: 'lcores', c: 'lcores', m: 'socket-mem', n: 'socket-mem' };

const eal = Object.fromEntries([
  ...EAL_WITH.map((name) => [name, 'required'] as const),
  ...EAL_WITHOUT.map((name) => [name, 'none'] as const),
  ['vdev', 'required'] as const,
]);

const EAL_SPEC: OptionSpec = {
  long: { ...eal, allow: 'required', help: 'none' },
  short: { ...EAL_SHORT, a: 'allow', h: 'help' },
};

const APP_SPEC: OptionSpec = {
  long: {
    'forward-mode': 'required',
    'port-topology': 'required',
    burst: 'required',
    rxd: 'required',
    txd: 'required',
    txpkts: 'required',
    'flowgen-flows': 'required',
    'eth-peer': 'required',
    'tx-first': 'none',
    'stats-period': 'required',
    'auto-start': 'none',
    interactive: 'none',
    'nb-cores': 'required',
    'total-num-mbufs': 'required',
    'mbuf-size': 'required',
    rxq: 'required',
    txq: 'required',
    help: 'none',
  },
  short: { a: 'auto-start', i: 'interactive', h: 'help' },
};

const BOTH_SPEC: OptionSpec = {
  long: { ...eal, ...APP_SPEC.long },
  short: { ...EAL_SHORT, ...APP_SPEC.short },
};

/** EAL's part ends at `--`; without one, all options may stand together. */
function splitOptions(argv: readonly string[]): ParsedOption[] {
  const at = argv.indexOf('--');
  if (at < 0) return noArguments(parseOptions(argv, BOTH_SPEC));
  const first = noArguments(parseOptions(argv.slice(0, at), EAL_SPEC));
  return [...first, ...noArguments(parseOptions(argv.slice(at + 1), APP_SPEC))];
}

function noArguments(parsed: { options: ParsedOption[]; args: string[] }): ParsedOption[] {
  if (parsed.args.length > 0) throw new UsageError(`unexpected argument '${parsed.args[0]}'`);
  return parsed.options;
}

export function parseNumber(name: string, text: string, min: number, max: number): number {
  const n = Number(text);
  if (text.trim() === '' || !Number.isInteger(n) || n < min || n > max) {
    throw new UsageError(`${name} must be a number from ${min} to ${max}, not '${text}'`);
  }
  return n;
}

function parseRing(name: string, text: string): number {
  const n = parseNumber(name, text, 1, 32768);
  if ((n & (n - 1)) !== 0) throw new UsageError(`${name} must be a power of two, not ${n}`);
  return n;
}

function parsePeer(text: string): [number, Uint8Array] {
  const [port, mac] = text.split(',');
  return [parseNumber('eth-peer', port ?? '', 0, 31), parseMac(mac ?? '')];
}

export function isForwardMode(text: string): text is ForwardMode {
  return Object.hasOwn(FORWARD_MODES, text);
}

function parseMode(text: string): ForwardMode {
  if (!isForwardMode(text)) throw new UsageError(`forward-mode ${text} is not known`);
  return text;
}

function parseTopology(text: string): Topology {
  if (text !== 'paired' && text !== 'chained' && text !== 'loop')
    throw new UsageError(`port-topology ${text} is not known`);
  return text;
}

type Setter = (o: TestpmdOptions, value: string) => void;

const SETTERS: Record<string, Setter> = {
  vdev: (o, v) => o.vdevs.push(parseVdev(v)),
  'forward-mode': (o, v) => {
    o.mode = parseMode(v);
  },
  'port-topology': (o, v) => {
    o.topology = parseTopology(v);
  },
  burst: (o, v) => {
    o.burst = parseNumber('burst', v, 1, MAX_BURST);
  },
  rxd: (o, v) => {
    o.rxd = parseRing('rxd', v);
  },
  txd: (o, v) => {
    o.txd = parseRing('txd', v);
  },
  txpkts: (o, v) => {
    o.txSize = parseNumber('txpkts', v, 60, 9600);
  },
  'flowgen-flows': (o, v) => {
    o.flows = parseNumber('flowgen-flows', v, 1, 2 ** 31 - 1);
  },
  'eth-peer': (o, v) => o.peerMacs.set(...parsePeer(v)),
  'stats-period': (o, v) => {
    o.statsPeriod = parseNumber('stats-period', v, 0, 86400);
  },
  'tx-first': (o) => {
    o.txFirst = true;
  },
  'auto-start': (o) => {
    o.autoStart = true;
  },
  interactive: (o) => {
    o.interactive = true;
  },
  help: (o) => {
    o.help = true;
  },
};

export const testpmdDefaults = (): TestpmdOptions => ({
  vdevs: [],
  mode: 'io',
  burst: 32,
  rxd: 1024,
  txd: 1024,
  topology: 'paired',
  statsPeriod: 0,
  autoStart: false,
  interactive: false,
  txFirst: false,
  txSize: 64,
  flows: 1024,
  peerMacs: new Map(),
  help: false,
});

/** Throws UsageError, or Error for a vdev that is wrong. */
export function parseTestpmdOptions(argv: readonly string[]): TestpmdOptions {
  const o = testpmdDefaults();
  for (const { name, value } of splitOptions(argv)) SETTERS[name]?.(o, value ?? '');
  if (o.vdevs.length === 0 && !o.help) throw new UsageError('no ports: give --vdev net_virtio_user0,path=SOCK');
  if (o.topology === 'paired' && o.vdevs.length % 2 === 1 && !o.help) {
    process.stderr.write(
      'Warning! port-topology=paired and odd forward ports number, the last port will pair with itself.\n',
    );
  }
  return o;
}
