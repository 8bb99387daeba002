import { formatMac, formatMapped, isMapped, mappedIpv4, unmapIpv4 } from '../../base/address.ts';
import type { DpTunnel } from '../../dpif/dpif.ts';
import { splitGeneve } from '../../dpif/tunnel-geneve.ts';
import { type Flow, FlowWildcards } from '../../flow/flow.ts';
import { FLOW_MEMBERS } from '../../gen/flow.ts';
import { keyValue, type TunnelConfig, tunnelProtocol } from '../../netdev/tunnel-config.ts';
import { isIpAny } from '../../openflow/field-prereq.ts';
import { geneveOptions } from '../../openflow/tun-metadata.ts';
import { buildTunnelHeader } from '../tunnel-header.ts';
import { cameByTunnel, tunnelDst } from '../tunnel-ports.ts';
import { tunnelBytes, type XlateCtx } from './context.ts';
import { arpRequest, neighbourSolicitation } from './neighbour-packets.ts';
import type { XPort } from './types.ts';

/**
 * Tunnels in translation. Sending: the port's configuration becomes the flow's tunnel metadata, then a header in front of the packet
 * (native: the datapath is told the bytes, and translation goes on in the bridge of the underlay), or a `set(tunnel)` for a datapath that
 * encapsulates by itself. Receiving: a packet of the underlay that is for this host leaves its tunnel where it would have left the bridge.
 */

const ECN = 3;
const ECN_CE = 3;
const ECN_ECT_0 = 2;
const DSCP = 0xfc;
/** FLOW_TNL_F_*. Only OAM is the controller's. */
const [F_OAM, F_DONT_FRAGMENT, F_CSUM, F_KEY] = [1, 2, 4, 8];
const ALL = 0xffffffff;
const ONES = new Uint8Array(16).fill(0xff);
const isZero = (a: Uint8Array): boolean => a.every((b) => b === 0);

/** What every packet from a tunnel is told apart by. */
export function maskTunnel({ flow, wc }: XlateCtx): void {
  if (!cameByTunnel(flow)) return;
  wc.tunId = 0xffff_ffff_ffff_ffffn;
  if (flow.tunDst) [wc.tunSrc, wc.tunDst] = [ALL, ALL];
  else [wc.tunIpv6Src, wc.tunIpv6Dst] = [ONES, ONES];
  wc.tunFlags = F_DONT_FRAGMENT | F_CSUM | F_KEY;
  wc.tunTos = 0xff;
  if (isIpAny(flow) && (flow.tunTos & ECN) === ECN_CE) wc.nwTos |= ECN;
}

/** Congestion that the underlay met is the packet's own (RFC 6040). False: the packet knows no such thing, and is dropped. */
export function inheritCongestion(ctx: XlateCtx): boolean {
  const { flow } = ctx;
  if (!cameByTunnel(flow) || !isIpAny(flow) || (flow.tunTos & ECN) !== ECN_CE) return true;
  if ((flow.nwTos & ECN) === 0) {
    ctx.xin.warnTunnel?.('dropping tunnel packet marked ECN CE but is not ECN capable');
    return false;
  }
  flow.nwTos |= ECN_CE;
  return true;
}

function setAddress(flow: Flow, which: 'Src' | 'Dst', address: Uint8Array | undefined): void {
  const v4 = address ? unmapIpv4(address) : 0;
  flow[`tun${which}`] = v4;
  flow[`tunIpv6${which}`] = address && !v4 ? address : new Uint8Array(16);
}

/** Makes the flow's tunnel metadata what the port sends. */
function applyConfig({ flow, wc }: XlateCtx, c: TunnelConfig): void {
  if (!c.localFlow) setAddress(flow, 'Src', c.local);
  if (!c.remoteFlow) setAddress(flow, 'Dst', c.remote);
  flow.tunTpDst = c.dstPort;
  if (c.outKey.kind !== 'flow') flow.tunId = keyValue(c.outKey);
  const ip = isIpAny(flow);
  if (c.ttl === undefined && ip) {
    wc.nwTtl = 0xff;
    flow.tunTtl = flow.nwTtl;
  } else flow.tunTtl = c.ttl ?? 64;
  if (c.tos === undefined && ip) {
    wc.nwTos |= DSCP;
    flow.tunTos = flow.nwTos & DSCP;
  } else flow.tunTos = c.tos ?? 0;
  if (ip) {
    wc.nwTos |= ECN;
    flow.tunTos |= (flow.nwTos & ECN) === ECN_CE ? ECN_ECT_0 : flow.nwTos & ECN;
  }
  flow.tunFlags =
    (flow.tunFlags & F_OAM) |
    (c.dontFragment ? F_DONT_FRAGMENT : 0) |
    (c.csum ? F_CSUM : 0) |
    (c.outKey.kind === 'none' ? 0 : F_KEY);
  if (c.egressPktMark !== undefined) {
    flow.pktMark = c.egressPktMark;
    wc.pktMark = ALL;
  }
  const { ver, idx, dir, hwid } = c.erspan;
  if (ver !== undefined) flow.tunErspanVer = ver;
  if (idx !== undefined) flow.tunErspanIdx = idx;
  if (dir !== undefined) flow.tunErspanDir = dir;
  if (hwid !== undefined) flow.tunErspanHwid = hwid;
}

