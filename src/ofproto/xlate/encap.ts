import { OFPPPC, OFPPPT_PROP_NSH_MDTYPE, OFPPPT_PROP_NSH_TLV } from '../../../protocols/openflow-actions.ts';
import { countMplsLabels, MAX_MPLS_LABELS, popMpls, pushMpls } from '../../flow/mpls.ts';
import { FLOW_MEMBERS } from '../../gen/flow.ts';
import type { OfpactOf } from '../../openflow/actions.ts';
import { OFPR_INVALID_TTL } from '../../openflow/messages.ts';
import { PT_MPLS, PT_MPLS_MC, PT_NSH } from './commit.ts';
import type { XlateCtx } from './context.ts';
import { controllerAction } from './controller.ts';
import { triggerFreeze } from './freeze.ts';
import { tooManyLabels } from './mpls-actions.ts';

/** encap and decap: headers that change what type of packet it is (OpenFlow 1.5 packet types; NSH is RFC 8300). */

const PT_ETH = 0;
const PT_IPV4 = 0x10800;
const PT_IPV6 = 0x186dd;
const PT_NS_ETHERTYPE = 1;
const ETH_NSH = 0x894f;
const ETH_MPLS = 0x8847;
/** Transparent Ethernet bridging: what an MPLS label may carry. */
const ETH_TEB = 0x6558;
const VLAN_CFI = 0x1000;
/** Packet types by NSH's next protocol. */
const NSH_NEXT: Readonly<Record<number, number>> = { 1: PT_IPV4, 2: PT_IPV6, 3: PT_ETH, 4: PT_NSH };
const MD_TYPE1 = 1;
const MD_TYPE2 = 2;
/** Longest metadata of an NSH header. */
const MD_MAX = 248;

const HEADERS_AT = FLOW_MEMBERS.dl_dst.offset;
const MACS_END = FLOW_MEMBERS.dl_src.offset + 6;

const clearMacs = ({ flow }: XlateCtx): void => {
  flow.u8.fill(0, HEADERS_AT, MACS_END);
};

/** A packet that the action can't be done to. */
function unsupported(ctx: XlateCtx, why: string): void {
  ctx.report('action', `Dropping packet${why}`);
  ctx.error = 'unsupported_packet_type';
}

const typeText = (pt: number): string => `packet type (${pt >>> 16},0x${(pt & 0xffff).toString(16)})`;

function encapEthernet(ctx: XlateCtx): void {
  const { flow } = ctx;
  ctx.wc.packetType = 0xffffffff;
  if (flow.packetType >>> 16 !== PT_NS_ETHERTYPE) {
    unsupported(ctx, ' as encap(ethernet) is not supported for packet type ethernet.');
    return;
  }
  const ethertype = flow.packetType & 0xffff;
  flow.packetType = PT_ETH;
  clearMacs(ctx);
  flow.dlType = ethertype;
}

/** Properties of encap(nsh): the type of metadata, and the options of type 2. */
function nshProperties(props: Uint8Array): { mdType: number; metadata: Uint8Array } {
  let mdType = MD_TYPE1;
  const metadata: number[] = [];
  for (let at = 0; at + 4 <= props.length; ) {
    const [propClass, type, length] = [(props[at] << 8) | props[at + 1], props[at + 2], props[at + 3]];
    if (length < 4) break;
    if (propClass === OFPPPC.NSH && type === OFPPPT_PROP_NSH_MDTYPE) mdType = props[at + 4];
    else if (propClass === OFPPPC.NSH && type === OFPPPT_PROP_NSH_TLV) {
      const size = props[at + 7];
      metadata.push(...props.subarray(at + 4, at + 8 + size), ...new Array<number>(-size & 3).fill(0));
    }
    at += (length + 7) & ~7;
  }
  return { mdType, metadata: Uint8Array.from(metadata) };
}

function encapNsh(ctx: XlateCtx, props: Uint8Array): void {
  const { flow } = ctx;
  const { mdType, metadata } = nshProperties(props);
  const next = Object.entries(NSH_NEXT).find(([, pt]) => pt === flow.packetType)?.[0];
  if (next === undefined) {
    unsupported(ctx, ` as encap(nsh) is not supported for ${typeText(flow.packetType)}`);
    return;
  }
  ctx.wc.packetType = 0xffffffff;
  flow.u8.fill(0, HEADERS_AT);
  flow.packetType = PT_NSH;
  flow.dlType = ETH_NSH;
  flow.nshTtl = 63;
  flow.nshNp = Number(next);
  flow.nshPathHdr = 255;
  flow.nshMdtype = mdType;
  ctx.encapData = mdType === MD_TYPE2 && metadata.length > 0 && metadata.length <= MD_MAX ? metadata : undefined;
}

