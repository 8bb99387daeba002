import { ofpPort } from '../base/types.ts';
import { parseActionsText } from './action-parse.ts';
import { fieldByName, fieldMaskOk, isAllZeros, matchProtocols } from './field.ts';
import { FlowTextError, parseField } from './field-text.ts';
import { parseKeyValues } from './key-value.ts';
import {
  type Bucket,
  type GroupCommand,
  type GroupField,
  type GroupMod,
  type GroupType,
  noGroupProps,
  OFPG_ALL,
  OFPG_ANY,
  OFPG_MAX,
  OFPG15_BUCKET_ALL,
  OFPG15_BUCKET_FIRST,
  OFPG15_BUCKET_LAST,
  OFPG15_BUCKET_MAX,
} from './messages-group.ts';
import { strToU16, strToU32, strToU64 } from './number-text.ts';
import { type PortNames, parsePort } from './port.ts';
import { P_ANY, P_OF10_ANY, P_OF15_UP, type Protocols } from './protocol.ts';

/** Groups in ovs-ofctl's syntax (ovs-ofctl(8), "Group Syntax"). Parsers throw FlowTextError. */

export interface ParsedGroupMod {
  group: GroupMod;
  /** Flow formats whose connections can carry it. */
  protocols: Protocols;
}

/** Buckets with ids and selection methods: OpenFlow 1.5, and 1.0 by Nicira's extension. */
const P_WITH_IDS = P_OF10_ANY | P_OF15_UP;

/** In the order in which a line's first word is compared with them. */
const COMMANDS: readonly (readonly [word: string, GroupCommand])[] = [
  ['add', 'add'],
  ['delete', 'delete'],
  ['modify', 'modify'],
  ['add_or_mod', 'add_or_mod'],
  ['insert_bucket', 'insert_bucket'],
  ['remove_bucket', 'remove_bucket'],
];

function splitCommand(s: string): { command: GroupCommand; rest: string } {
  const line = s.replace(/^[ \t\r\n]+/, '');
  const word = /^[^, \t\r\n]*/.exec(line)![0];
  const found = COMMANDS.find(([known]) => known.startsWith(word));
  return found ? { command: found[1], rest: line.slice(word.length) } : { command: 'add', rest: line };
}

const TYPES: Readonly<Record<string, GroupType>> = {
  all: 'all',
  select: 'select',
  indirect: 'indirect',
  ff: 'ff',
  fast_failover: 'ff',
};

const BUCKET_IDS: Readonly<Record<string, number>> = {
  all: OFPG15_BUCKET_ALL,
  first: OFPG15_BUCKET_FIRST,
  last: OFPG15_BUCKET_LAST,
};

const SELECTION_METHOD_MAX = 16;

class GroupParser {
  readonly group: GroupMod;
  readonly names: PortNames | undefined;
  usable: Protocols = P_ANY;
  #hasType = false;
  #hasBucketId = false;

  constructor(command: GroupCommand, names: PortNames | undefined) {
    this.names = names;
    this.group = {
      type: 'group_mod',
      command,
      groupType: 'all',
      groupId: OFPG_ANY,
      commandBucketId: OFPG15_BUCKET_ALL,
      buckets: [],
      props: noGroupProps(),
    };
    if (this.#ofBuckets) this.usable &= P_WITH_IDS;
  }

  get #ofBuckets(): boolean {
    return this.group.command === 'insert_bucket' || this.group.command === 'remove_bucket';
  }

  /** Everything but the buckets. */
  head(s: string): void {
    for (const { key, value } of parseKeyValues(s)) this.#item(key, value);
    this.#check();
  }

