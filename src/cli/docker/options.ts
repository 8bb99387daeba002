import { isIP } from 'node:net';
import { addressError, interfaceNameError, macError, mtuError } from '../attach/link.ts';

/** A wrong command line; the message is printed behind the program's name, and the exit code is 1. */
export class DockerUsageError extends Error {
  override name = 'DockerUsageError';
}

export type SwitchRole = 'client' | 'server';

export interface AddPortOptions {
  readonly bridge: string;
  readonly iface: string;
  readonly container: string;
  readonly addresses: readonly string[];
  readonly gateways: readonly string[];
  readonly mac: string | undefined;
  readonly mtu: number | undefined;
  readonly mayExist: boolean;
  /** For a DPDK application: whether the switch connects to the socket (`client`) or makes it. */
  readonly dpdk: SwitchRole | undefined;
  readonly socketDir: string | undefined;
}

/** What stands before the command. */
export interface GlobalOptions {
  readonly db: string | undefined;
  readonly timeoutS: number;
}

const DEFAULT_TIMEOUT_S = 60;

export function parseGlobalOptions(argv: readonly string[]): { options: GlobalOptions; rest: string[] } {
  let db: string | undefined;
  let timeoutS = DEFAULT_TIMEOUT_S;
  let at = 0;
  for (; at < argv.length; at++) {
    const [, name, value] = /^--(db|timeout)=([\s\S]*)$/.exec(argv[at]!) ?? [];
    if (name === 'db') db = value!;
    else if (name === 'timeout') timeoutS = parseTimeout(value!);
    else break;
  }
  return { options: { db, timeoutS }, rest: argv.slice(at) };
}

function parseTimeout(text: string): number {
  if (!/^\d{1,6}$/.test(text) || Number(text) === 0)
    throw new DockerUsageError(`--timeout: "${text}" is not a number of seconds`);
  return Number(text);
}

/** The words behind `add-port`. Throws DockerUsageError. */
export function parseAddPort(words: readonly string[]): AddPortOptions {
  const [bridge, iface, container, ...rest] = words;
  if (!bridge || !iface || !container) {
    throw new DockerUsageError('add-port: not enough arguments (use --help for help)');
  }
  const given = new Given(rest);
  const options: AddPortOptions = {
    bridge,
    iface,
    container,
    addresses: given.list('ipaddress'),
    gateways: given.list('gateway'),
    mac: given.one('macaddress')?.toLowerCase(),
    mtu: given.number('mtu'),
    mayExist: given.flag('may-exist'),
    dpdk: given.role(),
    socketDir: given.one('socket-dir'),
  };
  given.checkAllTaken();
  checkAddPort(options);
  return options;
}

/** `--NAME=VALUE` and `--NAME`, each taken out by the one that knows it. */
class Given {
  readonly #words: string[];

  constructor(words: readonly string[]) {
    this.#words = [...words];
  }

  /** All values, which may also stand in one word with commas between. */
  list(name: string): string[] {
    const start = `--${name}=`;
    const found = this.#words.filter((word) => word.startsWith(start));
    for (const word of found) this.#words.splice(this.#words.indexOf(word), 1);
    return found.flatMap((word) => word.slice(start.length).split(',')).filter((value) => value !== '');
  }

  /** As in ovs-docker the last one counts. */
  one(name: string): string | undefined {
    return this.list(name).at(-1);
  }

  number(name: string): number | undefined {
    const text = this.one(name);
    return text === undefined ? undefined : /^\d+$/.test(text) ? Number(text) : Number.NaN;
  }

  flag(name: string): boolean {
    const at = this.#words.indexOf(`--${name}`);
    if (at >= 0) this.#words.splice(at, 1);
    return at >= 0;
  }

  role(): SwitchRole | undefined {
    const isPlain = this.flag('dpdk');
    const role = this.one('dpdk') ?? (isPlain ? 'client' : undefined);
    if (role === undefined || role === 'client' || role === 'server') return role;
    throw new DockerUsageError(`add-port: --dpdk=${role}: the switch is "client" or "server"`);
  }

  checkAllTaken(): void {
    const [word] = this.#words;
    if (word !== undefined) throw new DockerUsageError(`add-port: unknown option "${word}"`);
  }
}

