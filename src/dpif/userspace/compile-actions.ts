import {
  ACT_CHECK_PKT_LEN,
  ACT_CLONE,
  ACT_DROP,
  ACT_END,
  ACT_ETHERNET_ONLY,
  ACT_F_CHANGED,
  ACT_F_LAST_USE,
  ACT_HASH,
  ACT_LB_OUTPUT,
  ACT_METER,
  ACT_OUTPUT,
  ACT_POP_ETH,
  ACT_POP_MPLS,
  ACT_POP_NSH,
  ACT_POP_VLAN,
  ACT_PUSH_ETH,
  ACT_PUSH_MPLS,
  ACT_PUSH_NSH,
  ACT_PUSH_VLAN,
  ACT_RECIRC,
  ACT_SAMPLE,
  ACT_SET_ARP,
  ACT_SET_ETH,
  ACT_SET_ICMP,
  ACT_SET_IPV4,
  ACT_SET_IPV6,
  ACT_SET_META,
  ACT_SET_MPLS,
  ACT_SET_ND,
  ACT_SET_NSH,
  ACT_SET_TP,
  ACT_TRUNC,
  ACT_TUNNEL_POP,
  ACT_USERSPACE,
  ACTIONS_F_PLAIN,
  ACTIONS_F_RECIRC,
  ACTIONS_F_RECIRC_MANY,
  ACTIONS_F_SEGMENTS,
  BATCH_MAX,
  DROP_REASON_NAMES,
  HASH_L4,
  HASH_SYM_L4,
  KEY_PKT_MARK,
  KEY_SKB_PRIORITY,
  PACKET_HEADROOM,
} from '../../gen/arena.ts';
import type { DpAction, DpSetAttr } from '../dpif.ts';
import { dropActionCounter } from '../drop-names.ts';
import { compilePush, isPushable } from './compile-tunnel.ts';
import type { Userdata } from './userdata-table.ts';

type DropName = (typeof DROP_REASON_NAMES)[number];

/** Number of the `userspace` action's data, which the fast path hands back in the upcall. */
export type UserdataId = (userdata: Userdata) => number;

const HASHES = { l4: HASH_L4, sym_l4: HASH_SYM_L4 } as const;
const PROTO = { tcp: 6, udp: 17, sctp: 132 } as const;
/** `set` attributes that are written as they are: operation, bytes in the list (key and mask each padded to that). */
const PLAIN: Partial<Record<DpSetAttr, { op: number; size: number }>> = {
  ethernet: { op: ACT_SET_ETH, size: 12 },
  ipv4: { op: ACT_SET_IPV4, size: 12 },
  ipv6: { op: ACT_SET_IPV6, size: 40 },
  arp: { op: ACT_SET_ARP, size: 24 },
  icmp: { op: ACT_SET_ICMP, size: 4 },
  icmpv6: { op: ACT_SET_ICMP, size: 4 },
  nd: { op: ACT_SET_ND, size: 28 },
  mpls: { op: ACT_SET_MPLS, size: 4 },
  nsh: { op: ACT_SET_NSH, size: 24 },
};

/** Actions that the fast path runs by itself. */
const COMPILED: ReadonlySet<DpAction['type']> = new Set<DpAction['type']>([
  'output',
  'userspace',
  'push_vlan',
  'pop_vlan',
  'push_mpls',
  'pop_mpls',
  'trunc',
  'drop',
  'recirc',
  'hash',
  'lb_output',
  'meter',
  'push_eth',
  'pop_eth',
  'push_nsh',
  'pop_nsh',
  'tunnel_pop',
]);

/** Lists inside an action. */
function nestedLists(action: DpAction): readonly (readonly DpAction[])[] {
  if (action.type === 'clone' || action.type === 'sample') return [action.actions];
  return action.type === 'check_pkt_len' ? [action.ifGreater, action.ifLessEqual] : [];
}

function areKnown(actions: readonly DpAction[]): boolean {
  return actions.every((a) => {
    if (a.type === 'set') return a.attr !== 'nd_ext';
    if (a.type === 'tunnel_push') return isPushable(a);
    const nested = nestedLists(a);
    return nested.length > 0 ? nested.every(areKnown) : COMPILED.has(a.type);
  });
}

/** Bytes that the list puts before a packet, at most: those of nested lists are taken off again. */
function pushedBytes(actions: readonly DpAction[]): number {
  let bytes = 0;
  for (const action of actions) {
    if (action.type === 'push_nsh') bytes += action.nsh.length;
    else if (action.type === 'push_eth') bytes += 14;
    else if (action.type.startsWith('push_')) bytes += 4;
    bytes += Math.max(0, ...nestedLists(action).map(pushedBytes));
  }
  return bytes;
}

const encapsulates = (actions: readonly DpAction[]): boolean =>
  actions.some((a) => a.type === 'push_nsh' || a.type === 'push_eth' || nestedLists(a).some(encapsulates));