const LSES = ['mplsLse0', 'mplsLse1', 'mplsLse2'] as const;

function encapMpls(ctx: XlateCtx, packetType: number): void {
  const { flow, wc, base } = ctx;
  const n = countMplsLabels(flow, wc);
  if (n >= MAX_MPLS_LABELS) {
    tooManyLabels(ctx, "encap MPLS action can't be performed as it would have");
    return;
  }
  wc.packetType = 0xffffffff;
  // Labels behind an Ethernet header belong to the packet inside.
  if (flow.packetType === PT_ETH && flow.dlType === ETH_MPLS)
    for (const lse of LSES) wc[lse] = flow[lse] = base[lse] = 0;
  flow.packetType = packetType;
  pushMpls(flow, n, packetType & 0xffff, wc, true);
  clearMacs(ctx);
}

export function encap(ctx: XlateCtx, a: OfpactOf<'encap'>): void {
  ctx.commit();
  if (a.packetType === PT_ETH) encapEthernet(ctx);
  else if (a.packetType === PT_NSH) encapNsh(ctx, a.props);
  else {
    encapMpls(ctx, a.packetType);
    if (!ctx.support.addMpls) ctx.slow.add('action');
  }
  if (!ctx.error) ctx.pendingEncap = true;
}

/** What is left is known, but for a changed type of packet: no need to parse it anew. */
function decapEthernet(ctx: XlateCtx): void {
  const { flow, wc } = ctx;
  if (flow.vlanTci0 & VLAN_CFI) {
    unsupported(ctx, ', cannot decap Ethernet if VLAN is present.');
    return;
  }
  flow.packetType = ((PT_NS_ETHERTYPE << 16) | flow.dlType) >>> 0;
  clearMacs(ctx);
  wc.dlType = 0xffff;
}

/** True: the packet has to be parsed anew. */
function decapNsh(ctx: XlateCtx): boolean {
  const { flow, wc } = ctx;
  const next = NSH_NEXT[flow.nshNp];
  if (next === undefined) {
    unsupported(ctx, ` as NSH next protocol ${flow.nshNp} is not supported`);
    return false;
  }
  flow.packetType = next;
  wc.nshNp = 0xff;
  ctx.pendingDecap = true;
  return true;
}

/** True: the last label is gone, and what was behind it has to be parsed. */
function decapMpls(ctx: XlateCtx, packetType: number): boolean {
  const { flow, wc } = ctx;
  flow.packetType = packetType;
  const n = countMplsLabels(flow, wc);
  if (popMpls(flow, n, packetType & 0xffff || ETH_TEB, wc)) {
    if (!ctx.support.addMpls) ctx.slow.add('action');
    ctx.pendingDecap = true;
    return n === 1;
  }
  if (n >= MAX_MPLS_LABELS) {
    tooManyLabels(ctx, "MPLS decap can't be performed as it has");
    ctx.actions.length = 0;
  }
  return false;
}

function decapOuter(ctx: XlateCtx, a: OfpactOf<'decap'>): boolean {
  const { packetType } = ctx.flow;
  switch (packetType) {
    case PT_ETH:
      decapEthernet(ctx);
      return false;
    case PT_NSH:
      return decapNsh(ctx);
    case PT_MPLS:
    case PT_MPLS_MC:
      return decapMpls(ctx, a.packetType);
    default:
      unsupported(ctx, ` as the decap() does not support ${typeText(packetType)}`);
      return false;
  }
}

/** False: translation stops here, to go on when the packet comes back. */
export function decap(ctx: XlateCtx, a: OfpactOf<'decap'>): boolean {
  ctx.commit();
  if (!decapOuter(ctx, a) || ctx.error) return true;
  triggerFreeze(ctx);
  return false;
}

/** True when the TTL ran out, or there is none: the rest of the actions is not run. */
export function decNshTtl(ctx: XlateCtx): boolean {
  const { flow, wc } = ctx;
  if (flow.packetType === PT_NSH || flow.dlType === ETH_NSH) {
    wc.nshTtl = 0xff;
    if (flow.nshTtl > 1) {
      flow.nshTtl--;
      return false;
    }
    controllerAction(ctx, 0xffff, OFPR_INVALID_TTL, 0);
  }
  ctx.report('warn', 'NSH decrement TTL exception');
  return true;
}
