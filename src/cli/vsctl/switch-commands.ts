import type { Datum } from '../../ovsdb/datum.ts';
import { datumEquals, datumSubtract, datumUnion, sortedDatum } from '../../ovsdb/datum.ts';
import { atoi } from './bridge-commands.ts';
import { bridgeRow, fetchBridges } from './cache.ts';
import type { CtlCommand, CtlContext } from './command.ts';
import { UNLIMITED_ARGS } from './command.ts';
import { CtlError } from './errors.ts';
import type { Model, Row } from './model.ts';

/** Auto Attach, emer-reset, time-outs of connection tracking by zone, capabilities of datapaths (ovs-vsctl(8)). */

const EMPTY_MAP: Datum = { keys: [], values: [] };

const prepareMappings = ({ db }: { db: Model }): void => {
  fetchBridges(db);
  db.fetch('Bridge', 'auto_attach');
  db.fetch('AutoAttach', 'mappings');
};

function integerArgument(text: string): number {
  if (!/^\s*[+-]?\d/.test(text)) throw new CtlError(`Invalid argument ${text}`);
  return Number.parseInt(text, 10);
}

function mappingArguments({ argv }: CtlContext): Datum {
  return { keys: [integerArgument(argv[2]!)], values: [integerArgument(argv[3]!)] };
}

const bridgeOf = (ctx: CtlContext): Row => bridgeRow(ctx.cache.populate().bridge(ctx.argv[1]!));

function addMapping(ctx: CtlContext): undefined {
  const mapping = mappingArguments(ctx);
  const bridge = bridgeOf(ctx);
  let [attach] = bridge.refs('auto_attach');
  if (!attach) {
    attach = ctx.db.table('AutoAttach').insert();
    bridge.setRefs('auto_attach', [attach]);
  }
  attach.write('mappings', datumUnion(mapping, attach.read('mappings')));
}

function deleteMapping(ctx: CtlContext): undefined {
  const mapping = mappingArguments(ctx);
  const [attach] = bridgeOf(ctx).refs('auto_attach');
  if (!attach || attach.member('mappings', mapping.keys[0]!) !== mapping.values![0]) return;
  attach.write('mappings', datumSubtract(attach.read('mappings'), mapping));
}

function getMappings(ctx: CtlContext): string {
  const bridge = bridgeOf(ctx);
  bridge.verify('auto_attach');
  const [attach] = bridge.refs('auto_attach');
  attach?.verify('mappings');
  const { keys, values } = attach?.read('mappings') ?? EMPTY_MAP;
  return keys.map((key, i) => `${key} ${values![i]}\n`).join('');
}

/** Columns that go back to nothing. */
const RESET: Readonly<Record<string, readonly string[]>> = {
  Open_vSwitch: ['manager_options', 'ssl'],
  Bridge: ['controller', 'fail_mode', 'mirrors', 'netflow', 'sflow', 'ipfix', 'flood_vlans'],
  Port: ['other_config'],
};
/** Columns that go back to zero. */
const ZEROED = ['ingress_policing_rate', 'ingress_policing_burst'];
/** Tables that are emptied. */
const EMPTIED = ['Mirror', 'Controller', 'Manager', 'NetFlow', 'SSL', 'sFlow', 'IPFIX', 'Flow_Sample_Collector_Set'];

function prepareReset({ db }: { db: Model }): void {
  for (const [table, columns] of Object.entries(RESET)) db.fetch(table, ...columns);
  db.fetch('Bridge', 'other_config');
  db.fetch('Interface', ...ZEROED);
}

function emergencyReset(ctx: CtlContext): undefined {
  const { db } = ctx;
  for (const [table, columns] of Object.entries(RESET)) {
    for (const row of table === 'Open_vSwitch' ? [ctx.ovs] : db.table(table).rows()) {
      for (const column of columns) row.set(column);
    }
  }
  for (const bridge of db.table('Bridge').rows()) {
    // The bridge keeps its address.
    const address = bridge.member('other_config', 'hwaddr');
    bridge.write('other_config', address === undefined ? EMPTY_MAP : { keys: ['hwaddr'], values: [address] });
  }
  for (const iface of db.table('Interface').rows()) for (const column of ZEROED) iface.set(column, 0);
  for (const table of EMPTIED) for (const row of db.table(table).rows()) row.delete();
  ctx.cache.invalidate();
}

function findDatapath({ ovs, db }: CtlContext, name: string): Row | undefined {
  const uuid = ovs.member('datapaths', name);
  return uuid === undefined ? undefined : db.table('Datapath').get(uuid as string);
}

function prepareZones({ db }: { db: Model }): void {
  db.fetch('Open_vSwitch', 'datapaths');
  db.fetch('Datapath', 'ct_zones');
  db.fetch('CT_Zone', 'timeout_policy');
  db.fetch('CT_Timeout_Policy', 'timeouts');
}

interface ZoneArguments {
  readonly datapath: Row;
  readonly zone: number;
  readonly row: Row | undefined;
}