/** True when a list can be compiled for the fast path: it knows all the actions, has records for what they recirculate, and room before the packet. */
export function isCompilable(actions: readonly DpAction[]): boolean {
  if (!areKnown(actions) || countRecircs(actions) > BATCH_MAX) return false;
  return !encapsulates(actions) || pushedBytes(actions) <= PACKET_HEADROOM;
}

const head = (op: number, nWords: number) => op | (nWords << 16);

/** Bytes as words, little-endian, padded with zeros to `size`. */
function toWords(bytes: Uint8Array, size: number): number[] {
  const padded = new Uint8Array(size);
  padded.set(bytes.subarray(0, size));
  return [...new Uint32Array(padded.buffer)];
}

function compileSet({ attr, key, mask }: Extract<DpAction, { type: 'set' }>): number[] {
  const plain = PLAIN[attr];
  if (plain) {
    const words = [...toWords(key, plain.size), ...toWords(mask, plain.size)];
    return [head(plain.op, words.length), ...words];
  }
  if (attr === 'tcp' || attr === 'udp' || attr === 'sctp') {
    return [head(ACT_SET_TP, 3), PROTO[attr], ...toWords(key, 4), ...toWords(mask, 4)];
  }
  const at = attr === 'skb_mark' ? KEY_PKT_MARK : KEY_SKB_PRIORITY;
  return [head(ACT_SET_META, 3), at, ...toWords(key, 4), ...toWords(mask, 4)];
}

/** True when the action leaves the frame and its length alone, so that an output before it may wait. Whatever is behind a `recirc` may change it. */
function keepsPacket(action: DpAction): boolean {
  return ['output', 'lb_output', 'userspace', 'hash', 'meter', 'drop'].includes(action.type);
}

/** True when the packet has other headers after the action, or may have. */
function changesHeaders(action: DpAction): boolean {
  if (action.type === 'set') return action.attr !== 'skb_mark' && action.attr !== 'skb_priority';
  return action.type.startsWith('push_') || action.type.startsWith('pop_');
}

/** Actions after which a packet may have no Ethernet header. */
const MAY_BARE: ReadonlySet<DpAction['type']> = new Set<DpAction['type']>(['pop_eth', 'push_nsh', 'pop_nsh']);

/** Places of the actions that the fast path has for Ethernet frames only, and before which a packet may be something else. */
function bareBefore(actions: readonly DpAction[]): Set<number> {
  const places = new Set<number>();
  let bare = false;
  actions.forEach((action, i) => {
    if (MAY_BARE.has(action.type)) bare = true;
    else if (action.type === 'push_eth') bare = false;
    else if (bare && !(action.type === 'set' && action.attr === 'nsh')) {
      places.add(i);
      bare = false;
    }
  });
  return places;
}

/** What an action's place in its list means. */
interface Place {
  /** Nothing after it changes the packet. */
  mayWait: boolean;
  /** Nothing after it uses the packet. */
  last: boolean;
  /** The packet's headers may have been changed before it. */
  changed: boolean;
}

function compileOne(action: DpAction, place: Place, userdata: UserdataId): number[] {
  const { mayWait, last, changed } = place;
  const nested = (op: number, operands: number[]) =>
    compileNested(op, operands, nestedLists(action), changed, userdata);
  switch (action.type) {
    case 'output':
      return [head(ACT_OUTPUT, 2), action.port, mayWait ? ACT_F_LAST_USE : 0];
    case 'userspace':
      return [head(ACT_USERSPACE, 1), userdata(action.userdata)];
    case 'set':
      return compileSet(action);
    case 'push_vlan':
      return [head(ACT_PUSH_VLAN, 1), (action.tpid | (action.tci << 16)) >>> 0];
    case 'pop_vlan':
      return [head(ACT_POP_VLAN, 0)];
    case 'push_mpls':
      return [head(ACT_PUSH_MPLS, 2), action.ethertype, action.lse >>> 0];
    case 'pop_mpls':
      return [head(ACT_POP_MPLS, 1), action.ethertype];
    case 'trunc':
      return [head(ACT_TRUNC, 1), action.maxLen];
    case 'recirc':
      return [head(ACT_RECIRC, 2), action.recircId, last ? ACT_F_LAST_USE : 0];
    case 'hash':
      return [head(ACT_HASH, 3), HASHES[action.algorithm], action.basis >>> 0, changed ? ACT_F_CHANGED : 0];
    case 'lb_output': {
      const flags = (mayWait ? ACT_F_LAST_USE : 0) | (changed ? ACT_F_CHANGED : 0);
      return [head(ACT_LB_OUTPUT, 2), action.bondId >>> 0, flags];
    }
    case 'meter':
      return [head(ACT_METER, 1), action.meterId >>> 0];
    case 'push_eth':
      return [head(ACT_PUSH_ETH, 3), ...toWords(Uint8Array.of(...action.dst, ...action.src), 12)];
    case 'pop_eth':
      return [head(ACT_POP_ETH, 0)];
    case 'push_nsh':
      return [
        head(ACT_PUSH_NSH, 1 + action.nsh.length / 4),
        action.nsh.length,
        ...toWords(action.nsh, action.nsh.length),
      ];
    case 'pop_nsh':
      return [head(ACT_POP_NSH, 0)];
    case 'tunnel_pop':
      return [
        head(ACT_TUNNEL_POP, 3),
        action.port,
        last ? ACT_F_LAST_USE : 0,
        userdata({ kind: 'slow_list', actions: [action] }),
      ];
    case 'clone':
      return nested(ACT_CLONE, []);
    case 'sample':
      return nested(ACT_SAMPLE, [action.probability >>> 0]);
    case 'check_pkt_len':
      return nested(ACT_CHECK_PKT_LEN, [action.pktLen]);
    case 'drop':
      return [head(ACT_DROP, 1), DROP_REASON_NAMES.indexOf(dropActionCounter(action.reason) as DropName)];
    default:
      return [head(0xfff, 0)];
  }
}

