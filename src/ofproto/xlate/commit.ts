import type { DpAction, DpSetAttr } from '../../dpif/dpif.ts';
import { getOdpHeader, isMplsType, isNd, odpHeaderFields, odpHeaderSize, setOdpField } from '../../dpif/odp-keys.ts';
import type { Flow, FlowWildcards } from '../../flow/flow.ts';
import { countCommonMplsLabels, countMplsLabels, getLse, popMpls, pushMpls, setLse } from '../../flow/mpls.ts';
import { FLOW_MEMBERS } from '../../gen/flow.ts';
import { isIpAny } from '../../openflow/field-prereq.ts';

/**
 * Deferred header changes: translation changes `flow`; before an output the difference to what the datapath has (`base`) becomes `set`,
 * `push_vlan`, `pop_mpls` and such actions. A field that did not change is masked out of its `set`; one that did is set in the bits that
 * were written or looked at, which are exact in the megaflow or overwritten.
 */

/** Headers that were put on or taken off in `flow` since the last commit. */
export interface PendingHeaders {
  encap: boolean;
  decap: boolean;
  /** Metadata of an NSH header of type 2. */
  data: Uint8Array | undefined;
}

const VLAN_CFI = 0x1000;
const ETH_IP = 0x0800;
const ETH_ARP = 0x0806;
const ETH_IPV6 = 0x86dd;
const ETH_MPLS = 0x8847;
const ETH_NSH = 0x894f;
const PT_ETH = 0;
export const PT_NSH = 0x1894f;
export const PT_MPLS = 0x18847;
export const PT_MPLS_MC = 0x18848;
const ICMP = 1;
const ICMPV6 = 58;
const TRANSPORT: Readonly<Record<number, DpSetAttr>> = { 6: 'tcp', 17: 'udp', 132: 'sctp' };
/** Bytes of a header attribute that no `set` may touch. */
const NOT_WRITABLE: ReadonlySet<string> = new Set(['ipv4.proto', 'ipv4.frag', 'ipv6.proto', 'ipv6.frag']);

const differs = (a: Uint8Array, b: Uint8Array, at: number, size: number): boolean => {
  for (let i = at; i < at + size; i++) if (a[i] !== b[i]) return true;
  return false;
};

/** Commits one attribute; true when there was something to do. */
function commitHeader(
  attr: DpSetAttr,
  flow: Flow,
  base: Flow,
  actions: DpAction[],
  wc: FlowWildcards,
  whole = false,
): boolean {
  const key = getOdpHeader(flow, attr, false);
  const old = getOdpHeader(base, attr, false);
  if (!differs(key, old, 0, key.length)) return false;
  const mask = getOdpHeader(wc, attr, true);
  let at = 0;
  for (const field of odpHeaderFields(attr)) {
    const changed = differs(key, old, at, field.size) && !NOT_WRITABLE.has(`${attr}.${field.name}`);
    if (whole) mask.fill(0xff, at, at + field.size);
    else if (!changed) mask.fill(0, at, at + field.size);
    if (whole) setOdpField(wc, field, true, mask, at);
    setOdpField(base, field, false, key, at);
    at += field.size;
  }
  // What is not written is of no account.
  for (let i = 0; i < key.length; i++) key[i] &= mask[i];
  actions.push({ type: 'set', attr, key, mask });
  return true;
}

const TAGS = [
  ['vlanTpid0', 'vlanTci0'],
  ['vlanTpid1', 'vlanTci1'],
] as const;

const hasTag = (flow: Flow, i: number): boolean => (flow[TAGS[i][1]] & VLAN_CFI) !== 0;

/** Number of VLAN tags. */
export const countVlans = (flow: Flow): number => (!hasTag(flow, 0) ? 0 : hasTag(flow, 1) ? 2 : 1);

function commitVlan(flow: Flow, base: Flow, actions: DpAction[], wc: FlowWildcards): void {
  let b = countVlans(base) - 1;
  let f = countVlans(flow) - 1;
  const same = (i: number, j: number) => TAGS[0].every((_, k) => base[TAGS[i][k]] === flow[TAGS[j][k]]);
  for (; b >= 0 && f >= 0 && same(b, f); b--) f--;
  for (; b >= 0; b--) {
    actions.push({ type: 'pop_vlan' });
    wc[TAGS[b][0]] = 0xffff;
    wc[TAGS[b][1]] = 0xffff;
  }
  for (; f >= 0; f--) actions.push({ type: 'push_vlan', tpid: flow[TAGS[f][0]], tci: flow[TAGS[f][1]] });
  for (const [tpid, tci] of TAGS) {
    base[tpid] = flow[tpid];
    base[tci] = flow[tci];
  }
}