/** DATAPATH zone=ID. */
function zoneArguments(ctx: CtlContext): ZoneArguments {
  const [, name, word] = ctx.argv as [string, string, string];
  const datapath = findDatapath(ctx, name);
  if (!datapath) throw new CtlError(`datapath ${name} does not exist`);
  const zone = atoi(/^zone=\s*([+-]?\d+)/.exec(word)?.[1] ?? '');
  const uuid = datapath.member('ct_zones', zone);
  return { datapath, zone, row: uuid === undefined ? undefined : ctx.db.table('CT_Zone').get(uuid as string) };
}

function addZonePolicy(ctx: CtlContext): undefined {
  const { datapath, zone, row } = zoneArguments(ctx);
  const words = ctx.argv.slice(3);
  if (words.length === 0) throw new CtlError('No timeout policy');
  if (row && !ctx.options.has('--may-exist')) throw new CtlError(`zone id ${zone} already exists`);
  const policy = findOrInsertPolicy(ctx, words);
  const zoneRow = row ?? ctx.db.table('CT_Zone').insert();
  zoneRow.setRefs('timeout_policy', [policy]);
  if (!row) {
    datapath.write('ct_zones', datumUnion({ keys: [zone], values: [zoneRow.uuid] }, datapath.read('ct_zones')));
  }
}

/** Zones with the same time-outs share a policy. */
function findOrInsertPolicy({ db }: CtlContext, words: readonly string[]): Row {
  const pairs = new Map(words.map((word) => [word.split('=')[0]!, atoi(word.slice(word.indexOf('=') + 1))]));
  const timeouts = sortedDatum([...pairs.keys()], [...pairs.values()]);
  const table = db.table('CT_Timeout_Policy');
  const known = table.rows().find((row) => datumEquals(row.read('timeouts'), timeouts));
  if (known) return known;
  const policy = table.insert();
  policy.write('timeouts', timeouts);
  return policy;
}

function deleteZonePolicy(ctx: CtlContext): undefined {
  const { datapath, zone, row } = zoneArguments(ctx);
  if (row) {
    datapath.write('ct_zones', datumSubtract(datapath.read('ct_zones'), { keys: [zone], values: null }));
  } else if (!ctx.options.has('--if-exists')) throw new CtlError(`zone id ${zone} does not exist`);
}

function listZonePolicies(ctx: CtlContext): string {
  const name = ctx.argv[1]!;
  const datapath = findDatapath(ctx, name);
  if (!datapath) throw new CtlError(`datapath: ${name} record not found`);
  const { keys, values } = datapath.read('ct_zones');
  return keys.map((zone, i) => `Zone:${zone}, Timeout Policies: ${policyText(ctx, values![i] as string)}\n`).join('');
}

function policyText({ db }: CtlContext, zone: string): string {
  const policy = db.table('CT_Zone').get(zone)?.refs('timeout_policy')[0];
  if (!policy) return 'system default';
  const { keys, values } = policy.read('timeouts');
  return keys.map((key, i) => `${key}=${values![i]}`).join(' ');
}

function listCapabilities(ctx: CtlContext): string {
  const name = ctx.argv[1]!;
  const datapath = findDatapath(ctx, name);
  if (!datapath) throw new CtlError(`datapath "${name}" record not found`);
  const { keys, values } = datapath.read('capabilities');
  return `${keys.map((key, i) => `${key}=${values![i]}`).join(' ')}\n`;
}

const mapping = { minArgs: 3, maxArgs: 3, args: 'BRIDGE ARG ARG', options: '', writes: true, prepare: prepareMappings };
const zone = { args: '', prepare: prepareZones };

export const SWITCH_COMMANDS: readonly CtlCommand[] = [
  { ...mapping, name: 'add-aa-mapping', run: addMapping },
  { ...mapping, name: 'del-aa-mapping', run: deleteMapping },
  { ...mapping, name: 'get-aa-mapping', minArgs: 1, maxArgs: 1, args: 'BRIDGE', writes: false, run: getMappings },
  {
    name: 'emer-reset',
    minArgs: 0,
    maxArgs: 0,
    args: '',
    options: '',
    writes: true,
    prepare: prepareReset,
    run: emergencyReset,
  },
  {
    ...zone,
    name: 'add-zone-tp',
    minArgs: 3,
    maxArgs: UNLIMITED_ARGS,
    options: '--may-exist',
    writes: true,
    run: addZonePolicy,
  },
  { ...zone, name: 'del-zone-tp', minArgs: 2, maxArgs: 2, options: '--if-exists', writes: true, run: deleteZonePolicy },
  { ...zone, name: 'list-zone-tp', minArgs: 1, maxArgs: 1, options: '', writes: false, run: listZonePolicies },
  {
    name: 'list-dp-cap',
    minArgs: 1,
    maxArgs: 1,
    args: '',
    options: '',
    writes: false,
    prepare: ({ db }) => {
      db.fetch('Open_vSwitch', 'datapaths');
      db.fetch('Datapath', 'capabilities');
    },
    run: listCapabilities,
  },
];
