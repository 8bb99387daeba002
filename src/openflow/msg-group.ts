import { OFP10_VERSION, OFP13_VERSION, OFP15_VERSION } from '../../protocols/openflow.ts';
import { vlogModule } from '../base/vlog.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import type { DecodeContext, EncodeContext, MessageCodec, MessageCodecs } from './message-codec.ts';
import { badProp, pullProps, unknownProp } from './message-prop.ts';
import type { MessageOf } from './messages.ts';
import {
  type Bucket,
  type GroupCommand,
  type GroupDesc,
  type GroupMod,
  type GroupProps,
  type GroupType,
  noGroupProps,
  OFPG_ALL,
  OFPG_ANY,
  OFPG15_BUCKET_ALL,
  OFPG15_BUCKET_FIRST,
  OFPG15_BUCKET_LAST,
  OFPG15_BUCKET_MAX,
} from './messages-group.ts';
import { pullBuckets11, pullBuckets15, putBucket11, putBuckets15 } from './msg-group-bucket.ts';
import { pullGroupFields, putSelectionMethod } from './msg-group-props.ts';
import { GROUP_STATS } from './msg-group-stats.ts';

/** Group-mods and group descriptions: the form of OpenFlow 1.1-1.4, and that of 1.5, which Nicira's extension of 1.0 has too. */

const log = vlogModule('ofp_group');
export const GROUP_TYPES: readonly GroupType[] = ['all', 'select', 'indirect', 'ff'];
const SELECT = GROUP_TYPES.indexOf('select');

const COMMANDS: Readonly<Record<GroupCommand, number>> = {
  add: 0,
  modify: 1,
  delete: 2,
  insert_bucket: 3,
  remove_bucket: 5,
  add_or_mod: 0x8000,
};
const commandByNumber = new Map(Object.entries(COMMANDS).map(([name, n]) => [n, name as GroupCommand]));

/** OpenFlow 1.5's form. */
const isForm15 = (version: number): boolean => version === OFP10_VERSION || version >= OFP15_VERSION;

/** Before its numbers are checked. */
interface RawGroup {
  command: GroupCommand | undefined;
  typeNumber: number;
  groupId: number;
  commandBucketId: number;
  buckets: Bucket[];
  props: GroupProps;
}

function pullMod11(r: Reader, version: number): RawGroup {
  const [command, typeNumber] = [commandByNumber.get(r.readU16()), r.readU8()];
  r.skip(1);
  const groupId = r.readU32();
  const buckets = pullBuckets11(r, version);
  if (version >= OFP13_VERSION && command === 'delete' && buckets.length)
    throw new OfDecodeError('OFPGMFC_INVALID_GROUP');
  return { command, typeNumber, groupId, commandBucketId: OFPG15_BUCKET_ALL, buckets, props: noGroupProps() };
}

/** Which buckets a command may speak of. */
function checkCommandBucketId(command: GroupCommand | undefined, id: number): void {
  const all = id === OFPG15_BUCKET_ALL;
  const one = id <= OFPG15_BUCKET_MAX || id === OFPG15_BUCKET_FIRST || id === OFPG15_BUCKET_LAST;
  const ok = command === 'remove_bucket' ? all || one : command === 'insert_bucket' ? one : all;
  if (ok) return;
  log.warn(`group command bucket id (${id}) is out of range`);
  throw new OfDecodeError('OFPGMFC_BAD_BUCKET', `command bucket id ${id}`);
}

function pullMod15(r: Reader, version: number): RawGroup {
  const [command, typeNumber] = [commandByNumber.get(r.readU16()), r.readU8()];
  r.skip(1);
  const [groupId, bucketsLength] = [r.readU32(), r.readU16()];
  r.skip(2);
  const commandBucketId = r.readU32();
  checkCommandBucketId(command, commandBucketId);
  if (bucketsLength > r.left) throw new OfDecodeError('OFPBRC_BAD_LEN');
  const buckets = pullBuckets15(r.sub(bucketsLength), version, typeNumber === SELECT);
  const props = pullGroupProps(r, typeNumber, command);
  return { command, typeNumber, groupId, commandBucketId, buckets, props };
}

