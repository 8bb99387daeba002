import { FLOW_MEMBERS } from '../gen/flow.ts';
import type { Flow, FlowWildcards } from './flow.ts';

/** The MPLS label stack of a flow (RFC 3032): label[20] traffic class[3] bottom of stack[1] TTL[8]. */

export const MPLS_LABEL_MASK = 0xfffff000;
export const MPLS_TC_MASK = 0x00000e00;
export const MPLS_BOS_MASK = 0x00000100;
export const MPLS_TTL_MASK = 0x000000ff;
/** Labels that a flow holds. */
export const MAX_MPLS_LABELS = 3;

const LSES = ['mplsLse0', 'mplsLse1', 'mplsLse2'] as const;
const IP = 0x0800;
const IPV6 = 0x86dd;
const DSCP = 0xfc;

const isMpls = (type: number): boolean => type === 0x8847 || type === 0x8848;
const or = (wc: FlowWildcards, i: number, bits: number): void => {
  wc[LSES[i]] = (wc[LSES[i]] | bits) >>> 0;
};

export const getLse = (flow: Flow, i: number): number => flow[LSES[i]];
export function setLse(flow: Flow, i: number, lse: number): void {
  flow[LSES[i]] = lse >>> 0;
}

/** Replaces the bits `mask` of the outermost label entry. */
export function setLseBits(flow: Flow, mask: number, value: number): void {
  flow.mplsLse0 = ((flow.mplsLse0 & ~mask) | value) >>> 0;
}

/** Number of labels down to the bottom of the stack; without a bottom in sight, of those that are not zero. */
export function countMplsLabels(flow: Flow, wc?: FlowWildcards): number {
  if (!isMpls(flow.dlType)) return 0;
  let n = 0;
  for (let i = 0; i < MAX_MPLS_LABELS; i++) {
    if (wc) or(wc, i, MPLS_BOS_MASK);
    const lse = flow[LSES[i]];
    if (lse & MPLS_BOS_MASK) return i + 1;
    if (lse) n++;
  }
  return n;
}

/** How many labels from the innermost up are the same in two stacks of `an` and `bn` labels. */
export function countCommonMplsLabels(a: Flow, an: number, b: Flow, bn: number): number {
  let n = 0;
  while (n < Math.min(an, bn) && getLse(a, an - 1 - n) === getLse(b, bn - 1 - n)) n++;
  return n;
}

const L3_AT = FLOW_MEMBERS.nw_src.offset;

/** An IP packet, with an Ethernet header or without. */
function isIp({ packetType, dlType }: Flow): boolean {
  const type = packetType === 0 ? dlType : packetType >>> 16 === 1 ? packetType & 0xffff : 0;
  return type === IP || type === IPV6;
}

/** The first label of a packet: explicit null, its TTL and class from the IP header. */
function firstLse(flow: Flow, wc: FlowWildcards | undefined): number {
  let [tc, ttl] = [0, 64];
  if (isIp(flow)) {
    tc = (flow.nwTos & DSCP) >> 2;
    ttl = flow.nwTtl || 64;
    if (wc) {
      wc.nwTos |= DSCP;
      wc.nwTtl = 0xff;
    }
  }
  const label = flow.dlType === IPV6 ? 2 : 0;
  return ((label << 12) | ((tc & 7) << 9) | MPLS_BOS_MASK | ttl) >>> 0;
}

/** Adds an outermost label, a copy of the one below it, to the `n` that are there. `clearL3`: what is behind the first label is out of reach. */
export function pushMpls(
  flow: Flow,
  n: number,
  ethertype: number,
  wc: FlowWildcards | undefined,
  clearL3: boolean,
): void {
  if (n > 0) {
    for (let i = 0; wc && i < n; i++) or(wc, i, 0xffffffff);
    for (let i = n; i > 0; i--) setLse(flow, i, getLse(flow, i - 1));
    setLse(flow, 0, getLse(flow, 1) & ~MPLS_BOS_MASK);
  } else {
    flow.mplsLse0 = firstLse(flow, wc);
    if (clearL3) {
      flow.u8.fill(0, L3_AT);
      flow.dpHash = 0;
    }
  }
  flow.dlType = ethertype;
}

/** Takes the outermost of `n` labels away. False when there is none, or what comes up from below is not known. */
export function popMpls(flow: Flow, n: number, ethertype: number, wc?: FlowWildcards): boolean {
  if (n === 0) return false;
  if (n === MAX_MPLS_LABELS) {
    if (wc) or(wc, n - 1, MPLS_BOS_MASK);
    if (!(getLse(flow, n - 1) & MPLS_BOS_MASK)) return false;
  }
  for (let i = 1; wc && i < n; i++) or(wc, i, 0xffffffff);
  for (let i = 1; i < n; i++) setLse(flow, i - 1, getLse(flow, i));
  setLse(flow, n - 1, 0);
  flow.dlType = ethertype;
  return true;
}
