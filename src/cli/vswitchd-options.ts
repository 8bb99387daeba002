import { DAEMON_OPTIONS, DAEMON_SHORT_OPTIONS, type Daemon, daemonUsage, FatalError } from '../base/daemon.ts';
import { ovsRundir } from '../base/dirs.ts';
import { parseOptions, UsageError } from '../base/getopt.ts';

/** The command line of ovs-vswitchd(8). */

export type DummyLevel = 'none' | 'enabled' | 'override' | 'system';

export interface VswitchdOptions {
  /** Where the database is, e.g. `unix:/var/run/openvswitch/db.sock`. */
  remote: string;
  unixctl: string | undefined;
  dummy: DummyLevel;
  /** NUMA node of each core of a machine that is made up. */
  dummyNuma: string | undefined;
  disableSystem: boolean;
  /** The host's routes are not looked at. */
  disableSystemRoute: boolean;
  mlockall: boolean;
  tls: { privateKey?: string; certificate?: string; caCert?: string };
  /** Asked for help or the version instead. */
  show: 'help' | 'version' | undefined;
}

const LONG_OPTIONS = {
  ...DAEMON_OPTIONS,
  help: 'none',
  version: 'none',
  mlockall: 'none',
  unixctl: 'required',
  'private-key': 'required',
  certificate: 'required',
  'ca-cert': 'required',
  'peer-ca-cert': 'required',
  'bootstrap-ca-cert': 'required',
  'ssl-protocols': 'required',
  'ssl-ciphers': 'required',
  'enable-dummy': 'optional',
  'disable-system': 'none',
  'disable-system-route': 'none',
  dpdk: 'optional',
  'dummy-numa': 'required',
} as const;

const SHORT_OPTIONS = {
  ...DAEMON_SHORT_OPTIONS,
  h: 'help',
  V: 'version',
  p: 'private-key',
  c: 'certificate',
  C: 'ca-cert',
};

/** Reads the arguments; those of every daemon go to `daemon`. Throws UsageError or FatalError. */
export function parseVswitchdOptions(argv: readonly string[], daemon: Daemon): VswitchdOptions {
  const parsed = parseOptions(argv, { long: LONG_OPTIONS, short: SHORT_OPTIONS });
  if (parsed.args.length > 1) throw new UsageError('at most one non-option argument accepted; use --help for usage');
  const options: VswitchdOptions = {
    remote: parsed.args[0] ?? `unix:${ovsRundir()}/db.sock`,
    unixctl: undefined,
    dummy: 'none',
    dummyNuma: undefined,
    disableSystem: false,
    disableSystemRoute: false,
    mlockall: false,
    tls: {},
    show: undefined,
  };
  for (const option of parsed.options) {
    if (!daemon.takeOption(option)) takeOption(options, option.name as keyof typeof LONG_OPTIONS, option.value);
  }
  return options;
}

function takeOption(options: VswitchdOptions, name: keyof typeof LONG_OPTIONS, value: string | undefined): void {
  switch (name) {
    case 'help':
    case 'version':
      options.show ??= name;
      break;
    case 'mlockall':
      options.mlockall = true;
      break;
    case 'unixctl':
      options.unixctl = value;
      break;
    case 'private-key':
      options.tls.privateKey = value!;
      break;
    case 'certificate':
      options.tls.certificate = value!;
      break;
    case 'ca-cert':
    case 'bootstrap-ca-cert':
      options.tls.caCert = value!;
      break;
    case 'enable-dummy':
      if (value && value !== 'override' && value !== 'system') throw new FatalError(`${value}: unknown dummy level`);
      options.dummy = value === 'override' || value === 'system' ? value : 'enabled';
      break;
    case 'dummy-numa':
      options.dummyNuma = value;
      break;
    case 'disable-system':
      options.disableSystem = true;
      break;
    case 'disable-system-route':
      options.disableSystemRoute = true;
      break;
    case 'dpdk':
      throw new FatalError('Using --dpdk to configure DPDK is not supported.');
    default:
      break;
  }
}

export function vswitchdUsage(): string {
  return `ovs-vswitchd: Open vSwitch daemon
usage: ovs-vswitchd [OPTIONS] [DATABASE]
where DATABASE is a socket on which ovsdb-server is listening
      (default: "unix:${ovsRundir()}/db.sock").

Active DATABASE connection methods:
  tcp:HOST:PORT           PORT at remote HOST
  ssl:HOST:PORT           SSL PORT at remote HOST
  unix:FILE               Unix domain socket named FILE
PKI configuration (required to use SSL):
  -p, --private-key=FILE  file with private key
  -c, --certificate=FILE  file with certificate for private key
  -C, --ca-cert=FILE      file with peer CA certificate
${daemonUsage()}
DPDK options:
Configuration of DPDK via command-line is removed from this
version of Open vSwitch. DPDK is configured through ovsdb.

Other options:
  --unixctl=SOCKET          override default control socket name
  -h, --help                display this help message
  -V, --version             display version information
`;
}