const NTR_VENDOR_IDS: readonly number[] = [0x154d, 0x1540];
const NTRT_SELECTION_METHOD = 1;

function pullGroupProps(r: Reader, typeNumber: number, command: GroupCommand | undefined): GroupProps {
  let props = noGroupProps();
  for (const p of pullProps(r)) {
    if (!NTR_VENDOR_IDS.includes(p.experimenter) || p.type !== NTRT_SELECTION_METHOD) {
      unknownProp(log, false, 'group', p);
      continue;
    }
    checkSelectionMethodAllowed(typeNumber, command);
    props = pullGroupFields(p.body);
  }
  return props;
}

function checkSelectionMethodAllowed(typeNumber: number, command: GroupCommand | undefined): void {
  const say = 'ntr selection method property is only allowed for';
  if (!GROUP_TYPES[typeNumber]) throw new OfDecodeError('OFPGMFC_BAD_TYPE');
  if (typeNumber !== SELECT) badProp(log, false, 'OFPBPC_BAD_VALUE', `${say} select groups`);
  if (!command) throw new OfDecodeError('OFPGMFC_BAD_COMMAND');
  if (command !== 'add' && command !== 'modify' && command !== 'add_or_mod')
    badProp(log, false, 'OFPBPC_BAD_VALUE', `${say} add and delete group modifications`);
}

const hasLiveness = (b: Bucket): boolean => b.watchPort !== OFPG_ANY || b.watchGroup !== OFPG_ANY;

function checkedMod({ typeNumber, ...g }: RawGroup): GroupMod {
  const { command, buckets } = g;
  const groupType = GROUP_TYPES[typeNumber];
  if (groupType === 'indirect' && command !== 'delete' && buckets.length !== 1)
    throw new OfDecodeError('OFPGMFC_INVALID_GROUP');
  if (!groupType) throw new OfDecodeError('OFPGMFC_BAD_TYPE');
  if (!command) throw new OfDecodeError('OFPGMFC_BAD_COMMAND');
  if (command === 'remove_bucket' && buckets.length) throw new OfDecodeError('OFPGMFC_BAD_BUCKET');
  for (const b of buckets) checkBucket(b, groupType, command);
  return { type: 'group_mod', ...g, command, groupType };
}

function checkBucket(b: Bucket, type: GroupType, command: GroupCommand): void {
  if (b.weight && type !== 'select' && command !== 'insert_bucket') throw new OfDecodeError('OFPGMFC_INVALID_GROUP');
  if (type === 'ff' && !hasLiveness(b)) throw new OfDecodeError('OFPGMFC_INVALID_GROUP');
  if ((type === 'all' || type === 'indirect') && hasLiveness(b)) throw new OfDecodeError('OFPGMFC_WATCH_UNSUPPORTED');
}

/** Reads the body of a group-mod. */
export function pullGroupMod(r: Reader, version: number): GroupMod {
  return checkedMod(isForm15(version) ? pullMod15(r, version) : pullMod11(r, version));
}

/** OpenFlow 1.1-1.4 have neither buckets that come and go nor Open vSwitch's `add_or_mod`, unless it goes to Open vSwitch itself. */
function commandOnWire(m: GroupMod, form15: boolean): number {
  const { command, groupExisted, newBuckets } = m;
  if (command === 'add_or_mod' && groupExisted !== undefined) return groupExisted ? COMMANDS.modify : COMMANDS.add;
  const edits = command === 'insert_bucket' || command === 'remove_bucket';
  if (!edits || form15) return COMMANDS[command];
  if (!newBuckets) throw new Error(`${command} needs OpenFlow 1.5`);
  return COMMANDS.modify;
}

