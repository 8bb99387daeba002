import { DAEMON_OPTIONS, DAEMON_SHORT_OPTIONS, type Daemon } from '../../base/daemon.ts';
import { type ParsedOption, parseOptions } from '../../base/getopt.ts';
import { fieldByName } from '../../openflow/field.ts';
import type { PacketInFormat } from '../../openflow/messages.ts';
import {
  P_ANY,
  P_OF13_UP,
  P_OF14_OXM,
  type Protocols,
  protocolsFromString,
  protocolsOfVersions,
  protocolsToString,
  versionBitmapNames,
  versionsFromString,
  versionsOfProtocols,
} from '../../openflow/protocol.ts';
import { Fatal } from './fatal.ts';
import type { VconnTls } from './vconn.ts';

/** The command line of ovs-ofctl(8). */

export interface SortCriterion {
  /** '' sorts by priority. */
  field: string;
  ascending: boolean;
}

export interface OfctlOptions {
  /** Bit n: wire version n. */
  versions: number;
  protocols: Protocols;
  packetInFormat: PacketInFormat | undefined;
  verbosity: number;
  strict: boolean;
  readd: boolean;
  readOnly: boolean;
  bundle: boolean;
  mayCreate: boolean;
  timestamp: boolean;
  raw: boolean;
  pcap: boolean;
  stats: boolean;
  /** --names, --no-names; undefined: names are taken, and shown on a terminal. */
  names: boolean | undefined;
  sort: SortCriterion[];
  unixctl: string | undefined;
  tls: VconnTls;
  /** Seconds, 0: for ever. */
  timeout: number;
  show: 'help' | 'version' | 'options' | undefined;
}

const LONG = {
  timeout: 'required',
  strict: 'none',
  readd: 'none',
  'flow-format': 'required',
  'packet-in-format': 'required',
  more: 'none',
  timestamp: 'none',
  sort: 'optional',
  rsort: 'optional',
  names: 'none',
  'no-names': 'none',
  stats: 'none',
  'no-stats': 'none',
  unixctl: 'required',
  help: 'none',
  option: 'none',
  bundle: 'none',
  color: 'optional',
  'may-create': 'none',
  pcap: 'none',
  raw: 'none',
  'read-only': 'none',
  ...DAEMON_OPTIONS,
  version: 'none',
  protocols: 'required',
  'private-key': 'required',
  certificate: 'required',
  'ca-cert': 'required',
  'ssl-protocols': 'required',
  'ssl-ciphers': 'required',
} as const;

const SHORT = {
  ...DAEMON_SHORT_OPTIONS,
  t: 'timeout',
  F: 'flow-format',
  P: 'packet-in-format',
  m: 'more',
  h: 'help',
  o: 'option',
  V: 'version',
  O: 'protocols',
  p: 'private-key',
  c: 'certificate',
  C: 'ca-cert',
} as const;

/** Every option on a line, its letter on the next: what shells complete from. */
export function optionList(): string {
  const letters = new Map(Object.entries(SHORT).map(([letter, name]) => [name as string, letter]));
  const lines = Object.entries(LONG).map(([name, takes]) => {
    const argument = takes === 'required' ? 'ARG' : takes === 'optional' ? '[ARG]' : '';
    const letter = letters.get(name);
    return `--${name}${argument && `=${argument}`}\n${letter === undefined ? '' : `-${letter} ${argument}\n`}`;
  });
  return lines.join('');
}

const OPENFLOW10 = 1 << 1;

/** Reads the arguments; those of every daemon go to `daemon`. Throws UsageError, FatalError or Fatal. */
export function parseOfctlOptions(argv: readonly string[], daemon: Daemon): { options: OfctlOptions; args: string[] } {
  const parsed = parseOptions(argv, { long: LONG, short: SHORT });
  const options: OfctlOptions = {
    versions: OPENFLOW10,
    protocols: P_ANY,
    packetInFormat: undefined,
    verbosity: 0,
    strict: false,
    readd: false,
    readOnly: false,
    bundle: false,
    mayCreate: false,
    timestamp: false,
    raw: false,
    pcap: false,
    stats: true,
    names: undefined,
    sort: [],
    unixctl: undefined,
    tls: {},
    timeout: 0,
    show: undefined,
  };
  for (const option of parsed.options) if (!daemon.takeOption(option)) takeOption(options, option);
  if (options.show === undefined) settle(options);
  return { options, args: parsed.args };
}

