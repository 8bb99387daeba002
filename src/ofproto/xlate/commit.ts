import type { DpAction, DpSetAttr } from '../../dpif/dpif.ts';
import {
  getOdpHeader,
  isArpType,
  isMplsType,
  isNd,
  odpHeaderFields,
  odpTransport,
  setOdpField,
} from '../../dpif/odp-keys.ts';
import type { Flow, FlowWildcards } from '../../flow/flow.ts';

/**
 * Deferred header changes: translation changes `flow`; before an output the difference to what the datapath has (`base`) becomes `set`,
 * `push_vlan` and `pop_vlan` actions. A field that did not change is masked out of its `set`; one that did is set in the bits that
 * were written or looked at, which are exact in the megaflow or overwritten.
 */

const VLAN_CFI = 0x1000;
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

/** Network layer; true when the result needs the slow path. */
function commitNetwork(flow: Flow, base: Flow, actions: DpAction[], wc: FlowWildcards): boolean {
  if (!flow.nwProto) return false;
  if (base.dlType === 0x0800) commitHeader('ipv4', flow, base, actions, wc);
  else if (base.dlType === 0x86dd) {
    commitHeader('ipv6', flow, base, actions, wc);
    if (isNd(base)) return commitHeader('nd', flow, base, actions, wc);
  } else if (isArpType(base.dlType)) return commitHeader('arp', flow, base, actions, wc);
  return false;
}

function commitTransport(flow: Flow, base: Flow, actions: DpAction[], wc: FlowWildcards): boolean {
  const attr = odpTransport(base);
  if (attr === 'icmp' || attr === 'icmpv6') return commitHeader(attr, flow, base, actions, wc, true);
  if (attr) commitHeader(attr, flow, base, actions, wc);
  return false;
}

/** Appends to `actions` what makes a packet with headers `base` one with `flow`; `base` becomes equal to it. True when packets of the
 *  flow must go through user space, because a kernel datapath has no such action. */
export function commitOdpActions(flow: Flow, base: Flow, actions: DpAction[], wc: FlowWildcards): boolean {
  if (flow.u32.every((w, i) => w === base.u32[i])) return false;
  commitHeader('ethernet', flow, base, actions, wc);
  const slowNetwork = commitNetwork(flow, base, actions, wc);
  const slowTransport = commitTransport(flow, base, actions, wc);
  if (isMplsType(flow.dlType) && flow.dlType === base.dlType) commitHeader('mpls', flow, base, actions, wc);
  commitVlan(flow, base, actions, wc);
  commitHeader('skb_priority', flow, base, actions, wc);
  commitHeader('skb_mark', flow, base, actions, wc);
  return slowNetwork || slowTransport;
}
