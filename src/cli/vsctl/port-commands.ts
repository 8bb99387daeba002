import { lines, prepareBridges } from './bridge-commands.ts';
import type { Bridge, Port } from './cache.ts';
import { bridgeRow } from './cache.ts';
import type { CtlCommand, CtlContext } from './command.ts';
import { UNLIMITED_ARGS } from './command.ts';
import { setColumn } from './db-commands.ts';
import { CtlError } from './errors.ts';
import { escapeArguments } from './escape.ts';

/** Ports, bonds and interfaces (ovs-vsctl(8), "Port Commands", "Bond Commands", "Interface Commands"). */

function listPorts(ctx: CtlContext): string {
  const bridge = ctx.cache.populate().bridge(ctx.argv[1]!);
  bridgeRow(bridge).verify('ports');
  return lines(bridge.ports.map(({ name }) => name).filter((name) => name !== bridge.name));
}

function listInterfaces(ctx: CtlContext): string {
  const bridge = ctx.cache.populate().bridge(ctx.argv[1]!);
  ctx.cache.verifyPorts();
  const ifaces = bridge.ports.flatMap((port) => port.ifaces);
  return lines(ifaces.map(({ name }) => name).filter((name) => name !== bridge.name));
}

/** The command as it was given, for messages. */
const callText = (ctx: CtlContext): string => escapeArguments([...ctx.options.keys(), ...ctx.argv]);

interface NewPort {
  readonly bridge: string;
  readonly name: string;
  readonly ifaces: readonly string[];
  readonly hasFakeIface: boolean;
  /** COLUMN[:KEY]=VALUE. */
  readonly settings: readonly string[];
}

function addPort(ctx: CtlContext, wanted: NewPort): undefined {
  const { name, ifaces } = wanted;
  if (name === '') throw new CtlError('port name must not be empty string');
  if (ifaces.includes('')) throw new CtlError('interface name must not be empty string');
  const cache = ctx.cache.populate();
  if (ctx.options.has('--may-exist')) {
    const port = cache.findPort(name);
    if (port) {
      checkSame(ctx, port, wanted);
      return;
    }
  }
  cache.checkConflicts(name, `cannot create a port named ${name}`);
  for (const iface of ifaces) cache.checkConflicts(iface, `cannot create an interface named ${iface}`);
  insertPort(ctx, cache.bridge(wanted.bridge), wanted);
}

/** For --may-exist. */
function checkSame(ctx: CtlContext, port: Port, { bridge, name, ifaces }: NewPort): void {
  if (port.bridge.name !== bridge) {
    throw new CtlError(`"${callText(ctx)}" but ${name} is actually attached to bridge ${port.bridge.name}`);
  }
  const have = port.row
    .refs('interfaces')
    .map((row) => row.string('name'))
    .sort();
  if (have.join('\n') !== [...ifaces].sort().join('\n')) {
    throw new CtlError(`"${callText(ctx)}" but ${name} actually has interface(s) ${have.join(', ')}`);
  }
}

function insertPort(ctx: CtlContext, bridge: Bridge, wanted: NewPort): void {
  const ifaces = wanted.ifaces.map((name) => {
    const iface = ctx.db.table('Interface').insert();
    iface.set('name', name);
    ctx.expectInterface(iface);
    return iface;
  });
  const row = ctx.db.table('Port').insert();
  row.set('name', wanted.name);
  row.setRefs('interfaces', ifaces);
  row.set('bond_fake_iface', wanted.hasFakeIface);
  if (bridge.parent) row.set('tag', bridge.vlan);
  for (const setting of wanted.settings) setColumn(ctx, row, setting, false);
  const parent = bridgeRow(bridge);
  parent.setRefs('ports', [...parent.refs('ports'), row]);
  const port = ctx.cache.addPort(bridge, row);
  for (const iface of ifaces) ctx.cache.addInterface(port, iface);
}

function addBond(ctx: CtlContext): undefined {
  const words = ctx.argv.slice(3);
  const firstSetting = words.findIndex((word) => word.includes('='));
  const nIfaces = firstSetting < 0 ? words.length : firstSetting;
  if (nIfaces < 2) {
    throw new CtlError(`add-bond requires at least 2 interfaces, but only ${nIfaces} were specified`);
  }
  addPort(ctx, {
    bridge: ctx.argv[1]!,
    name: ctx.argv[2]!,
    ifaces: words.slice(0, nIfaces),
    hasFakeIface: ctx.options.has('--fake-iface'),
    settings: words.slice(nIfaces),
  });
}

function addBondInterface(ctx: CtlContext): undefined {
  const cache = ctx.cache.populate();
  const port = cache.port(ctx.argv[1]!);
  const name = ctx.argv[2]!;
  if (ctx.options.has('--may-exist')) {
    const iface = cache.findInterface(name);
    if (iface?.port === port) return;
    if (iface) throw new CtlError(`"${callText(ctx)}" but ${name} is actually attached to port ${iface.port.name}`);
  }
  cache.checkConflicts(name, `cannot create an interface named ${name}`);
  const row = ctx.db.table('Interface').insert();
  row.set('name', name);
  port.row.setRefs('interfaces', [...port.row.refs('interfaces'), row]);
  ctx.expectInterface(row);
  cache.addInterface(port, row);
}