  #item(key: string, value: string): void {
    switch (key) {
      case 'command_bucket_id':
        this.#commandBucketId(value);
        return;
      case 'group_id':
        this.#groupId(value);
        return;
      case 'type':
        this.#type(value);
        return;
      case 'selection_method':
        this.#needsType('selection method is not needed');
        if (value.length >= SELECTION_METHOD_MAX)
          throw new FlowTextError(`selection method is longer than ${SELECTION_METHOD_MAX - 1} bytes long`);
        this.group.props.selectionMethod = value;
        break;
      case 'selection_method_param':
        this.#needsType('selection method param is not needed');
        this.group.props.selectionMethodParam = strToU64(value);
        break;
      case 'fields':
        this.#needsType('fields are not needed');
        this.group.props.fields = this.#fields(value);
        break;
      default:
        throw new FlowTextError(`unknown keyword ${key}`);
    }
    this.usable &= P_WITH_IDS;
  }

  #needsType(otherwise: string): void {
    if (this.#ofBuckets || this.group.command === 'delete') throw new FlowTextError(otherwise);
  }

  #commandBucketId(value: string): void {
    if (!this.#ofBuckets) throw new FlowTextError('command bucket id is not needed');
    const id = BUCKET_IDS[value] ?? strToU32(value);
    if (id > OFPG15_BUCKET_MAX && !Object.values(BUCKET_IDS).includes(id))
      throw new FlowTextError(`invalid command bucket id ${id}`);
    if (id === OFPG15_BUCKET_ALL && this.group.command !== 'remove_bucket')
      throw new FlowTextError('command_bucket_id=all is not permitted');
    this.group.commandBucketId = id;
    this.#hasBucketId = true;
  }

  #groupId(value: string): void {
    const id = value === 'all' ? OFPG_ALL : strToU32(value);
    if (id !== OFPG_ALL && id > OFPG_MAX) throw new FlowTextError(`invalid group id ${id}`);
    this.group.groupId = id;
  }

  #type(value: string): void {
    this.#needsType('type is not needed');
    if (!Object.hasOwn(TYPES, value)) throw new FlowTextError(`invalid group type ${value}`);
    this.group.groupType = TYPES[value];
    this.#hasType = true;
  }

  /** Fields whose values, where there are any, say which of their bits count. */
  #fields(s: string): GroupField[] {
    const out: GroupField[] = [];
    for (const { key, value } of parseKeyValues(s)) {
      const field = fieldByName(key);
      if (!field) throw new FlowTextError(`${s}: unknown field ${key}`);
      if (out.some((g) => g.field === field)) throw new FlowTextError(`${key}: duplicate field`);
      const mask = value === '' ? new Uint8Array(field.nBytes).fill(0xff) : parseField(field, value, this.names).value;
      if (!field.name.startsWith('tun_metadata') && isAllZeros(mask))
        throw new FlowTextError(`${s}: values are wildcards here and must not be all-zeros`);
      if (!fieldMaskOk(field, mask)) throw new FlowTextError(`${value}: invalid mask for field ${field.name}`);
      out.push({ field, mask });
      this.usable &= matchProtocols(field, mask);
    }
    return out.sort((a, b) => a.field.id - b.field.id);
  }

  #check(): void {
    const { command, groupId, props } = this.group;
    if (groupId === OFPG_ANY) throw new FlowTextError('must specify a group_id');
    if (!this.#ofBuckets && command !== 'delete' && !this.#hasType) throw new FlowTextError('must specify a type');
    if (props.selectionMethod !== 'hash' && props.fields.length)
      throw new FlowTextError('fields may only be specified with "selection_method=hash"');
    if (props.selectionMethod === '' && props.selectionMethodParam)
      throw new FlowTextError('selection_method_param is only allowed with "selection_method"');
    if (command === 'insert_bucket' && !this.#hasBucketId) throw new FlowTextError('must specify a command bucket id');
  }

  bucket(s: string): void {
    const { command, groupType } = this.group;
    const bucket = this.#parseBucket(s);
    this.group.buckets.push(bucket);
    if (command !== 'insert_bucket' && groupType !== 'select' && bucket.weight)
      throw new FlowTextError('Only select groups can have bucket weights.');
  }

  #parseBucket(s: string): Bucket {
    const { groupType } = this.group;
    const bucket: Bucket = {
      weight: groupType === 'select' ? 1 : 0,
      bucketId: OFPG15_BUCKET_ALL,
      watchPort: ofpPort(0xffffffff),
      watchGroup: OFPG_ANY,
      actions: [],
    };
    const actions: string[] = [];
    for (const { key, value } of parseKeyValues(s)) {
      const action = this.#bucketItem(bucket, key, value);
      if (action !== undefined) actions.push(action);
    }
    if (!actions.length) throw new FlowTextError('bucket must specify actions');
    if (groupType === 'ff' && bucket.watchPort === 0xffffffff && bucket.watchGroup === OFPG_ANY)
      throw new FlowTextError('fast failover bucket requires watch_port or watch_group');
    const parsed = parseActionsText(actions.join(','), this.names);
    bucket.actions = parsed.actions;
    // As in Open vSwitch the actions of the last bucket decide alone; what the version can't say is an error when it is sent.
    this.usable = parsed.protocols;
    return bucket;
  }

  /** Takes an item; what is none of a bucket's is an action. */
  #bucketItem(bucket: Bucket, key: string, value: string): string | undefined {
    switch (key.toLowerCase()) {
      case 'weight':
        bucket.weight = strToU16(value, 'weight');
        return undefined;
      case 'watch_port':
        bucket.watchPort = this.#watchPort(value);
        return undefined;
      case 'watch_group':
        bucket.watchGroup = strToU32(value);
        if (bucket.watchGroup > OFPG_MAX) throw new FlowTextError(`invalid watch_group id ${bucket.watchGroup}`);
        return undefined;
      case 'bucket_id':
        bucket.bucketId = strToU32(value);
        if (bucket.bucketId > OFPG15_BUCKET_MAX) throw new FlowTextError(`invalid bucket_id id ${bucket.bucketId}`);
        this.usable &= P_WITH_IDS;
        return undefined;
      case 'action':
      case 'actions':
        return value;
      default:
        return `${key}(${value})`;
    }
  }

  #watchPort(value: string): Bucket['watchPort'] {
    const port = parsePort(value, this.names);
    const reserved = port !== undefined && (port & 0xffff) >= 0xff00;
    if (port === undefined || (reserved && port !== 0xffffffff && port !== 0xfffffffd))
      throw new FlowTextError(`${value}: invalid watch_port`);
    return port;
  }
}

/** Parses a group for a command; without one the line may begin with its word. */
export function parseGroupMod(s: string, command: GroupCommand | undefined, names?: PortNames): ParsedGroupMod {
  const { command: chosen, rest } = command ? { command, rest: s } : splitCommand(s);
  const p = new GroupParser(chosen, names);
  if (chosen === 'delete' && rest === '') {
    p.group.groupId = OFPG_ALL;
    return { group: p.group, protocols: p.usable };
  }
  const [head, ...buckets] = rest.split('bucket=');
  if (buckets.length && (chosen === 'delete' || chosen === 'remove_bucket'))
    throw new FlowTextError('bucket is not needed');
  p.head(head);
  for (const bucket of buckets) p.bucket(bucket);
  if (p.group.groupType === 'indirect' && buckets.length > 1)
    throw new FlowTextError('Indirect groups can have at most one bucket.');
  return { group: p.group, protocols: p.usable };
}
