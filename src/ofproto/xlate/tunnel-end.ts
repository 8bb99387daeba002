import { isMapped, mappedIpv4, unmapIpv4 } from '../../base/address.ts';
import type { OdpPort } from '../../base/types.ts';
import { isNd } from '../../dpif/odp-keys.ts';
import type { Flow } from '../../flow/flow.ts';
import { FLOW_MEMBERS } from '../../gen/flow.ts';
import type { XlateCtx } from './context.ts';
import type { XPort } from './types.ts';

/** A packet about to leave by a port of the host itself: it may end a tunnel here, or tell where a neighbour is. */

const ETH_IP = 0x0800;
const ETH_ARP = 0x0806;
const ETH_IPV6 = 0x86dd;
const ICMPV6 = 58;
const ARP_REPLY = 2;
const ND_ADVERT = 136;

const isZero = (a: Uint8Array): boolean => a.every((b) => b === 0);
const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** The datapath's port of the tunnel that ends here; undefined: the packet leaves as it is. */
export function tunnelEnd(ctx: XlateCtx, port: XPort): OdpPort | undefined {
  const { tunnels } = ctx.bridge;
  const { flow, wc } = ctx;
  // A port without an address ends no tunnel: nothing more is looked at.
  if (!ctx.support.tnlPushPop || tunnels.addresses(port).length === 0) return undefined;
  const odpPort = tunnels.endOf(flow, wc);
  if (odpPort === undefined) {
    if (isReplyForUs(ctx) || isGratuitousArp(ctx)) snoop(ctx);
    return undefined;
  }
  // Whoever sends by a tunnel can be sent to.
  if (flow.dlType === ETH_IP || flow.dlType === ETH_IPV6)
    learn(ctx, flow.dlType === ETH_IP ? mappedIpv4(flow.nwSrc) : flow.ipv6Src, flow.dlSrc);
  return odpPort;
}

function learn({ bridge, effects }: XlateCtx, ip: Uint8Array, mac: Uint8Array): void {
  effects.push({ type: 'neighbour', tunnels: bridge.tunnels, bridge: bridge.name, ip: ip.slice(), mac: mac.slice() });
}

/** An answer to a question that this bridge asked: for one of its addresses, or of its ports'. */
function isReplyForUs(ctx: XlateCtx): boolean {
  const { flow, bridge } = ctx;
  if (flow.dlType !== ETH_ARP && flow.nwProto !== ICMPV6) return false;
  for (const port of bridge.xports())
    if (bridge.tunnels.addresses(port).some((own) => isReplyFor(flow, own))) return true;
  return false;
}

function isReplyFor(flow: Flow, own: Uint8Array): boolean {
  if (isMapped(own)) return flow.dlType === ETH_ARP && unmapIpv4(own) === flow.nwDst;
  return flow.dlType === ETH_IPV6 && (isSolicitedNode(flow.ipv6Dst, own) || equal(flow.ipv6Dst, own));
}

/** ff02::1:ffXX:XXXX with the last 24 bits of `own`. */
function isSolicitedNode(to: Uint8Array, own: Uint8Array): boolean {
  const link = to[0] === 0xff && (to[1] & 15) === 2 && to[11] === 1 && to[12] === 0xff;
  return link && equal(to.subarray(13), own.subarray(13));
}

/** It announces its own address. Also adds to the wildcards what it looks at. */
function isGratuitousArp({ flow, wc }: XlateCtx): boolean {
  if (flow.dlType !== ETH_ARP) return false;
  [wc.nwSrc, wc.nwDst] = [0xffffffff, 0xffffffff];
  return flow.nwSrc === flow.nwDst;
}

function snoop(ctx: XlateCtx): void {
  if (ctx.flow.dlType === ETH_ARP) snoopArp(ctx);
  else if (isNd(ctx.flow)) snoopNd(ctx);
}

const ones = (wc: Flow, name: 'arp_sha' | 'arp_tha' | 'ipv6_src' | 'ipv6_dst' | 'nd_target'): void => {
  const { offset, size } = FLOW_MEMBERS[name];
  wc.u8.fill(0xff, offset, offset + size);
};

function snoopArp(ctx: XlateCtx): void {
  const { flow, wc } = ctx;
  if (!isGratuitousArp(ctx)) {
    wc.nwProto = 0xff;
    if (flow.nwProto !== ARP_REPLY) return;
  }
  ones(wc, 'arp_sha');
  if (isZero(flow.arpSha)) return;
  wc.nwSrc = 0xffffffff;
  learn(ctx, mappedIpv4(flow.nwSrc), flow.arpSha);
}

/** Advertisements without the address (RFC 4861 section 4.4 lets them be) teach nothing. */
function snoopNd(ctx: XlateCtx): void {
  const { flow, wc } = ctx;
  [wc.tpSrc, wc.tpDst] = [0xffff, 0xffff];
  if (flow.tpSrc !== ND_ADVERT) return;
  ones(wc, 'arp_tha');
  if (isZero(flow.arpTha)) return;
  for (const name of ['ipv6_src', 'ipv6_dst', 'nd_target'] as const) ones(wc, name);
  learn(ctx, flow.ndTarget, flow.arpTha);
}