/** `check_pkt_len` names the length of its first list, so that the second is found; outputs inside a nested list never wait. */
function compileNested(
  op: number,
  operands: number[],
  lists: readonly (readonly DpAction[])[],
  changed: boolean,
  userdata: UserdataId,
): number[] {
  const words = lists.map((list) => compileList(list, { mayWait: false, changed }, userdata));
  const sizes = op === ACT_CHECK_PKT_LEN ? [words[0]!.length] : [];
  const body = [...operands, ...sizes, ...words.flat()];
  return [head(op, body.length), ...body];
}

/** The fast path's `check_pkt_len` ends a list: before other actions it runs on a copy. */
function goesOn(action: DpAction, last: boolean): DpAction {
  return action.type === 'check_pkt_len' && !last ? { type: 'clone', actions: [action] } : action;
}

/** `mayWait`: the packet is not used after the list. `changed`: its headers may have been changed before it. */
function compileList(
  actions: readonly DpAction[],
  { mayWait, changed }: Pick<Place, 'mayWait' | 'changed'>,
  userdata: UserdataId,
): number[] {
  const guarded = bareBefore(actions);
  const firstChange = changed ? -1 : actions.findIndex(changesHeaders);
  // Walking backwards: an output may wait while nothing behind it touches the packet.
  const parts: number[][] = [];
  let waits = mayWait;
  for (let i = actions.length - 1; i >= 0; i--) {
    const isLast = i === actions.length - 1;
    const action = goesOn(actions[i]!, isLast);
    const changedHere = changed || (firstChange >= 0 && firstChange < i);
    parts.push(
      action.type === 'tunnel_push'
        ? compilePush(action, actions.slice(i + 1))
        : compileOne(action, { mayWait: waits, last: mayWait && isLast, changed: changedHere }, userdata),
    );
    if (guarded.has(i))
      parts.push([head(ACT_ETHERNET_ONLY, 1), userdata({ kind: 'slow_list', actions: actions.slice(i) })]);
    if (!keepsPacket(action)) waits = false;
  }
  return [...parts.reverse().flat(), ACT_END];
}

/** The words of an action list as the fast path runs it (protocols/arena.ts, ACT_*). One that it can't run goes to the control thread whole. */
export function compileActions(actions: readonly DpAction[], userdata: UserdataId): number[] {
  if (!isCompilable(actions)) return [head(ACT_USERSPACE, 1), userdata({ kind: 'slow_list', actions }), ACT_END];
  return compileList(actions, { mayWait: true, changed: false }, userdata);
}

/** How often the list recirculates a packet at most, or takes it out of a tunnel, a branch that is not taken included. */
export function countRecircs(actions: readonly DpAction[]): number {
  return actions.reduce((n, action) => {
    const nested = nestedLists(action).reduce((sum, list) => sum + countRecircs(list), 0);
    return n + nested + (action.type === 'recirc' || action.type === 'tunnel_pop' ? 1 : 0);
  }, 0);
}

const ON_SEGMENTS: ReadonlySet<DpAction['type']> = new Set<DpAction['type']>([
  'tunnel_push',
  'tunnel_pop',
  'push_eth',
  'pop_eth',
  'push_nsh',
  'pop_nsh',
  'trunc',
]);

/** True when what the list does to a packet can't be done to one that stands for its segments. */
const wantsSegments = (actions: readonly DpAction[]): boolean =>
  actions.some((action) => ON_SEGMENTS.has(action.type) || nestedLists(action).some(wantsSegments));

/** ACTIONS_F_* of a list. */
export function actionFlags(actions: readonly DpAction[]): number {
  if (isPlain(actions)) return ACTIONS_F_PLAIN;
  if (!isCompilable(actions)) return 0;
  const n = countRecircs(actions);
  const recircs = n > 1 ? ACTIONS_F_RECIRC_MANY : n === 1 ? ACTIONS_F_RECIRC : 0;
  return wantsSegments(actions) ? recircs | ACTIONS_F_SEGMENTS : recircs;
}

/** True when the list only sends packets on: it needs no header that `extract` finds, and shows none to anybody. */
function isPlain(actions: readonly DpAction[]): boolean {
  return actions.every((action) => action.type === 'output' || action.type === 'drop');
}