function checkAddPort(options: AddPortOptions): void {
  const { iface, addresses, gateways, mac, mtu, dpdk, socketDir } = options;
  const errors = [
    interfaceNameError(iface),
    ...addresses.map(addressError),
    ...gateways.map((gw) => (isIP(gw) === 0 ? `gateway "${gw}" is not an IP address` : undefined)),
    mac === undefined ? undefined : macError(mac),
    mtu === undefined ? undefined : mtuError(mtu),
    dpdk === undefined && socketDir !== undefined ? '--socket-dir needs --dpdk' : undefined,
    dpdk !== undefined && addresses.length + gateways.length > 0
      ? 'a DPDK application sets its own addresses: --ipaddress and --gateway do not go with --dpdk'
      : undefined,
    socketDir !== undefined && !socketDir.startsWith('/') ? `--socket-dir=${socketDir} is not absolute` : undefined,
    dpdk === 'server' && socketDir !== undefined ? 'with --dpdk=server the socket is in the run folder' : undefined,
  ];
  const error = errors.find((one) => one !== undefined);
  if (error !== undefined) throw new DockerUsageError(`add-port: ${error}`);
}

export function parseVlan(text: string): number {
  if (!/^\d{1,4}$/.test(text) || Number(text) > 4095) {
    throw new DockerUsageError(`set-vlan: "${text}" is not a VLAN (0 to 4095)`);
  }
  return Number(text);
}

export const usage = (util: string): string => `\
${util}: Performs integration of Open vSwitch with Docker.
usage: ${util} [--db=DATABASE] [--timeout=SECS] COMMAND

Commands:
  add-port BRIDGE INTERFACE CONTAINER [--ipaddress="ADDRESS"]...
                    [--gateway=GATEWAY]... [--macaddress="MACADDRESS"]
                    [--mtu=MTU] [--may-exist]
                    Adds INTERFACE inside CONTAINER (a name or an id) and
                    connects it as a port in Open vSwitch BRIDGE, which is
                    made if there is none. Optionally, sets ADDRESS on
                    INTERFACE. ADDRESS is IPv4 or IPv6 and can include a '/'
                    to represent network prefix length. Optionally, sets a
                    GATEWAY, MACADDRESS and MTU. With --may-exist an
                    INTERFACE that is already connected is left as it is.
                    e.g.:
                    ${util} add-port br-int eth1 c474a0e2830e
                    --ipaddress=192.168.1.2/24 --gateway=192.168.1.1
                    --macaddress="a2:c3:0d:49:7f:f8" --mtu=1450
  add-port BRIDGE INTERFACE CONTAINER --dpdk[=client|server]
                    [--socket-dir=DIR] [--macaddress="MACADDRESS"]
                    Adds a vhost-user port for a DPDK application in
                    CONTAINER, which need not exist yet, and prints what to
                    mount. The switch is the socket's client (it connects
                    again whenever the application starts; the default) or
                    its server.
  del-port BRIDGE INTERFACE CONTAINER
                    Deletes INTERFACE inside CONTAINER and removes its
                    connection to Open vSwitch BRIDGE. e.g.:
                    ${util} del-port br-int eth1 c474a0e2830e
  del-ports BRIDGE CONTAINER
                    Removes all Open vSwitch interfaces from CONTAINER. e.g.:
                    ${util} del-ports br-int c474a0e2830e
  set-vlan BRIDGE INTERFACE CONTAINER VLAN
                    Configures the INTERFACE of CONTAINER attached to BRIDGE
                    to become an access port of VLAN. e.g.:
                    ${util} set-vlan br-int eth1 c474a0e2830e 5
  ls [--json]       Lists the interfaces that are connected.
  restore [CONTAINER]
                    Makes interfaces anew whose container was restarted.
  watch             Does so whenever a container starts, and removes the
                    ports of containers that are removed, until it is
                    interrupted.
Options:
  --db=DATABASE     connect to DATABASE (default: unix:RUNDIR/db.sock)
  --timeout=SECS    wait at most SECS seconds for the switch (default: 60)
  -h, --help        display this help message.
`;
