import {
  ACT_CHECK_PKT_LEN,
  ACT_CLONE,
  ACT_DROP,
  ACT_END,
  ACT_F_LAST_USE,
  ACT_OUTPUT,
  ACT_POP_MPLS,
  ACT_POP_VLAN,
  ACT_PUSH_MPLS,
  ACT_PUSH_VLAN,
  ACT_RECIRC,
  ACT_SET_ARP,
  ACT_SET_ETH,
  ACT_SET_ICMP,
  ACT_SET_IPV4,
  ACT_SET_IPV6,
  ACT_SET_META,
  ACT_SET_MPLS,
  ACT_SET_ND,
  ACT_SET_TP,
  ACT_TRUNC,
  ACT_USERSPACE,
  ACTIONS_F_PLAIN,
  ACTIONS_F_RECIRC,
  ACTIONS_F_RECIRC_MANY,
  BATCH_MAX,
  DROP_REASON_NAMES,
  KEY_PKT_MARK,
  KEY_SKB_PRIORITY,
} from '../../gen/arena.ts';
import type { DpAction, DpSetAttr } from '../dpif.ts';
import { dropActionCounter } from '../drop-names.ts';
import type { Userdata } from './userdata-table.ts';

type DropName = (typeof DROP_REASON_NAMES)[number];

/** Number of the `userspace` action's data, which the fast path hands back in the upcall. */
export type UserdataId = (userdata: Userdata) => number;

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
]);

function areKnown(actions: readonly DpAction[]): boolean {
  return actions.every((a) => {
    if (a.type === 'set') return a.attr !== 'nsh';
    if (a.type === 'clone') return areKnown(a.actions);
    if (a.type === 'check_pkt_len') return areKnown(a.ifGreater) && areKnown(a.ifLessEqual);
    return COMPILED.has(a.type);
  });
}

/** True when a list can be compiled for the fast path: it knows all the actions, and has records for what they recirculate. */
export function isCompilable(actions: readonly DpAction[]): boolean {
  return areKnown(actions) && countRecircs(actions) <= BATCH_MAX;
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
  if (attr === 'nsh') return [head(0xfff, 0)];
  const at = attr === 'skb_mark' ? KEY_PKT_MARK : KEY_SKB_PRIORITY;
  return [head(ACT_SET_META, 3), at, ...toWords(key, 4), ...toWords(mask, 4)];
}

/** True when the action leaves the frame and its length alone, so that an output before it may wait. Whatever is behind a `recirc` may change it. */
function keepsPacket(action: DpAction): boolean {
  return action.type === 'output' || action.type === 'userspace' || action.type === 'drop';
}

/** `mayWait`: nothing after it changes the packet. `last`: nothing after it uses the packet. */
function compileOne(action: DpAction, mayWait: boolean, last: boolean, userdata: UserdataId): number[] {
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
    case 'clone':
      return compileNested(ACT_CLONE, [], [action.actions], userdata);
    case 'check_pkt_len':
      return compileNested(ACT_CHECK_PKT_LEN, [action.pktLen], [action.ifGreater, action.ifLessEqual], userdata);
    case 'drop':
      return [head(ACT_DROP, 1), DROP_REASON_NAMES.indexOf(dropActionCounter(action.reason) as DropName)];
    default:
      return [head(0xfff, 0)];
  }
}

/** `check_pkt_len` names the length of its first list, so that the second is found; outputs inside a nested list never wait. */
function compileNested(op: number, operands: number[], lists: DpAction[][], userdata: UserdataId): number[] {
  const words = lists.map((list) => compileList(list, false, userdata));
  const sizes = op === ACT_CHECK_PKT_LEN ? [words[0]!.length] : [];
  const body = [...operands, ...sizes, ...words.flat()];
  return [head(op, body.length), ...body];
}

/** The fast path's `check_pkt_len` ends a list: before other actions it runs on a copy. */
function goesOn(action: DpAction, last: boolean): DpAction {
  return action.type === 'check_pkt_len' && !last ? { type: 'clone', actions: [action] } : action;
}

function compileList(actions: readonly DpAction[], mayWait: boolean, userdata: UserdataId): number[] {
  // Walking backwards: an output may wait while nothing behind it touches the packet.
  const parts: number[][] = [];
  let waits = mayWait;
  for (let i = actions.length - 1; i >= 0; i--) {
    const action = goesOn(actions[i]!, i === actions.length - 1);
    parts.push(compileOne(action, waits, mayWait && i === actions.length - 1, userdata));
    if (!keepsPacket(action)) waits = false;
  }
  return [...parts.reverse().flat(), ACT_END];
}

/** The words of an action list as the fast path runs it (protocols/arena.ts, ACT_*). One that it can't run goes to the control thread whole. */
export function compileActions(actions: readonly DpAction[], userdata: UserdataId): number[] {
  if (!isCompilable(actions)) return [head(ACT_USERSPACE, 1), userdata({ kind: 'slow_list', actions }), ACT_END];
  return compileList(actions, true, userdata);
}

/** How often the list recirculates a packet at most, a branch that is not taken included. */
export function countRecircs(actions: readonly DpAction[]): number {
  return actions.reduce((n, action) => {
    if (action.type === 'recirc') return n + 1;
    if (action.type === 'clone') return n + countRecircs(action.actions);
    if (action.type === 'check_pkt_len') return n + countRecircs(action.ifGreater) + countRecircs(action.ifLessEqual);
    return n;
  }, 0);
}

/** ACTIONS_F_* of a list. */
export function actionFlags(actions: readonly DpAction[]): number {
  if (isPlain(actions)) return ACTIONS_F_PLAIN;
  if (!isCompilable(actions)) return 0;
  const n = countRecircs(actions);
  return n > 1 ? ACTIONS_F_RECIRC_MANY : n === 1 ? ACTIONS_F_RECIRC : 0;
}

/** True when the list only sends packets on: it needs no header that `extract` finds, and shows none to anybody. */
function isPlain(actions: readonly DpAction[]): boolean {
  return actions.every((action) => action.type === 'output' || action.type === 'drop');
}
