import { isatty } from 'node:tty';
import { decode, encode } from '../../openflow/codec.ts';
import type { Message, MessageType, PhyPort } from '../../openflow/messages.ts';
import type { PortNames } from '../../openflow/port.ts';
import { ofpToString } from '../../openflow/print/ofp-print.ts';
import type { OfctlContext } from './context.ts';
import { Fatal, fatalErrno } from './fatal.ts';
import { openVconn, type Vconn, VconnError } from './vconn.ts';
import { nextXid, xidOf } from './xid.ts';

/** Names of a switch's ports and tables: they are taken in input unless --no-names, and shown with --names or on a terminal. */

const OFP13_VERSION = 4;
const OFP10_VERSION = 1;

/** All messages that answer a statistics request. */
async function statsReplies(c: OfctlContext, vconn: Vconn, request: Message, wanted: MessageType): Promise<Message[]> {
  const bytes = encode(request, vconn.version, nextXid())[0];
  vconn.send(bytes);
  const replies: Message[] = [];
  for (;;) {
    const msg = await vconn.recvXid(xidOf(bytes)).catch((e: unknown) => {
      throw e instanceof VconnError ? fatalErrno(e.code, 'OpenFlow receive failed') : e;
    });
    const result = decode(msg);
    if (!result.ok || result.value.message.type !== wanted)
      throw new Fatal(`received bad reply: ${ofpToString(msg, c.options.verbosity + 1)}`);
    replies.push(result.value.message);
    if (!('more' in result.value.message) || !result.value.message.more) return replies;
  }
}

/** Before OpenFlow 1.3 ports are in the features reply, as many as it has room for. */
function featuresAreWhole(vconn: Vconn, msg: Uint8Array): boolean {
  return vconn.version < OFP13_VERSION && msg.length + (vconn.version === OFP10_VERSION ? 48 : 64) <= 0xffff;
}

/** Every port of the switch. */
export async function fetchPorts(c: OfctlContext, vconn: Vconn): Promise<PhyPort[]> {
  if (vconn.version < OFP13_VERSION) {
    const request = encode({ type: 'features_request' }, vconn.version, nextXid())[0];
    const msg = await vconn.transact(request);
    const result = decode(msg);
    if (!result.ok || result.value.message.type !== 'features_reply')
      throw new Fatal(`${vconn.name}: received bad features reply`);
    if (featuresAreWhole(vconn, msg)) return result.value.message.ports;
  }
  const request: Message = { type: 'port_desc_stats_request', portNo: 0xffffffff as PhyPort['portNo'] };
  const replies = await statsReplies(c, vconn, request, 'port_desc_stats_reply');
  return replies.flatMap((m) => (m.type === 'port_desc_stats_reply' ? m.ports : []));
}

interface TableName {
  tableId: number;
  name: string;
}

async function fetchTables(c: OfctlContext, vconn: Vconn): Promise<TableName[]> {
  if (vconn.version < OFP13_VERSION) {
    const replies = await statsReplies(c, vconn, { type: 'table_stats_request' }, 'table_stats_reply');
    return replies.flatMap((m) => (m.type === 'table_stats_reply' ? (m.features ?? []) : []));
  }
  const request: Message = { type: 'table_features_stats_request', tables: [] };
  const replies = await statsReplies(c, vconn, request, 'table_features_stats_reply');
  return replies.flatMap((m) => (m.type === 'table_features_stats_reply' ? m.tables : []));
}

/** Names that stand for one number alone, both ways. */
class NameMap {
  readonly #byName = new Map<string, number | undefined>();
  readonly #byNumber = new Map<number, string | undefined>();

  put(number: number, name: string): void {
    if (name === '') return;
    // What is there twice is ambiguous, and stands for nothing.
    this.#byName.set(name, this.#byName.has(name) && this.#byName.get(name) !== number ? undefined : number);
    this.#byNumber.set(number, this.#byNumber.has(number) && this.#byNumber.get(number) !== name ? undefined : name);
  }

  name(number: number): string | undefined {
    const name = this.#byNumber.get(number);
    return name !== undefined && this.#byName.get(name) === number ? name : undefined;
  }

  number(name: string): number | undefined {
    return this.#byName.get(name);
  }
}

/** What names are wanted of. */
export type NamesOf = 'ports' | 'tables' | 'both';

const portNames = new Map<string, Promise<NameMap>>();
const tableNames = new Map<string, Promise<NameMap>>();

/** Fetches one kind of names over a connection of its own, once a target. */
function fetchOnce(
  c: OfctlContext,
  target: string,
  known: Map<string, Promise<NameMap>>,
  fill: (vconn: Vconn, map: NameMap) => Promise<void>,
): Promise<NameMap> {
  const fetch = async () => {
    const { versions, tls } = c.options;
    const map = new NameMap();
    const vconn = await openVconn(target, 'mgmt', { versions, tls });
    await fill(vconn, map);
    vconn.close();
    return map;
  };
  const found = known.get(target) ?? fetch();
  known.set(target, found);
  return found;
}

const NOTHING = new NameMap();

/** Nobody is asked where that could take for ever. */
async function namesOf(c: OfctlContext, target: string, of: NamesOf): Promise<PortNames | undefined> {
  if (/^p(tcp|ssl|unix):/.test(target)) return undefined;
  const fillPorts = async (vconn: Vconn, map: NameMap) => {
    for (const p of await fetchPorts(c, vconn)) map.put(p.portNo, p.name);
  };
  const fillTables = async (vconn: Vconn, map: NameMap) => {
    for (const t of await fetchTables(c, vconn)) map.put(t.tableId, t.name);
  };
  const ports = of === 'tables' ? NOTHING : await fetchOnce(c, target, portNames, fillPorts);
  const tables = of === 'ports' ? NOTHING : await fetchOnce(c, target, tableNames, fillTables);
  return {
    nameOf: (port) => ports.name(port),
    numberOf: (name) => ports.number(name) as ReturnType<PortNames['numberOf']>,
    tableNameOf: (tableId) => tables.name(tableId),
    tableNumberOf: (name) => tables.number(name),
  };
}

/** Names that input may have. */
export async function namesToAccept(
  c: OfctlContext,
  target: string,
  of: NamesOf = 'both',
): Promise<PortNames | undefined> {
  return c.options.names === false ? undefined : namesOf(c, target, of);
}

export const showsNames = (c: OfctlContext): boolean => c.options.names ?? isatty(1);

/** Names that output has. */
export async function namesToShow(c: OfctlContext, target: string): Promise<PortNames | undefined> {
  return showsNames(c) ? namesOf(c, target, 'both') : undefined;
}