/** Appends the body of a group-mod. */
export function putGroupMod(w: Writer, m: GroupMod, version: number): void {
  const form15 = isForm15(version);
  const command = commandOnWire(m, form15);
  w.putU16(command);
  w.putU8(GROUP_TYPES.indexOf(m.groupType));
  w.putZeros(1);
  w.putU32(m.groupId);
  if (!form15) {
    const edits = m.command === 'insert_bucket' || m.command === 'remove_bucket';
    for (const b of edits ? (m.newBuckets ?? []) : m.buckets) putBucket11(w, b, version);
    return;
  }
  const lengthAt = w.length;
  w.putZeros(4);
  w.putU32(m.commandBucketId);
  const start = w.length;
  putBuckets15(w, m.buckets, version, m.groupType === 'select');
  w.setU16(lengthAt, w.length - start);
  putSelectionMethod(w, m.props, version);
}

const groupMod: MessageCodec<'group_mod'> = {
  decode: (r, { version }) => pullGroupMod(r, version),
  encode: (w, m, { version }) => putGroupMod(w, m, version),
};

const descRequest: MessageCodec<'group_desc_stats_request'> = {
  decode(r, { version }) {
    if (!isForm15(version)) return { type: 'group_desc_stats_request', groupId: OFPG_ALL };
    const groupId = r.readU32();
    r.skip(4);
    return { type: 'group_desc_stats_request', groupId };
  },
  encode(w, m, { version }) {
    if (!isForm15(version)) return;
    w.putU32(m.groupId);
    w.putZeros(4);
  },
};

function pullDesc(r: Reader, version: number): GroupDesc {
  const form15 = isForm15(version);
  const size = form15 ? 16 : 8;
  if (r.left < size) throw new OfDecodeError('OFPBRC_BAD_LEN');
  const [length, typeNumber] = [r.readU16(), r.readU8()];
  r.skip(1);
  const groupId = r.readU32();
  if (length < size) throw new OfDecodeError('OFPBRC_BAD_LEN');
  const body = r.sub(length - 8);
  const buckets = form15 ? pullDescBuckets15(body, version, typeNumber) : pullBuckets11(body, version);
  const props = form15 ? pullGroupProps(body, typeNumber, 'add') : noGroupProps();
  const groupType = GROUP_TYPES[typeNumber];
  if (!groupType) throw new OfDecodeError('OFPGMFC_BAD_TYPE');
  return { groupType, groupId, buckets, props };
}

function pullDescBuckets15(body: Reader, version: number, typeNumber: number): Bucket[] {
  const length = body.readU16();
  body.skip(6);
  return pullBuckets15(body.sub(length), version, typeNumber === SELECT);
}

function putDesc(w: Writer, d: GroupDesc, version: number): void {
  const start = w.length;
  w.putU16(0);
  w.putU8(GROUP_TYPES.indexOf(d.groupType));
  w.putZeros(1);
  w.putU32(d.groupId);
  if (isForm15(version)) {
    const lengthAt = w.length;
    w.putZeros(8);
    putBuckets15(w, d.buckets, version, d.groupType === 'select');
    w.setU16(lengthAt, w.length - lengthAt - 8);
    putSelectionMethod(w, d.props, version);
  } else for (const b of d.buckets) putBucket11(w, b, version);
  w.setU16(start, w.length - start);
}

const descReply: MessageCodec<'group_desc_stats_reply'> = {
  decode(r, { version, more }: DecodeContext) {
    const groups: GroupDesc[] = [];
    while (r.left > 0) groups.push(pullDesc(r, version));
    return { type: 'group_desc_stats_reply', groups, more };
  },
  encode(w, m: MessageOf<'group_desc_stats_reply'>, { version }: EncodeContext) {
    for (const d of m.groups) putDesc(w, d, version);
  },
  parts: (m, { version }) => m.groups.map((d) => (w) => putDesc(w, d, version)),
};

export const GROUP: MessageCodecs = {
  group_mod: groupMod,
  group_desc_stats_request: descRequest,
  group_desc_stats_reply: descReply,
  ...GROUP_STATS,
};
