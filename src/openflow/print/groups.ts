import { formatField } from '../field-text.ts';
import { formatActions, formatDuration } from '../flow-text.ts';
import {
  type Bucket,
  type GroupDesc,
  type GroupField,
  type GroupMod,
  type GroupProps,
  type GroupStats,
  type GroupType,
  OFPG_ANY,
  OFPG15_BUCKET_ALL,
  OFPG15_BUCKET_FIRST,
  OFPG15_BUCKET_LAST,
} from '../messages-group.ts';
import { formatPort, type PortNames } from '../port.ts';
import { ofpactSetText } from './ofpact-names.ts';
import type { PrintContext, Printers } from './printer.ts';
import { groupName, hexOf } from './text.ts';

/** Groups. */

const OFPP_ANY = 0xffffffff;
const OFP10_VERSION = 1;
const OFP15_VERSION = 6;

const BUCKET_IDS = new Map([
  [OFPG15_BUCKET_FIRST, 'first'],
  [OFPG15_BUCKET_LAST, 'last'],
  [OFPG15_BUCKET_ALL, 'all'],
]);

/** Buckets have ids in OpenFlow 1.5, and in 1.0 by Nicira's extension. */
function bucketId(label: string, id: number, version: number): string {
  if (version > OFP10_VERSION && version < OFP15_VERSION) return '';
  return `${label}${BUCKET_IDS.get(id) ?? id},`;
}

/** A field alone when all its bits count, else with the mask of those that do. */
function fieldText({ field, mask }: GroupField): string {
  return mask.every((b) => b === 0xff) ? field.name : `${field.name}=${formatField(field, mask)}`;
}

function propsText(p: GroupProps): string {
  if (p.selectionMethod === '') return '';
  const param = p.selectionMethodParam ? `,selection_method_param=${p.selectionMethodParam}` : '';
  const fields = p.fields.map(fieldText).join(',');
  const shown = p.fields.length > 1 ? `,fields(${fields})` : fields && `,fields=${fields}`;
  return `,selection_method=${p.selectionMethod}${param}${shown}`;
}

function bucketText(b: Bucket, type: GroupType, version: number, names: PortNames | undefined): string {
  return [
    'bucket=',
    bucketId('bucket_id:', b.bucketId, version),
    b.weight === (type === 'select' ? 1 : 0) ? '' : `weight:${b.weight},`,
    b.watchPort === OFPP_ANY ? '' : `watch_port:${formatPort(b.watchPort, names)},`,
    b.watchGroup === OFPG_ANY ? '' : `watch_group:${b.watchGroup},`,
    `actions=${formatActions(b.actions, names)}`,
  ].join('');
}

/** A group as add-group takes it. */
export function formatGroup(g: GroupDesc, version: number, names: PortNames | undefined, showType = true): string {
  const type = showType ? `,type=${g.groupType}` : '';
  const buckets = g.buckets.map((b) => `,${bucketText(b, g.groupType, version, names)}`).join('');
  return `group_id=${g.groupId}${type}${propsText(g.props)}${buckets}`;
}

const COMMANDS = {
  add: 'ADD',
  modify: 'MOD',
  add_or_mod: 'ADD_OR_MOD',
  delete: 'DEL',
  insert_bucket: 'INSERT_BUCKET',
  remove_bucket: 'REMOVE_BUCKET',
} as const;

/** Also of a request that is forwarded. */
export function formatGroupMod(m: GroupMod, { version, names }: PrintContext): string {
  const ofBuckets = m.command === 'insert_bucket' || m.command === 'remove_bucket';
  const id = ofBuckets ? bucketId('command_bucket_id:', m.commandBucketId, version) : '';
  return `\n ${COMMANDS[m.command]} ${id}${formatGroup(m, version, names, !ofBuckets)}`;
}

const UNKNOWN = 0xffff_ffff_ffff_ffffn;

function statsText(s: GroupStats): string {
  const duration = s.durationSec === undefined ? '' : `duration=${formatDuration(s.durationSec, s.durationNsec ?? 0)},`;
  const buckets = s.buckets.map((b, i) =>
    b.packetCount === UNKNOWN ? '' : `,bucket${i}:packet_count=${b.packetCount},byte_count=${b.byteCount}`,
  );
  return `\n group_id=${s.groupId},${duration}ref_count=${s.refCount},packet_count=${s.packetCount},byte_count=${s.byteCount}${buckets.join('')}`;
}

const TYPES: readonly (readonly [GroupType, string])[] = [
  ['all', 'all'],
  ['select', 'select'],
  ['indirect', 'indirect'],
  ['ff', 'fast failover'],
];

export const GROUPS: Printers = {
  group_mod: formatGroupMod,
  group_stats_request: (m) => ` group_id=${groupName(m.groupId)}`,
  group_stats_reply: (m) => m.groups.map(statsText).join(''),
  group_desc_stats_request: (m) => ` group_id=${groupName(m.groupId)}`,
  group_desc_stats_reply: (m, { version, names }) =>
    m.groups.map((g) => `\n ${formatGroup(g, version, names)}`).join(''),
  group_features_stats_reply: (m) => {
    const bits = TYPES.reduce((all, [type], i) => (m.types.has(type) ? all | (1 << i) : all), 0);
    const lines = TYPES.map(([type, name], i) =>
      m.types.has(type)
        ? `    ${name} group:\n       max_groups=${hexOf(m.maxGroups[i])}\n       actions: ${ofpactSetText(m.ofpacts[i])}\n`
        : '',
    );
    return `\n Group table:\n    Types:  0x${bits.toString(16)}\n    Capabilities:  0x${m.capabilities.toString(16)}\n${lines.join('')}`;
  },
};