const addressBytes = (v4: number, six: Uint8Array): Uint8Array =>
  isZero(six) ? Uint8Array.of(v4 >>> 24, v4 >>> 16, v4 >>> 8, v4) : six.slice();

/** The flow's metadata as a `set(tunnel)`; only what the tunnel's protocol has. */
function dpTunnel(flow: Flow, { type, gbp }: TunnelConfig): DpTunnel {
  const { options } = geneveOptions(flow);
  const { tunErspanVer: ver } = flow;
  const six = flow.tunDst === 0;
  return {
    tunId: flow.tunId,
    src: six ? flow.tunIpv6Src.slice() : addressBytes(flow.tunSrc, new Uint8Array(16)),
    dst: six ? flow.tunIpv6Dst.slice() : addressBytes(flow.tunDst, new Uint8Array(16)),
    tos: flow.tunTos,
    ttl: flow.tunTtl,
    tpSrc: flow.tunTpSrc,
    tpDst: flow.tunTpDst,
    flags: flow.tunFlags,
    ...(type === 'vxlan' && gbp && { gbp: { id: flow.tunGbpId, flags: flow.tunGbpFlags } }),
    ...(type === 'geneve' && options.length > 0 && { geneve: splitGeneve(options) }),
    ...(type.endsWith('erspan') && ver === 1 && { erspan: { ver, idx: flow.tunErspanIdx } }),
    ...(type.endsWith('erspan') && ver === 2 && { erspan: { ver, dir: flow.tunErspanDir, hwid: flow.tunErspanHwid } }),
    ...(type === 'gtpu' && flow.tunGtpuFlags && { gtpu: { flags: flow.tunGtpuFlags, msgType: flow.tunGtpuMsgtype } }),
  };
}

const TUNNEL_END = FLOW_MEMBERS.tun_metadata.offset + FLOW_MEMBERS.tun_metadata.size;

/** For a datapath that puts headers on by itself. */
function commitTunnel(ctx: XlateCtx, config: TunnelConfig): void {
  const { flow, base } = ctx;
  if (!cameByTunnel(flow)) return;
  const now = tunnelBytes(flow);
  if (Buffer.compare(now, base.u8.subarray(0, TUNNEL_END)) === 0) return;
  base.u8.set(now);
  ctx.actions.push({ type: 'set_tunnel', tunnel: dpTunnel(flow, config) });
}

/** How the packet goes on in the bridge of the underlay, which it enters by `device`. */
export type EnterUnderlay = (ctx: XlateCtx, device: XPort, last: boolean) => void;

export interface TunnelOutput {
  last: boolean;
  /** A `trunc` precedes: the datapath has to look at the packet anew. */
  truncate: boolean;
  enter: EnterUnderlay;
  /** Outputs to the datapath's port, when headers are its own affair. */
  output(ctx: XlateCtx): void;
}

/** Sends the packet by a tunnel. Headers and metadata of the flow are as before afterwards. */
export function tunnelOutput(ctx: XlateCtx, port: XPort, options: TunnelOutput): void {
  const { flow } = ctx;
  const config = port.tunnel!;
  const saved = tunnelBytes(flow);
  const restore = () => flow.u8.set(saved);
  if (!ctx.bridge.tunnels.has(port)) {
    ctx.report('warn', 'Tunneling decided against output');
    return;
  }
  applyConfig(ctx, config);
  if (Buffer.compare(tunnelDst(flow), tunnelDst(ctx.xin.flow)) === 0) {
    ctx.report('warn', 'Not tunneling to our own address');
    restore();
    return;
  }
  ctx.effects.push({ type: 'vport', tx: port });
  if (ctx.support.tnlPushPop) {
    ctx.report('detail', 'output to native tunnel');
    ctx.commit();
    nativeOutput(ctx, port, options);
    restore();
    return;
  }
  ctx.report('detail', 'output to kernel tunnel');
  commitTunnel(ctx, config);
  restore();
  ctx.commit();
  options.output(ctx);
}

interface Way {
  device: XPort;
  /** Who the frame goes to: the tunnel's other end, or a gateway. */
  next: Uint8Array;
  source: Uint8Array;
}

