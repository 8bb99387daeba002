import type { Datum } from '../../ovsdb/datum.ts';
import { datumSubtract, datumUnion } from '../../ovsdb/datum.ts';
import type { Bridge } from './cache.ts';
import { bridgeRow, fetchBridges } from './cache.ts';
import type { CtlCommand, CtlContext } from './command.ts';
import { CtlError, CtlExit } from './errors.ts';
import type { Model, Row } from './model.ts';

/** Bridges (ovs-vsctl(8), "Bridge Commands"). */

export const prepareBridges = ({ db }: { db: Model }): void => fetchBridges(db);

export function lines(words: Iterable<string>): string {
  return [...words]
    .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    .map((word) => `${word}\n`)
    .join('');
}

/** As atoi(3). */
export const atoi = (text: string): number => Number.parseInt(text, 10) || 0;

function addBridge(ctx: CtlContext): undefined {
  const [command, name, parent, vlanText] = ctx.argv as [string, string, string?, string?];
  if (name === '') throw new CtlError('bridge name must not be empty string');
  if (parent !== undefined && vlanText === undefined) {
    throw new CtlError(`'${command}' command takes exactly 1 or 3 arguments`);
  }
  const vlan = vlanText === undefined ? 0 : atoi(vlanText);
  if (vlan < 0 || vlan > 4095) throw new CtlError(`${command}: vlan must be between 0 and 4095`);
  const cache = ctx.cache.populate();
  if (ctx.options.has('--may-exist')) {
    const bridge = cache.findBridge(name);
    if (bridge) {
      checkSame(bridge, name, parent, vlan);
      return;
    }
  }
  cache.checkConflicts(name, `cannot create a bridge named ${name}`);
  if (parent === undefined) addRealBridge(ctx, name);
  else addFakeBridge(ctx, name, parent, vlan);
  cache.invalidate();
}

/** For --may-exist. */
function checkSame(bridge: Bridge, name: string, parent: string | undefined, vlan: number): void {
  if (parent === undefined) {
    if (!bridge.parent) return;
    throw new CtlError(`"--may-exist add-br ${name}" but ${name} is a VLAN bridge for VLAN ${bridge.vlan}`);
  }
  const call = `"--may-exist add-br ${name} ${parent} ${vlan}" but ${name}`;
  if (!bridge.parent) throw new CtlError(`${call} is not a VLAN bridge`);
  if (bridge.parent.name !== parent) throw new CtlError(`${call} has the wrong parent ${bridge.parent.name}`);
  if (bridge.vlan !== vlan) throw new CtlError(`${call} is a VLAN bridge for the wrong VLAN ${bridge.vlan}`);
}

/** A port with an internal interface, both called `name`. */
function addLocalPort(ctx: CtlContext, name: string): Row {
  const iface = ctx.db.table('Interface').insert();
  iface.set('name', name);
  iface.set('type', 'internal');
  const port = ctx.db.table('Port').insert();
  port.set('name', name);
  port.setRefs('interfaces', [iface]);
  ctx.expectInterface(iface);
  return port;
}

function addRealBridge(ctx: CtlContext, name: string): void {
  const port = addLocalPort(ctx, name);
  const bridge = ctx.db.table('Bridge').insert();
  bridge.set('name', name);
  bridge.setRefs('ports', [port]);
  ctx.ovs.setRefs('bridges', [...ctx.ovs.refs('bridges'), bridge]);
}

function addFakeBridge(ctx: CtlContext, name: string, parentName: string, vlan: number): void {
  const parent = ctx.cache.findBridge(parentName);
  if (parent?.parent) throw new CtlError('cannot create bridge with fake bridge as parent');
  if (!parent) throw new CtlError(`parent bridge ${parentName} does not exist`);
  const conflict = parent.children.get(vlan);
  if (conflict) {
    throw new CtlError(`bridge ${parentName} already has a child VLAN bridge ${conflict.name} on VLAN ${vlan}`);
  }
  const port = addLocalPort(ctx, name);
  port.set('fake_bridge', true);
  port.set('tag', vlan);
  const row = parent.row!;
  row.setRefs('ports', [...row.refs('ports'), port]);
}

function deleteBridge(ctx: CtlContext): undefined {
  const cache = ctx.cache.populate();
  const name = ctx.argv[1]!;
  const bridge = ctx.options.has('--if-exists') ? cache.findBridge(name) : cache.bridge(name);
  if (bridge) cache.deleteBridge(bridge);
}

function listBridges(ctx: CtlContext): string {
  const isAny = !ctx.options.has('--real') && !ctx.options.has('--fake');
  const wanted = (bridge: Bridge) => isAny || ctx.options.has(bridge.parent ? '--fake' : '--real');
  const bridges = [...ctx.cache.populate().bridges.values()].filter(wanted);
  return lines(bridges.map(({ name }) => name));
}

