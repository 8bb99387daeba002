import { strerror } from '../base/errno.ts';
import { type OdpPort, odpPort } from '../base/types.ts';
import { UnixctlError, type UnixctlRegistry } from '../base/unixctl-registry.ts';
import { type Netdev, NetdevError, type NetdevProvider } from '../netdev/netdev.ts';
import { Datapaths, dpctlError, fullName, parseDpctlOptions, parseDpName } from './dpctl.ts';
import type { Dpif } from './dpif.ts';

/** The part of `dpctl/…` that makes datapaths and puts devices into them, without a bridge. */

export interface DpctlDeviceDeps {
  /** All datapaths, those of bridges too. */
  dpifs(): Iterable<Dpif>;
  /** Undefined: there is no such type. */
  createDpif(name: string, type: string): Dpif | undefined;
  provider(type: string): NetdevProvider | undefined;
  sockDir: string;
}

/** Datapaths that were made by `dpctl/add-dp`. */
export class OwnDatapaths {
  readonly #dpifs = new Map<string, Dpif>();

  values(): Iterable<Dpif> {
    return this.#dpifs.values();
  }

  add(dpif: Dpif): void {
    this.#dpifs.set(fullName(dpif), dpif);
  }

  delete(dpif: Dpif): boolean {
    return this.#dpifs.delete(fullName(dpif));
  }

