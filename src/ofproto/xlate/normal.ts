import { formatMac } from '../../base/address.ts';
import type { OfpPort } from '../../base/types.ts';
import { FLOW_MEMBERS } from '../../gen/flow.ts';
import { macNumber } from '../mac-learning.ts';
import type { XlateCtx } from './context.ts';
import { outputNormal } from './port-output.ts';
import { isReservedMac } from './reserved.ts';
import type { XBundle, XPort } from './types.ts';
import {
  extractTags,
  includesVlan,
  inputBundle,
  inputVidIsValid,
  isVlanTpid,
  OFPP_NONE_BUNDLE,
  type Tags,
  translateInput,
  VLAN_CFI,
  VLAN_VID,
} from './vlan.ts';

/** NORMAL: a learning switch with VLANs. */

const BROADCAST = 0xffffffffffff;
const SRC_AT = FLOW_MEMBERS.dl_src.offset;
const DST_AT = FLOW_MEMBERS.dl_dst.offset;
const ETH_TYPE_ARP = 0x0806;
const ARP_REQUEST = 1;
const ARP_REPLY = 2;

/** An ARP request or reply that announces its own address; unwildcards what it looks at. */
function isGratuitousArp({ flow, wc }: XlateCtx): boolean {
  if (flow.dlType !== ETH_TYPE_ARP || macNumber(flow.u8, DST_AT) !== BROADCAST) return false;
  wc.nwProto = 0xff;
  if (flow.nwProto === ARP_REPLY) return true;
  if (flow.nwProto !== ARP_REQUEST) return false;
  wc.nwSrc = 0xffffffff;
  wc.nwDst = 0xffffffff;
  return flow.nwSrc === flow.nwDst;
}

/** The bundle that a packet is admitted from, with its tags inside the switch; undefined: dropped, and reported. */
function admit(ctx: XlateCtx): { bundle: XBundle; tags: Tags } | undefined {
  const { flow } = ctx;
  const bundle = inputBundle(ctx, flow.inPort);
  if (!bundle) {
    ctx.report('warn', 'no input bundle, dropping');
    return undefined;
  }
  if (isVlanTpid(flow.dlType) && !(flow.vlanTci0 & VLAN_CFI)) {
    if (ctx.xin.packet) ctx.reportError(`dropping packet with partial VLAN tag received on port ${bundle.name}`);
    ctx.report('warn', 'partial VLAN tag, dropping');
    return undefined;
  }
  if (bundle.mirrorOut) {
    if (ctx.xin.packet)
      ctx.reportError(`dropping packet received on port ${bundle.name}, which is reserved exclusively for mirroring`);
    ctx.report('warn', 'input port is mirror output port, dropping');
    return undefined;
  }
  const raw = extractTags(flow);
  if (!inputVidIsValid(ctx, bundle, raw[0].vid)) {
    ctx.report('warn', 'disallowed VLAN VID for this input port, dropping');
    return undefined;
  }
  const tags = translateInput(bundle, raw);
  const port = ctx.bridge.xport(flow.inPort as OfpPort);
  return port && !isAdmissible(ctx, bundle, port, tags[0].vid) ? undefined : { bundle, tags };
}

/** Reserved addresses, and what a bond does not want from that member; reported. */
function isAdmissible(ctx: XlateCtx, bundle: XBundle, port: XPort, vlan: number): boolean {
  const { flow, bridge } = ctx;
  const dst = macNumber(flow.u8, DST_AT);
  if (!bridge.forwardBpdu && isReservedMac(dst)) {
    ctx.report('detail', 'packet has reserved destination MAC, dropping');
    return false;
  }
  const verdict = bundle.bond?.check(port, dst) ?? 'accept';
  if (verdict === 'drop') {
    ctx.report('detail', 'bonding refused admissibility, dropping');
    return false;
  }
  if (verdict === 'accept') return true;
  // Known elsewhere: most likely sent by one member and back by another. A station that has moved tells so by gratuitous ARP.
  const mac = bridge.macs.lookup(macNumber(flow.u8, SRC_AT), vlan);
  if (!mac || mac.bundle === bundle) return true;
  if (isGratuitousArp(ctx) && !bridge.macs.isGratArpLocked(mac)) return true;
  ctx.report('detail', 'SLB bond thinks this packet looped back, dropping');
  return false;
}

export function normal(ctx: XlateCtx): void {
  const { flow, wc, bridge } = ctx;
  wc.u8.fill(0xff, DST_AT, DST_AT + 12);
  wc.vlanTci0 |= VLAN_VID | VLAN_CFI;
  const admitted = admit(ctx);
  if (!admitted) return;
  const { bundle, tags } = admitted;
  const vlan = tags[0].vid;
  learn(ctx, bundle, vlan, isGratuitousArp(ctx));
  const mac = bridge.macs.lookup(macNumber(flow.u8, DST_AT), vlan);
  if (!mac) {
    ctx.report('detail', 'no learned MAC for destination, flooding');
    flood(ctx, bundle, tags);
  } else if (mac.bundle.mirrorOut) ctx.report('warn', 'learned port is a mirror port, dropping');
  else if (mac.bundle === bundle) ctx.report('detail', 'learned port is input port, dropping');
  else {
    ctx.report('detail', 'forwarding to learned port');
    outputNormal(ctx, mac.bundle, tags);
  }
}

function flood(ctx: XlateCtx, from: XBundle, tags: Tags): void {
  for (const out of [...ctx.bridge.xbundles()])
    if (out !== from && includesVlan(out, tags) && out.floodable && !out.mirrorOut) outputNormal(ctx, out, tags);
}

/** Only frames with an Ethernet header teach. */
function learn(ctx: XlateCtx, bundle: XBundle, vlan: number, gratuitousArp: boolean): void {
  const { flow, bridge } = ctx;
  if (bundle === OFPP_NONE_BUNDLE || flow.packetType !== 0) return;
  const mac = macNumber(flow.u8, SRC_AT);
  if (ctx.trace && ctx.xin.packet && bridge.macs.isNews(mac, vlan, bundle, gratuitousArp, bundle.bond !== undefined))
    ctx.report('detail', `learned that ${formatMac(flow.dlSrc)} is on port ${bundle.name} in VLAN ${vlan}`);
  ctx.effects.push({ type: 'learn', bridge, bundle, mac, vlan, gratuitousArp });
}