/** Whose column external_ids has what belongs to the bridge, and what its keys there begin with. */
function externalIds(ctx: CtlContext): { row: Row; prefix: string } {
  const cache = ctx.cache.populate();
  const bridge = cache.bridge(ctx.argv[1]!);
  if (bridge.row) return { row: bridge.row, prefix: '' };
  return { row: cache.ports.get(bridge.name)!.row, prefix: 'fake-bridge-' };
}

function setExternalId(ctx: CtlContext): undefined {
  const { row, prefix } = externalIds(ctx);
  const key = `${prefix}${ctx.argv[2]}`;
  const value = ctx.argv[3];
  const old = row.read('external_ids');
  row.verify('external_ids');
  const keys: Datum = { keys: [key], values: null };
  const without = datumSubtract(old, keys);
  row.write('external_ids', value === undefined ? without : datumUnion({ keys: [key], values: [value] }, without));
}

function getExternalId(ctx: CtlContext): string {
  const { row, prefix } = externalIds(ctx);
  row.verify('external_ids');
  const key = ctx.argv[2];
  if (key !== undefined) {
    const value = row.member('external_ids', prefix + key);
    return value === undefined ? '' : `${value}\n`;
  }
  const { keys, values } = row.read('external_ids');
  const pairs = keys.map((name, i) => [name as string, values![i]] as const);
  const own = pairs.filter(([name]) => name.startsWith(prefix));
  return own.map(([name, value]) => `${name.slice(prefix.length)}=${value}\n`).join('');
}

function prepareExternalIds({ db }: { db: Model }): void {
  fetchBridges(db);
  db.fetch('Bridge', 'external_ids');
  db.fetch('Port', 'external_ids');
}

const one = (name: string, run: (bridge: Bridge) => string): CtlCommand => ({
  name,
  minArgs: 1,
  maxArgs: 1,
  args: 'BRIDGE',
  options: '',
  writes: false,
  prepare: prepareBridges,
  run: (ctx) => run(ctx.cache.populate().bridge(ctx.argv[1]!)),
});

function getFailMode(bridge: Bridge): string {
  const row = bridgeRow(bridge);
  row.verify('fail_mode');
  const mode = row.string('fail_mode');
  return mode === '' ? '' : `${mode}\n`;
}

function setFailMode(ctx: CtlContext): undefined {
  const row = ctx.cache.populate().realBridge(ctx.argv[1]!);
  const mode = ctx.argv[2]!;
  if (mode !== 'standalone' && mode !== 'secure') {
    throw new CtlError('fail-mode must be "standalone" or "secure"');
  }
  row.set('fail_mode', mode);
}

export const BRIDGE_COMMANDS: readonly CtlCommand[] = [
  {
    name: 'init',
    minArgs: 0,
    maxArgs: 0,
    args: '',
    options: '',
    writes: true,
  },
  {
    name: 'add-br',
    minArgs: 1,
    maxArgs: 3,
    args: 'NEW-BRIDGE [PARENT] [NEW-VLAN]',
    options: '--may-exist',
    writes: true,
    prepare: prepareBridges,
    run: addBridge,
  },
  {
    name: 'del-br',
    minArgs: 1,
    maxArgs: 1,
    args: 'BRIDGE',
    options: '--if-exists',
    writes: true,
    prepare: prepareBridges,
    run: deleteBridge,
  },
  {
    name: 'list-br',
    minArgs: 0,
    maxArgs: 0,
    args: '',
    options: '--real,--fake',
    writes: false,
    prepare: prepareBridges,
    run: listBridges,
  },
  {
    ...one('br-exists', () => ''),
    run: (ctx) => {
      if (!ctx.cache.populate().findBridge(ctx.argv[1]!)) throw new CtlExit(2);
    },
  },
  one('br-to-vlan', ({ vlan }) => `${vlan}\n`),
  one('br-to-parent', ({ name, parent }) => `${parent?.name ?? name}\n`),
  {
    name: 'br-set-external-id',
    minArgs: 2,
    maxArgs: 3,
    args: 'BRIDGE KEY [VALUE]',
    options: '',
    writes: true,
    prepare: prepareExternalIds,
    run: setExternalId,
  },
  {
    name: 'br-get-external-id',
    minArgs: 1,
    maxArgs: 2,
    args: 'BRIDGE [KEY]',
    options: '',
    writes: false,
    prepare: prepareExternalIds,
    run: getExternalId,
  },
  one('get-fail-mode', getFailMode),
  {
    ...one('del-fail-mode', () => ''),
    writes: true,
    run: (ctx) => ctx.cache.populate().realBridge(ctx.argv[1]!).set('fail_mode') as undefined,
  },
  {
    name: 'set-fail-mode',
    minArgs: 2,
    maxArgs: 2,
    args: 'BRIDGE MODE',
    options: '',
    writes: true,
    prepare: prepareBridges,
    run: setFailMode,
  },
];