  async close(): Promise<void> {
    for (const dpif of this.#dpifs.values()) await dpif.close();
    this.#dpifs.clear();
  }
}

/** `NAME,key=value,…` */
function parseDevice(text: string): { name: string; options: Map<string, string> } {
  const [name = '', ...rest] = text.split(',').filter((t) => t !== '');
  if (name === '') throw dpctlError(`${text} is not a valid network device name`);
  const options = new Map<string, string>();
  for (const option of rest) {
    const eq = option.indexOf('=');
    const key = eq < 0 ? option : option.slice(0, eq);
    if (options.has(key)) throw dpctlError(`duplicate "${key}" option`);
    options.set(key, eq < 0 ? '' : option.slice(eq + 1));
  }
  return { name, options };
}

async function addDevice(dpif: Dpif, dp: string, text: string, deps: DpctlDeviceDeps): Promise<void> {
  const { name, options } = parseDevice(text);
  const type = options.get('type') ?? 'system';
  const wanted = options.get('port_no');
  options.delete('type');
  options.delete('port_no');
  const provider = deps.provider(type);
  if (!provider) throw dpctlError(`${name}: failed to open network device`, 'Address family not supported by protocol');
  let netdev: Netdev;
  try {
    netdev = await provider.open(name, options, { sockDir: deps.sockDir });
  } catch (e) {
    throw dpctlError(`${name}: failed to open network device`, e instanceof NetdevError ? e.message : strerror(e));
  }
  try {
    await dpif.portAdd(netdev, wanted === undefined ? undefined : odpPort(Number(wanted)));
  } catch (e) {
    await netdev.close();
    throw dpctlError(`adding ${name} to ${dp} failed`, e instanceof NetdevError ? 'File exists' : strerror(e));
  }
  netdev.setAdminUp(true);
}

function findPort(dpif: Dpif, name: string): OdpPort | undefined {
  if (/^\d+$/.test(name)) return odpPort(Number(name));
  return [...dpif.ports()].find((p) => p.name === name)?.odpPort;
}

async function deleteDevice(dpif: Dpif, dp: string, name: string): Promise<void> {
  const port = findPort(dpif, name);
  if (port === undefined) throw dpctlError(`no port named ${name}`);
  const found = [...dpif.ports()].find((p) => p.odpPort === port);
  if (!found) throw dpctlError(`deleting port ${name} from ${dp} failed`, 'No such device');
  await dpif.portDel(port);
  await found.netdev.close();
}

function setDevice(dpif: Dpif, dp: string, text: string): void {
  const { name, options } = parseDevice(text);
  const port = [...dpif.ports()].find((p) => p.name === name);
  if (!port) throw dpctlError(`${name}: failed to query port in ${dp}`, 'No such device');
  const config = new Map(port.netdev.config?.() ?? []);
  for (const [key, value] of options) {
    if (key === 'type') {
      if (value !== port.type) throw dpctlError(`${name}: can't change type from ${port.type} to ${value}`);
    } else if (key === 'port_no') {
      if (Number(value) !== port.odpPort)
        throw dpctlError(`${name}: can't change port number from ${port.odpPort} to ${value}`);
    } else if (value === '') config.delete(key);
    else config.set(key, value);
  }
  const refusal = port.netdev.setOptions(config);
  if (refusal) throw dpctlError(refusal);
}

/** `dpif-dummy/change-port-number`: what happens to a switch whose port comes back under another number. */
function movePort(dpif: Dpif | undefined, name: string, number: string): string {
  if (!dpif?.portMove) throw new UnixctlError('unknown datapath or not a dummy');
  const ports = [...dpif.ports()];
  const port = ports.find((p) => p.name === name);
  const to = Number.parseInt(number, 10);
  if (!port) throw new UnixctlError('unknown port');
  if (!(to > 0 && to < 0xffffffff)) throw new UnixctlError('bad port number');
  if (ports.some((p) => p.odpPort === to)) throw new UnixctlError('port number already in use');
  dpif.portMove(port.odpPort, odpPort(to));
  return '';
}

/** Every one has its turn; the reply tells of all that failed. */
async function each(items: readonly string[], work: (item: string) => Promise<void> | void): Promise<string> {
  let errors = '';
  for (const item of items) {
    try {
      await work(item);
    } catch (e) {
      if (!(e instanceof UnixctlError)) throw e;
      errors += e.message;
    }
  }
  if (errors !== '') throw new UnixctlError(errors);
  return '';
}

export function registerDpctlDevices(
  registry: Pick<UnixctlRegistry, 'register'>,
  own: OwnDatapaths,
  deps: DpctlDeviceDeps,
): void {
  const paths = new Datapaths(() => deps.dpifs());
  const many = Number.POSITIVE_INFINITY;
  const register = (command: string, usage: string, min: number, run: (args: string[]) => Promise<string>) =>
    registry.register(`dpctl/${command}`, usage, min, many, (args) => run(parseDpctlOptions(args).rest));
  register('add-dp', 'dp [iface...]', 1, async ([dp = '', ...devices]) => {
    const { name, type } = parseDpName(dp);
    if (paths.find(dp)) throw dpctlError('add_dp', 'File exists');
    const dpif = deps.createDpif(name, type);
    if (!dpif) throw dpctlError('add_dp', 'Address family not supported by protocol');
    own.add(dpif);
    return each(devices, (text) => addDevice(dpif, dp, text, deps));
  });
  register('del-dp', 'dp', 1, async ([dp = '']) => {
    const dpif = paths.open(dp);
    if (!own.delete(dpif)) throw dpctlError('del_dp', 'Device or resource busy');
    const netdevs = [...dpif.ports()].map((p) => p.netdev);
    await dpif.close();
    for (const netdev of netdevs) await netdev.close();
    return '';
  });
  register('add-if', 'dp iface...', 2, async ([dp = '', ...devices]) => {
    const dpif = paths.open(dp);
    return each(devices, (text) => addDevice(dpif, dp, text, deps));
  });
  register('del-if', 'dp iface...', 2, async ([dp = '', ...devices]) => {
    const dpif = paths.open(dp);
    return each(devices, (name) => deleteDevice(dpif, dp, name));
  });
  register('set-if', 'dp iface...', 2, async ([dp = '', ...devices]) => {
    const dpif = paths.open(dp);
    return each(devices, (text) => setDevice(dpif, dp, text));
  });
  registry.register('dpif-dummy/change-port-number', 'dp port new-number', 3, 3, ([dp = '', name = '', number = '']) =>
    movePort(
      [...deps.dpifs()].find((d) => d.name === dp),
      name,
      number,
    ),
  );
}
