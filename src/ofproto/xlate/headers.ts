import { FLOW_NW_FRAG_LATER } from '../../dpif/odp-keys.ts';
import { FLOW_MEMBERS } from '../../gen/flow.ts';
import type { OfpactOf } from '../../openflow/actions.ts';
import { isIpAny } from '../../openflow/field-prereq.ts';
import { OFPR_INVALID_TTL } from '../../openflow/messages.ts';
import { countVlans } from './commit.ts';
import type { XlateCtx } from './context.ts';
import { controllerAction } from './controller.ts';

/** Actions on headers that have no field of their own in the action: VLAN tags, TTL, and OpenFlow 1.0's setters. */

const VLAN_CFI = 0x1000;
const VLAN_VID = 0x0fff;
const VLAN_PCP = 0xe000;
const ETH_TYPE_VLAN = 0x8100;

/** Replaces the bits `bits` of the outer tag, if there is one or one may be added. */
function setVlanBits(ctx: XlateCtx, bits: number, value: number, pushIfNeeded: boolean): void {
  const { flow, wc } = ctx;
  wc.vlanTci0 |= bits | VLAN_CFI;
  if (!(flow.vlanTci0 & VLAN_CFI) && !pushIfNeeded) return;
  if (!flow.vlanTpid0) flow.vlanTpid0 = ETH_TYPE_VLAN;
  flow.vlanTci0 = (flow.vlanTci0 & ~bits) | value | VLAN_CFI;
}

export function setVlanVid(ctx: XlateCtx, a: OfpactOf<'set_vlan_vid'>): void {
  setVlanBits(ctx, VLAN_VID, a.vid, a.pushIfNeeded);
}

export function setVlanPcp(ctx: XlateCtx, a: OfpactOf<'set_vlan_pcp'>): void {
  setVlanBits(ctx, VLAN_PCP, a.pcp << 13, a.pushIfNeeded);
}

export function popVlan({ flow, wc }: XlateCtx): void {
  const n = countVlans(flow);
  if (n > 1) {
    wc.vlanTpid1 = wc.vlanTci1 = 0xffff;
    flow.vlanTpid0 = flow.vlanTpid1;
    flow.vlanTci0 = flow.vlanTci1;
    flow.vlanTpid1 = flow.vlanTci1 = 0;
  } else if (n > 0) flow.vlanTpid0 = flow.vlanTci0 = 0;
}

export function pushVlan({ flow, wc }: XlateCtx, ethertype: number): void {
  const n = countVlans(flow);
  if (n > 0) wc.vlanTpid0 = wc.vlanTci0 = 0xffff;
  if (n > 1) wc.vlanTpid1 = wc.vlanTci1 = 0xffff;
  flow.vlanTpid1 = flow.vlanTpid0;
  flow.vlanTci1 = flow.vlanTci0;
  flow.vlanTpid0 = ethertype;
  flow.vlanTci0 = VLAN_CFI;
}

const macAt = { src: FLOW_MEMBERS.dl_src.offset, dst: FLOW_MEMBERS.dl_dst.offset };

export function setEth({ flow, wc }: XlateCtx, which: 'src' | 'dst', mac: Uint8Array): void {
  wc.u8.fill(0xff, macAt[which], macAt[which] + 6);
  flow.u8.set(mac, macAt[which]);
}

export function setIpv4({ flow, wc }: XlateCtx, which: 'nwSrc' | 'nwDst', ip: number): void {
  if (flow.dlType !== 0x0800) return;
  wc[which] = 0xffffffff;
  wc.nwProto = 0xff;
  flow[which] = ip;
}

/** Replaces the bits `bits` of the TOS byte. */
export function setTos({ flow, wc }: XlateCtx, bits: number, value: number): void {
  if (!isIpAny(flow)) return;
  wc.nwProto = 0xff;
  wc.nwTos |= bits;
  flow.nwTos = (flow.nwTos & ~bits) | value;
}

export function setTtl({ flow, wc }: XlateCtx, ttl: number): void {
  if (!isIpAny(flow)) return;
  wc.nwProto = 0xff;
  wc.nwTtl = 0xff;
  flow.nwTtl = ttl;
}

export function setL4Port({ flow, wc }: XlateCtx, which: 'tpSrc' | 'tpDst', port: number): void {
  if (!isIpAny(flow) || flow.nwFrag & FLOW_NW_FRAG_LATER) return;
  wc.nwProto = 0xff;
  wc[which] = 0xffff;
  flow[which] = port;
}

/** True when the TTL ran out: the rest of the actions is not run. */
export function decTtl(ctx: XlateCtx, a: OfpactOf<'dec_ttl'>): boolean {
  const { flow, wc } = ctx;
  // The reference switch looks at these even where the packet is not IP.
  wc.nwTtl = 0xff;
  wc.nwProto = 0xff;
  if (!isIpAny(flow)) return false;
  if (flow.nwTtl > 1) {
    flow.nwTtl--;
    return false;
  }
  for (const id of a.ids) controllerAction(ctx, 0xffff, OFPR_INVALID_TTL, id);
  ctx.report('warn', `IPv${flow.dlType === 0x0800 ? 4 : 6} decrement TTL exception`);
  return true;
}