function findWay(ctx: XlateCtx): Way | undefined {
  const { flow } = ctx;
  const { tunnels } = ctx.bridge;
  const to = tunnelDst(flow);
  const wanted = flow.tunSrc ? mappedIpv4(flow.tunSrc) : isZero(flow.tunIpv6Src) ? undefined : flow.tunIpv6Src;
  const route = tunnels.route(to, wanted, flow.pktMark);
  const device = route && tunnels.portNamed(route.bridge);
  if (!device) {
    ctx.report('warn', 'native tunnel routing failed');
    return undefined;
  }
  const next = route.gateway && !isZero(route.gateway) ? route.gateway : to;
  ctx.report('detail', `tunneling to ${formatMapped(next)} via ${device.name}`);
  return { device, next, source: wanted ?? route.source };
}

/** Asks who has the address; the packet that asked is lost. */
function askNeighbour(ctx: XlateCtx, { device, next, source }: Way): void {
  const bridge = device.bridge.name;
  const v4 = isMapped(next);
  const kind = v4 ? 'ARP' : 'ND';
  ctx.report('detail', `neighbor cache miss for ${formatMapped(next)} on bridge ${bridge}, sending ${kind} request`);
  const from = ctx.bridge.tunnels.sourceFor(next, bridge) ?? source;
  const packet = v4
    ? arpRequest(device.mac(), unmapIpv4(from), unmapIpv4(next))
    : neighbourSolicitation(device.mac(), from, next);
  ctx.effects.push({ type: 'send', port: device, packet });
}

function nativeOutput(ctx: XlateCtx, port: XPort, { last, truncate, enter }: TunnelOutput): void {
  const way = findWay(ctx);
  if (!way) return;
  const { device, next, source } = way;
  const bridge = device.bridge.name;
  const [smac, dmac] = [device.mac(), ctx.bridge.tunnels.neighbour(bridge, next)];
  if (!dmac) {
    askNeighbour(ctx, way);
    return;
  }
  ctx.effects.push({ type: 'neighbour_used', tunnels: ctx.bridge.tunnels, bridge, ip: next });
  ctx.report(
    'detail',
    `tunneling from ${formatMac(smac)} ${formatMapped(source)} to ${formatMac(dmac)} ${formatMapped(next)}`,
  );
  const header = buildTunnelHeader(port.tunnel!, ctx.flow, { smac, dmac, source });
  if (!header || device.odpPort === undefined) {
    ctx.report('warn', 'native tunnel header build failed');
    return;
  }
  const { type: tunnelType, bytes } = header;
  const push = { type: 'tunnel_push', tunnelPort: port.odpPort!, outPort: device.odpPort, tunnelType } as const;
  const inner = ctx.nestedActions(() => {
    ctx.actions.push({ ...push, header: bytes });
    if (truncate) ctx.actions.push({ type: 'recirc', recircId: 0 });
    else underlay(ctx, port, { dmac, smac, source }, bytes.length, () => enter(ctx, device, last));
  });
  // What the underlay drops need not be encapsulated.
  if (inner.length === 1) return;
  if (last) ctx.actions.push(...inner);
  else ctx.actions.push({ type: 'clone', actions: inner });
}

/** Runs `f` with the headers that the packet has in the underlay; what it looks at is decided by the tunnel, and no matter to the megaflow. */
function underlay(
  ctx: XlateCtx,
  port: XPort,
  ends: { dmac: Uint8Array; smac: Uint8Array; source: Uint8Array },
  headerSize: number,
  f: () => void,
): void {
  const { flow, base, wc, effects } = ctx;
  ctx.flow = flow.clone();
  ctx.base = base.clone();
  for (const one of [ctx.base, ctx.flow]) setOuter(one, flow, tunnelProtocol(port.tunnel!.type), ends);
  ctx.wc = new FlowWildcards();
  ctx.effects = [];
  f();
  effects.push({ type: 'encapsulated', headerSize, effects: ctx.effects });
  [ctx.flow, ctx.base, ctx.wc, ctx.effects] = [flow, base, wc, effects];
}

const VLANS_AT = FLOW_MEMBERS.vlan_tpid0.offset;
const VLANS_END = FLOW_MEMBERS.vlan_tci1.offset + 2;

function setOuter(
  to: Flow,
  tunnel: Flow,
  proto: number,
  { dmac, smac, source }: { dmac: Uint8Array; smac: Uint8Array; source: Uint8Array },
): void {
  to.u8.fill(0, VLANS_AT, VLANS_END);
  to.dlDst = dmac;
  to.dlSrc = smac;
  to.packetType = 0;
  [to.nwSrc, to.nwDst] = [tunnel.tunSrc || unmapIpv4(source), tunnel.tunDst];
  to.ipv6Src = isZero(tunnel.tunIpv6Src) && !isMapped(source) ? source : tunnel.tunIpv6Src.slice();
  to.ipv6Dst = tunnel.tunIpv6Dst.slice();
  to.nwFrag = 0;
  [to.nwTos, to.nwTtl, to.nwProto] = [tunnel.tunTos, tunnel.tunTtl, proto];
  [to.tpSrc, to.tpDst] = [tunnel.tunTpSrc, tunnel.tunTpDst];
  to.dlType = tunnel.tunDst ? 0x0800 : 0x86dd;
}