/** Pops, sets and pushes labels; which bits count was said when the actions were translated. */
function commitMpls(flow: Flow, base: Flow, actions: DpAction[], encap: boolean): void {
  let n = countMplsLabels(base);
  const wanted = countMplsLabels(flow);
  let common = countCommonMplsLabels(flow, wanted, base, n);
  while (n > common) {
    if (n - 1 === common && wanted > common) {
      const lse = getLse(flow, wanted - n);
      setLse(base, 0, lse);
      actions.push({ type: 'set', attr: 'mpls', key: getOdpHeader(base, 'mpls', false), mask: ones(4) });
      common++;
    } else {
      // A label that is not the last one leaves another behind.
      const ethertype = !isMplsType(flow.dlType) && n > 1 ? ETH_MPLS : flow.dlType;
      actions.push({ type: 'pop_mpls', ethertype });
      popMpls(base, n, flow.dlType);
      n--;
    }
  }
  for (; n < wanted; n++) {
    const lse = getLse(flow, wanted - n - 1);
    const { dlType: ethertype } = flow;
    actions.push(encap ? { type: 'add_mpls', ethertype, lse, l2: true } : { type: 'push_mpls', ethertype, lse });
    // The headers behind stay known: a patch port or a group's bucket may bring the packet of before back.
    pushMpls(base, n, ethertype, undefined, false);
    setLse(base, 0, lse);
  }
}

const ones = (size: number): Uint8Array => new Uint8Array(size).fill(0xff);

/** Network layer; true when the result needs the slow path. */
function commitNetwork(flow: Flow, base: Flow, actions: DpAction[], wc: FlowWildcards, whole: boolean): boolean {
  if (!flow.nwProto) return false;
  if (base.dlType === ETH_IP) commitHeader('ipv4', flow, base, actions, wc, whole);
  else if (base.dlType === ETH_IPV6) {
    commitHeader('ipv6', flow, base, actions, wc, whole);
    if (!isNd(base)) return false;
    const extended = commitHeader('nd_ext', flow, base, actions, wc, whole);
    return commitHeader('nd', flow, base, actions, wc, whole) || extended;
  } else if (base.dlType === ETH_ARP) return commitHeader('arp', flow, base, actions, wc);
  return false;
}

function commitTransport(flow: Flow, base: Flow, actions: DpAction[], wc: FlowWildcards, whole: boolean): void {
  const attr = isIpAny(base) ? TRANSPORT[flow.nwProto] : undefined;
  if (attr) commitHeader(attr, flow, base, actions, wc, whole);
}

/** True when there was something to do. */
function commitIcmp(flow: Flow, base: Flow, actions: DpAction[], wc: FlowWildcards): boolean {
  if (flow.dlType === ETH_IP && flow.nwProto === ICMP) return commitHeader('icmp', flow, base, actions, wc, true);
  if (flow.dlType === ETH_IPV6 && flow.nwProto === ICMPV6) return commitHeader('icmpv6', flow, base, actions, wc, true);
  return false;
}

const NSH_AT = FLOW_MEMBERS.nsh_flags.offset;
const NSH_END = FLOW_MEMBERS.nsh_context3.offset + 4;
const NSH_MDTYPE_AT = 2;
const NSH_CONTEXT_AT = 8;
const MD_TYPE1 = 1;

/** The NSH attribute of a packet's headers: contexts of metadata type 1 only. */
function nshKey(flow: Flow): Uint8Array {
  const key = getOdpHeader(flow, 'nsh', false);
  if (flow.nshMdtype !== MD_TYPE1) key.fill(0, NSH_CONTEXT_AT);
  return key;
}

function commitNsh(flow: Flow, base: Flow, actions: DpAction[], wc: FlowWildcards, whole: boolean): void {
  if (flow.dlType !== ETH_NSH) return;
  const key = nshKey(flow);
  if (!differs(key, nshKey(base), 0, key.length)) return;
  const mask = whole ? ones(odpHeaderSize('nsh')) : getOdpHeader(wc, 'nsh', true);
  if (whole) wc.u8.fill(0xff, NSH_AT, NSH_END);
  // Neither the type of the metadata nor the next protocol can be set.
  else mask.fill(0, NSH_MDTYPE_AT, NSH_MDTYPE_AT + 2);
  base.u8.set(flow.u8.subarray(NSH_AT, NSH_END), NSH_AT);
  for (let i = 0; i < key.length; i++) key[i] &= mask[i];
  actions.push({ type: 'set', attr: 'nsh', key, mask });
}

