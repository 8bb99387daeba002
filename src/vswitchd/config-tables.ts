import { FLOW_MEMBERS, type FlowMemberName } from '../gen/flow.ts';
import type { TableSettings } from '../ofproto/oftable.ts';
import type { Subfield } from '../openflow/actions.ts';
import { fieldByName } from '../openflow/field.ts';
import { parseSubfield } from '../openflow/field-text.ts';
import type { IdlRow, IdlSnapshot } from '../ovsdb/idl.ts';
import { number, set, text } from './config-values.ts';
import type { Complaint } from './wanted.ts';

/** The Flow_Table table. Pure. */

/** Tables that can be configured. */
const N_TABLES = 254;
/** Fields whose prefixes a table can track at the same time. */
const MAX_PREFIXES = 3;

/** By table number. */
export function readTables(
  snapshot: IdlSnapshot,
  bridge: IdlRow,
  complaints: Complaint[],
): ReadonlyMap<number, TableSettings> {
  const tables = new Map<number, TableSettings>();
  if (!(bridge.flow_tables instanceof Map)) return tables;
  const name = text(bridge.name);
  for (const [key, uuid] of bridge.flow_tables) {
    const id = Number(key);
    const row = snapshot.get('Flow_Table', String(uuid));
    if (id >= N_TABLES)
      complain(
        complaints,
        `bridge ${name}: ignoring configuration for flow table ${id} not supported by this datapath`,
      );
    else if (row) tables.set(id, readTable(row, name, id, complaints));
  }
  return tables;
}

function complain(complaints: Complaint[], line: string): void {
  complaints.push({ module: 'bridge', level: 'warn', text: line });
}

function readTable(row: IdlRow, bridge: string, id: number, complaints: Complaint[]): TableSettings {
  const given = text(row.name);
  return {
    name: given === '' ? undefined : given,
    maxFlows: number(row.flow_limit),
    prefixes: readPrefixes(set(row.prefixes), bridge, complaints),
    evict: text(row.overflow_policy) === 'evict',
    evictionFields: set(row.groups).flatMap((g) => readGroup(g, bridge, id, complaints)),
  };
}

function readGroup(s: string, bridge: string, id: number, complaints: Complaint[]): Subfield[] {
  try {
    return [parseSubfield(s)];
  } catch (e) {
    complain(complaints, `bridge ${bridge} table ${id}: error parsing 'groups' (${(e as Error).message})`);
    return [];
  }
}

/** Undefined: the default ones. */
function readPrefixes(
  names: readonly string[],
  bridge: string,
  complaints: Complaint[],
): readonly FlowMemberName[] | undefined {
  if (names.includes('none')) return [];
  const members: FlowMemberName[] = [];
  for (const name of names) {
    const field = fieldByName(name);
    const member = field && memberOf(field.name);
    if (!field) complain(complaints, `bridge ${bridge}: 'prefixes' with unknown field: ${name}`);
    else if (!member) complain(complaints, `bridge ${bridge}: 'prefixes' with incompatible field: ${name}`);
    else if (members.length >= MAX_PREFIXES)
      complain(complaints, `bridge ${bridge}: 'prefixes' with too many fields, field not used: ${name}`);
    else members.push(member);
  }
  return members.length ? members : undefined;
}

/** Fields of whole 32-bit words that lie in the flow as one. */
const TRACKED: Readonly<Record<string, FlowMemberName>> = {
  tun_id: 'tun_id',
  tun_src: 'tun_src',
  tun_dst: 'tun_dst',
  tun_ipv6_src: 'tun_ipv6_src',
  tun_ipv6_dst: 'tun_ipv6_dst',
  metadata: 'metadata',
  ip_src: 'nw_src',
  nw_src: 'nw_src',
  ip_dst: 'nw_dst',
  nw_dst: 'nw_dst',
  ipv6_src: 'ipv6_src',
  ipv6_dst: 'ipv6_dst',
  ipv6_label: 'ipv6_label',
};

function memberOf(field: string): FlowMemberName | undefined {
  const member = TRACKED[field];
  return member && FLOW_MEMBERS[member].size % 4 === 0 ? member : undefined;
}