function deleteBondInterface(ctx: CtlContext): undefined {
  const cache = ctx.cache.populate();
  const name = ctx.argv.at(-1)!;
  const iface = ctx.options.has('--if-exists') ? cache.findInterface(name) : cache.interface(name);
  if (!iface) return;
  const { port } = iface;
  if (ctx.argv.length > 2 && cache.port(ctx.argv[1]!) !== port) {
    throw new CtlError(`port ${ctx.argv[1]} does not have an interface ${name}`);
  }
  if (port.ifaces.length === 1) throw new CtlError(`cannot delete last interface from port ${port.name}`);
  port.row.setRefs(
    'interfaces',
    port.row.refs('interfaces').filter((row) => row !== iface.row),
  );
  cache.deleteInterface(iface);
}

function deletePort(ctx: CtlContext): undefined {
  const port = portToDelete(ctx);
  if (!port) return;
  if (ctx.argv.length === 3) checkBridge(ctx, port);
  ctx.cache.deletePort(port);
}

function portToDelete(ctx: CtlContext): Port | undefined {
  const cache = ctx.cache.populate();
  const mayLack = ctx.options.has('--if-exists');
  const target = ctx.argv.at(-1)!;
  if (cache.findBridge(target)) {
    if (mayLack) return undefined;
    throw new CtlError(
      `cannot delete port ${target} because it is the local port for bridge ${target} ` +
        '(deleting this port requires deleting the entire bridge)',
    );
  }
  if (!ctx.options.has('--with-iface')) return mayLack ? cache.findPort(target) : cache.port(target);
  const port = cache.findPort(target) ?? cache.findInterface(target)?.port;
  if (!port && !mayLack) throw new CtlError(`no port or interface named ${target}`);
  return port;
}

function checkBridge(ctx: CtlContext, port: Port): void {
  const [, bridgeName, target] = ctx.argv;
  const bridge = ctx.cache.bridge(bridgeName!);
  if (port.bridge === bridge) return;
  const child = port.bridge.parent === bridge ? ` (although its child bridge ${port.bridge.name} does)` : '';
  throw new CtlError(`bridge ${bridgeName} does not have a port ${target}${child}`);
}

const command = (fields: Omit<CtlCommand, 'options' | 'prepare'> & { options?: string }): CtlCommand => ({
  options: '',
  prepare: prepareBridges,
  ...fields,
});

export const PORT_COMMANDS: readonly CtlCommand[] = [
  command({ name: 'list-ports', minArgs: 1, maxArgs: 1, args: 'BRIDGE', writes: false, run: listPorts }),
  command({
    name: 'add-port',
    minArgs: 2,
    maxArgs: UNLIMITED_ARGS,
    args: 'BRIDGE NEW-PORT [COLUMN[:KEY]=VALUE]...',
    options: '--may-exist',
    writes: true,
    run: (ctx) => {
      const [, bridge, name] = ctx.argv as [string, string, string];
      return addPort(ctx, { bridge, name, ifaces: [name], hasFakeIface: false, settings: ctx.argv.slice(3) });
    },
  }),
  command({
    name: 'del-port',
    minArgs: 1,
    maxArgs: 2,
    args: '[BRIDGE] PORT|IFACE',
    options: '--if-exists,--with-iface',
    writes: true,
    run: deletePort,
  }),
  command({
    name: 'port-to-br',
    minArgs: 1,
    maxArgs: 1,
    args: 'PORT',
    writes: false,
    run: (ctx) => `${ctx.cache.populate().port(ctx.argv[1]!).bridge.name}\n`,
  }),
  command({
    name: 'add-bond',
    minArgs: 4,
    maxArgs: UNLIMITED_ARGS,
    args: 'BRIDGE BOND IFACE... [COLUMN[:KEY]=VALUE]...',
    options: '--may-exist,--fake-iface',
    writes: true,
    run: addBond,
  }),
  command({
    name: 'add-bond-iface',
    minArgs: 2,
    maxArgs: 2,
    args: 'BOND IFACE',
    options: '--may-exist',
    writes: true,
    run: addBondInterface,
  }),
  command({
    name: 'del-bond-iface',
    minArgs: 1,
    maxArgs: 2,
    args: '[BOND] IFACE',
    options: '--if-exists',
    writes: true,
    run: deleteBondInterface,
  }),
  command({ name: 'list-ifaces', minArgs: 1, maxArgs: 1, args: 'BRIDGE', writes: false, run: listInterfaces }),
  command({
    name: 'iface-to-br',
    minArgs: 1,
    maxArgs: 1,
    args: 'IFACE',
    writes: false,
    run: (ctx) => `${ctx.cache.populate().interface(ctx.argv[1]!).port.bridge.name}\n`,
  }),
];