/** A whole NSH header (RFC 8300 section 2) with the fields of `flow`. */
function nshHeader(flow: Flow, metadata: Uint8Array | undefined): Uint8Array {
  const contexts = flow.u8.subarray(FLOW_MEMBERS.nsh_context0.offset, NSH_END);
  const body = flow.nshMdtype === MD_TYPE1 ? contexts : (metadata ?? new Uint8Array(0));
  const word = ((flow.nshFlags & 3) << 12) | ((flow.nshTtl & 63) << 6) | ((8 + body.length) / 4);
  const path = flow.u8.subarray(FLOW_MEMBERS.nsh_path_hdr.offset, FLOW_MEMBERS.nsh_path_hdr.offset + 4);
  return Uint8Array.of(word >> 8, word, flow.nshMdtype, flow.nshNp, ...path, ...body);
}

const HEADERS_AT = FLOW_MEMBERS.dl_dst.offset;
const MACS_END = FLOW_MEMBERS.dl_src.offset + 6;

function commitEncap(flow: Flow, base: Flow, actions: DpAction[], data: Uint8Array | undefined): void {
  switch (flow.packetType) {
    case PT_ETH:
      actions.push({ type: 'push_eth', src: flow.dlSrc.slice(), dst: flow.dlDst.slice() });
      base.packetType = PT_ETH;
      base.u8.set(flow.u8.subarray(HEADERS_AT, MACS_END), HEADERS_AT);
      break;
    case PT_NSH:
      actions.push({ type: 'push_nsh', nsh: nshHeader(flow, data) });
      base.packetType = PT_NSH;
      base.u8.set(flow.u8.subarray(HEADERS_AT), HEADERS_AT);
      break;
    case PT_MPLS:
    case PT_MPLS_MC:
      commitMpls(flow, base, actions, true);
      break;
  }
}

const PT_NS_ETHERTYPE = 1;

function commitDecap(flow: Flow, base: Flow, actions: DpAction[]): void {
  if (flow.packetType >>> 16 === PT_NS_ETHERTYPE && base.packetType === PT_ETH) {
    actions.push({ type: 'pop_eth' });
    base.packetType = flow.packetType;
    base.u8.fill(0, HEADERS_AT, MACS_END);
  } else if (base.packetType === PT_NSH) actions.push({ type: 'pop_nsh' });
  // The rest comes back to be parsed anew: `base` is of no use any more.
  else if (base.packetType === PT_MPLS || base.packetType === PT_MPLS_MC) commitMpls(flow, base, actions, false);
}

/** Appends to `actions` what makes a packet with headers `base` one with `flow`; `base` becomes equal to it. True when packets of the
 *  flow must go through user space, because a kernel datapath has no such action. `masked`: a `set` may leave bits alone. */
export function commitOdpActions(
  flow: Flow,
  base: Flow,
  actions: DpAction[],
  wc: FlowWildcards,
  pending: PendingHeaders,
  masked = true,
): boolean {
  if (!pending.encap && !pending.decap && flow.equals(base)) return false;
  if (pending.encap) commitEncap(flow, base, actions, pending.data);
  else if (pending.decap || flow.packetType !== base.packetType) commitDecap(flow, base, actions);
  if (flow.packetType === PT_ETH && base.packetType === PT_ETH)
    commitHeader('ethernet', flow, base, actions, wc, !masked);
  // Labels in front of a network header go first.
  const popped = isMplsType(base.dlType) && !isMplsType(flow.dlType);
  if (popped) commitMpls(flow, base, actions, false);
  commitNsh(flow, base, actions, wc, !masked);
  const slowNetwork = commitNetwork(flow, base, actions, wc, !masked);
  commitTransport(flow, base, actions, wc, !masked);
  const slowTransport = commitIcmp(flow, base, actions, wc);
  if (!popped) commitMpls(flow, base, actions, false);
  commitVlan(flow, base, actions, wc);
  commitHeader('skb_priority', flow, base, actions, wc, !masked);
  commitHeader('skb_mark', flow, base, actions, wc, !masked);
  return slowNetwork || slowTransport;
}
