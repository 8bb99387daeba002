import { decode, encode } from '../../openflow/codec.ts';
import type { TableDesc, TableFeatures, TableMod } from '../../openflow/messages-table.ts';
import { ofpToString } from '../../openflow/print/ofp-print.ts';
import { TableFeaturesText } from '../../openflow/print/table-features.ts';
import { versionBitmapNames } from '../../openflow/protocol.ts';
import { parseTableMod } from '../../openflow/table-text.ts';
import {
  dumpTransaction,
  dumpTrivial,
  eachReply,
  encodeRequest,
  expectReply,
  openSwitch,
  parsing,
  transactNoreply,
  typeOf,
} from './client.ts';
import { errMessage, type OfctlCommand, type OfctlContext, outMessage } from './context.ts';
import { Exit, Fatal } from './fatal.ts';
import { namesToAccept } from './names.ts';
import type { Vconn } from './vconn.ts';
import { nextXid } from './xid.ts';

/** Commands about flow tables. */

const OFP11_VERSION = 2;
const OFP13_VERSION = 4;
const OFP14_VERSION = 5;
const OFP15_VERSION = 6;
const LAST_TABLE = 0xfe;
const ALL_TABLES = 0xff;

/** Says which option lets a command work. */
function needVersion(vconn: Vconn, least: number, what: string): void {
  if (vconn.version >= least) return;
  const minor = least - 1;
  throw new Fatal(`${what} needs OpenFlow 1.${minor} or later ('-O OpenFlow1${minor}')`);
}

/** One text over all messages of the reply, so that tables which are like the one before are short everywhere. */
const dumpTableFeatures: OfctlCommand = async (c) => {
  const vconn = await openSwitch(c, c.args[0]);
  needVersion(vconn, OFP13_VERSION, 'dump-table-features');
  const text = new TableFeaturesText();
  await eachReply(vconn, encodeRequest(vconn, { type: 'table_features_stats_request', tables: [] }), (msg) => {
    if (typeOf(msg) === 'error') outMessage(ofpToString(msg, c.options.verbosity + 1));
    else for (const f of expectReply(c, msg, 'table_features_stats_reply').tables) text.add(f);
  });
  outMessage(`${text.finish().replace(/^\n/, '')}\n`);
  vconn.close();
};

const dumpTableDesc: OfctlCommand = async (c) => {
  const vconn = await openSwitch(c, c.args[0]);
  needVersion(vconn, OFP14_VERSION, 'dump-table-desc');
  await dumpTransaction(c, vconn, encodeRequest(vconn, { type: 'table_desc_request' }));
  vconn.close();
};

async function fetchDescs(c: OfctlContext, vconn: Vconn): Promise<TableDesc[]> {
  const descs: TableDesc[] = [];
  await eachReply(vconn, encodeRequest(vconn, { type: 'table_desc_request' }), (msg) => {
    descs.push(...expectReply(c, msg, 'table_desc_reply').tables);
  });
  return descs;
}

/** A table-mod says everything: what is not to change is what it is. */
function completeMod(mod: TableMod, desc: TableDesc | undefined): TableMod {
  if (mod.eviction !== undefined) {
    const { vacancyDown = 0, vacancyUp = 0 } = desc?.tableVacancy ?? {};
    return { ...mod, vacancy: desc?.vacancy ?? false, tableVacancy: { vacancyDown, vacancyUp, vacancy: 0 } };
  }
  if (mod.vacancy === undefined || !desc) return mod;
  const flags = desc.evictionFlags === undefined ? {} : { evictionFlags: desc.evictionFlags };
  return { ...mod, eviction: desc.eviction, ...flags };
}

async function modify(c: OfctlContext, vconn: Vconn, mod: TableMod): Promise<void> {
  needVersion(vconn, OFP11_VERSION, 'table mod');
  if (vconn.version < OFP14_VERSION) {
    await transactNoreply(c, vconn, encodeRequest(vconn, mod));
    return;
  }
  const ids = mod.tableId === ALL_TABLES ? Array.from({ length: LAST_TABLE }, (_, i) => i) : [mod.tableId];
  const descs = await fetchDescs(c, vconn);
  for (const tableId of ids) {
    const desc = descs.find((d) => d.tableId === tableId);
    await transactNoreply(c, vconn, encodeRequest(vconn, completeMod({ ...mod, tableId }, desc)));
  }
}

async function fetchFeatures(c: OfctlContext, vconn: Vconn): Promise<TableFeatures[]> {
  const tables: TableFeatures[] = [];
  await eachReply(vconn, encodeRequest(vconn, { type: 'table_features_stats_request', tables: [] }), (msg) => {
    tables.push(...expectReply(c, msg, 'table_features_stats_reply').tables);
  });
  return tables;
}

/** OpenFlow 1.5 takes the new name alone; before, every table has to be said again. */
async function rename(c: OfctlContext, vconn: Vconn, tableId: number, name: string): Promise<void> {
  const all = await fetchFeatures(c, vconn);
  const table = all.find((t) => t.tableId === tableId);
  if (!table) throw new Fatal(`switch does not have table ${tableId}`);
  table.name = name.slice(0, 31);
  const tables =
    vconn.version >= OFP15_VERSION ? [{ ...table, command: 'modify' as const, anyProperties: false }] : all;
  const xid = nextXid();
  const requests = encode({ type: 'table_features_stats_request', tables }, vconn.version, xid);
  for (const request of requests) vconn.send(request);
  let done = false;
  while (!done) {
    const msg = await vconn.recvXid(xid);
    const result = decode(msg);
    if (!result.ok) throw new Fatal(`decode error: ${result.error.name}`);
    if (result.value.message.type === 'error') {
      errMessage(ofpToString(msg, c.options.verbosity + 1));
      throw new Exit(1);
    }
    done = !('more' in result.value.message) || !result.value.message.more;
  }
}

const modTable: OfctlCommand = async (c) => {
  const [target, table, setting] = c.args;
  const names = await namesToAccept(c, target, 'tables');
  const { mod, name, versions } = parsing(() => parseTableMod(table, setting, names));
  if (!(c.options.versions & versions))
    throw new Fatal(`table_mod '${setting}' requires one of the OpenFlow versions ${versionBitmapNames(versions)}`);
  c.options.versions &= versions;
  const vconn = await openSwitch(c, target);
  if (name === undefined) await modify(c, vconn, mod);
  else await rename(c, vconn, mod.tableId, name);
  vconn.close();
};

export const COMMANDS = {
  'dump-tables': (c: OfctlContext) => dumpTrivial(c, c.args[0], { type: 'table_stats_request' }),
  'dump-table-features': dumpTableFeatures,
  'dump-table-desc': dumpTableDesc,
  'mod-table': modTable,
};