type Setter = (o: OfctlOptions, value: string) => void;

const SETTERS: Readonly<Record<string, Setter>> = {
  timeout: (o, value) => {
    o.timeout = positive(value);
  },
  strict: (o) => {
    o.strict = true;
  },
  readd: (o) => {
    o.readd = true;
  },
  'flow-format': (o, value) => {
    o.protocols = orFatal(() => protocolsFromString(value));
  },
  'packet-in-format': (o, value) => {
    o.packetInFormat = packetInFormat(value);
  },
  more: (o) => {
    o.verbosity++;
  },
  timestamp: (o) => {
    o.timestamp = true;
  },
  sort: (o, value) => o.sort.push(criterion(value, true)),
  rsort: (o, value) => o.sort.push(criterion(value, false)),
  names: (o) => {
    o.names = true;
  },
  'no-names': (o) => {
    o.names = false;
  },
  stats: (o) => {
    o.stats = true;
  },
  'no-stats': (o) => {
    o.stats = false;
  },
  unixctl: (o, value) => {
    o.unixctl = value;
  },
  bundle: (o) => {
    o.bundle = true;
  },
  color: (_, value) => checkColor(value),
  'may-create': (o) => {
    o.mayCreate = true;
  },
  pcap: (o) => {
    o.pcap = true;
  },
  raw: (o) => {
    o.raw = true;
  },
  'read-only': (o) => {
    o.readOnly = true;
  },
  help: (o) => {
    o.show ??= 'help';
  },
  option: (o) => {
    o.show ??= 'options';
  },
  version: (o) => {
    o.show ??= 'version';
  },
  protocols: (o, value) => {
    o.versions = orFatal(() => versionsFromString(value));
  },
  'private-key': (o, value) => {
    o.tls.privateKey = value;
  },
  certificate: (o, value) => {
    o.tls.certificate = value;
  },
  'ca-cert': (o, value) => {
    o.tls.caCert = value;
  },
};

function takeOption(o: OfctlOptions, { name, value }: ParsedOption): void {
  SETTERS[name]?.(o, value ?? '');
}

function orFatal<T>(make: () => T): T {
  try {
    return make();
  } catch (e) {
    throw new Fatal((e as Error).message);
  }
}

function positive(value: string): number {
  if (!/^[0-9]+$/.test(value) || Number(value) < 1 || Number(value) > 0xffffffff)
    throw new Fatal(`value ${value} on -t or --timeout is invalid`);
  return Number(value);
}

function packetInFormat(value: string): PacketInFormat {
  if (value === 'standard' || value === 'openflow10') return 'standard';
  if (value === 'nxt_packet_in' || value === 'nxm') return 'nxt_packet_in';
  if (value === 'nxt_packet_in2') return value;
  throw new Fatal(`unknown packet-in format \`${value}'`);
}

function criterion(value: string, ascending: boolean): SortCriterion {
  if (value === '' || value.toLowerCase() === 'priority') return { field: '', ascending };
  const field = fieldByName(value);
  if (!field) throw new Fatal(`${value}: unknown field name`);
  return { field: field.name, ascending };
}

const COLORS = ['', 'always', 'yes', 'force', 'never', 'no', 'none', 'auto', 'tty', 'if-tty'];

/** Colours themselves are not given. */
function checkColor(value: string): void {
  if (!COLORS.includes(value.toLowerCase())) throw new Fatal(`incorrect value \`${value}' for --color`);
}

/** What follows from several options together. */
function settle(o: OfctlOptions): void {
  if (o.sort.length) o.sort.push({ field: '', ascending: false });
  if (o.bundle) allowBundles(o);
  const ofVersions = protocolsOfVersions(o.versions);
  if (!(o.protocols & ofVersions)) {
    throw new Fatal(
      `None of the enabled OpenFlow versions (${versionBitmapNames(o.versions)}) supports any of the enabled flow formats (${protocolsToString(o.protocols)}).  (Use -O to enable additional OpenFlow versions or -F to enable additional flow formats.)`,
    );
  }
  o.protocols &= ofVersions;
  o.versions &= versionsOfProtocols(o.protocols);
}

/** Bundles need OpenFlow 1.3 or later; when none is allowed it is 1.4. */
export function allowBundles(o: OfctlOptions): void {
  const withBundles = versionsOfProtocols(P_OF13_UP);
  if (o.versions & withBundles) return;
  o.versions = versionsOfProtocols(P_OF14_OXM);
}
