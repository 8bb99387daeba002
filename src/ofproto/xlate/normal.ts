import type { OfpPort } from '../../base/types.ts';
import type { Flow } from '../../flow/flow.ts';
import { FLOW_MEMBERS } from '../../gen/flow.ts';
import { macNumber } from '../mac-learning.ts';
import { OFPP_CONTROLLER, OFPP_NONE } from '../ports.ts';
import type { XlateCtx } from './context.ts';
import { outputToPort } from './port-output.ts';
import type { XBundle } from './types.ts';

/** NORMAL: a learning switch with VLANs. */

const VLAN_CFI = 0x1000;
const VLAN_VID = 0x0fff;
const VLAN_PCP = 0xe000;
const ETH_8021Q = 0x8100;

/** One tag: TPID 0 when there is none; `pcp` in its place in the TCI. */
interface Tag {
  tpid: number;
  vid: number;
  pcp: number;
}
/** Outer and inner tag. */
type Tags = [Tag, Tag];

const noTag = (): Tag => ({ tpid: 0, vid: 0, pcp: 0 });
const isVlanTpid = (tpid: number): boolean => tpid === 0x8100 || tpid === 0x88a8;

/** Where packets of a controller come from: no VLAN rules apply. */
const OFPP_NONE_BUNDLE: XBundle = {
  name: 'OFPP_NONE',
  ports: [],
  vlanMode: 'trunk',
  vlan: 0,
  trunks: undefined,
  cvlans: undefined,
  qinqEthertype: 0x88a8,
  priorityTags: 'no',
  protected: false,
  floodable: true,
  bond: undefined,
  lacp: false,
  mirrorSrc: 0,
  mirrorDst: 0,
  mirrorOut: 0,
};

function extractTags(flow: Flow): Tags {
  const tags: Tags = [noTag(), noTag()];
  const raw = [
    [flow.vlanTpid0, flow.vlanTci0],
    [flow.vlanTpid1, flow.vlanTci1],
  ];
  for (let i = 0; i < 2; i++) {
    const [tpid, tci] = raw[i];
    if (!isVlanTpid(tpid) || !(tci & VLAN_CFI)) break;
    tags[i] = { tpid, vid: tci & VLAN_VID, pcp: tci & VLAN_PCP };
  }
  return tags;
}

function putTags(flow: Flow, tags: Tags, always: boolean): void {
  const tcis = tags.map((tag) => {
    const tci = tag.vid | tag.pcp;
    return tci || (always && tag.tpid) ? tci | VLAN_CFI : 0;
  });
  if (tcis[0]) flow.vlanTpid0 = tags[0].tpid || ETH_8021Q;
  if (tcis[1]) flow.vlanTpid1 = tags[1].tpid || ETH_8021Q;
  [flow.vlanTci0, flow.vlanTci1] = tcis;
}

const trunksVlan = (b: XBundle, vid: number): boolean =>
  (b.vlanMode !== 'trunk' && b.vlan === vid) || !b.trunks || b.trunks.has(vid);

/** Why a packet with this VID may not come in, or undefined. */
function inputVidError(b: XBundle, vid: number): string | undefined {
  if (b === OFPP_NONE_BUNDLE) return undefined;
  if (b.vlanMode === 'access' && vid)
    return `dropping VLAN ${vid} tagged packet received on port ${b.name} configured as VLAN ${b.vlan} access port`;
  if (b.vlanMode === 'access' || (b.vlanMode.startsWith('native') && !vid)) return undefined;
  if (b.vlanMode !== 'dot1q-tunnel' && !trunksVlan(b, vid))
    return `dropping VLAN ${vid} packet received on port ${b.name} not configured for trunking VLAN ${vid}`;
  return undefined;
}

/** The tags inside the switch. */
function translateInput(b: XBundle, tags: Tags): Tags {
  const [outer, inner] = tags;
  const own: Tag = { tpid: outer.tpid || ETH_8021Q, vid: b.vlan, pcp: outer.pcp };
  switch (b.vlanMode) {
    case 'access':
      return [own, noTag()];
    case 'trunk':
      return tags;
    case 'native-tagged':
    case 'native-untagged':
      return outer.vid ? tags : [own, inner];
    case 'dot1q-tunnel':
      return [{ tpid: 0x88a8, vid: b.vlan, pcp: 0 }, outer];
  }
}

/** The tags that leave by `b`. */
function translateOutput(b: XBundle, [outer, inner]: Tags): Tags {
  switch (b.vlanMode) {
    case 'access':
      return [noTag(), noTag()];
    case 'trunk':
    case 'native-tagged':
      return [{ ...outer }, inner];
    case 'native-untagged':
      return outer.vid === b.vlan ? [{ ...inner }, noTag()] : [{ ...outer }, inner];
    case 'dot1q-tunnel':
      return [{ ...inner }, noTag()];
  }
}

function includesVlan(b: XBundle, [outer, inner]: Tags): boolean {
  if (b.vlanMode === 'access') return outer.vid === b.vlan && inner.vid === 0;
  if (b.vlanMode === 'dot1q-tunnel') return outer.vid === b.vlan;
  return trunksVlan(b, outer.vid);
}

function inputBundle(ctx: XlateCtx): XBundle | undefined {
  const { inPort } = ctx.flow;
  const bundle = ctx.bridge.xport(inPort as OfpPort)?.bundle;
  if (bundle) return bundle;
  return inPort === OFPP_CONTROLLER || inPort === OFPP_NONE ? OFPP_NONE_BUNDLE : undefined;
}

/** Addresses that a bridge never forwards (IEEE 802.1D and vendors' protocols). */
const RESERVED: ReadonlySet<number> = new Set([
  ...Array.from({ length: 16 }, (_, i) => 0x0180c2000000 + i),
  ...[0x00e02b000000, 0x00e02b000004, 0x00e02b000006],
  ...[0x01000c000000, 0x01000ccccccc, 0x01000ccccccd, 0x01000ccdcdcd],
  ...Array.from({ length: 8 }, (_, i) => 0x01000cccccc0 + i),
]);

const BROADCAST = 0xffffffffffff;

/** An ARP request or reply that announces its own address; unwildcards what it looks at. */
function isGratuitousArp(ctx: XlateCtx, dlDst: number): boolean {
  const { flow, wc } = ctx;
  if (flow.dlType !== 0x0806) return false;
  if (dlDst !== BROADCAST) return false;
  wc.nwProto = 0xff;
  if (flow.nwProto === 2) return true;
  if (flow.nwProto !== 1) return false;
  wc.nwSrc = 0xffffffff;
  wc.nwDst = 0xffffffff;
  return flow.nwSrc === flow.nwDst;
}

/** The bundle that a packet is admitted from, with its tags inside the switch; undefined: dropped, and reported. */
function admit(ctx: XlateCtx): { bundle: XBundle; tags: Tags } | undefined {
  const { flow } = ctx;
  const bundle = inputBundle(ctx);
  if (!bundle) {
    ctx.report('warn', 'no input bundle, dropping');
    return undefined;
  }
  if (isVlanTpid(flow.dlType) && !(flow.vlanTci0 & VLAN_CFI)) {
    if (ctx.xin.packet) ctx.reportError(`dropping packet with partial VLAN tag received on port ${bundle.name}`);
    ctx.report('warn', 'partial VLAN tag, dropping');
    return undefined;
  }
  const raw = extractTags(flow);
  const problem = inputVidError(bundle, raw[0].vid);
  if (problem) {
    ctx.reportError(problem);
    ctx.report('warn', 'disallowed VLAN VID for this input port, dropping');
    return undefined;
  }
  if (bundle !== OFPP_NONE_BUNDLE && !ctx.bridge.forwardBpdu && RESERVED.has(macNumber(flow.dlDst))) {
    ctx.report('detail', 'packet has reserved destination MAC, dropping');
    return undefined;
  }
  return { bundle, tags: translateInput(bundle, raw) };
}

const SRC_AT = FLOW_MEMBERS.dl_src.offset;
const DST_AT = FLOW_MEMBERS.dl_dst.offset;

export function normal(ctx: XlateCtx): void {
  const { flow, wc, bridge } = ctx;
  wc.u8.fill(0xff, DST_AT, DST_AT + 12);
  wc.vlanTci0 |= VLAN_VID | VLAN_CFI;
  const admitted = admit(ctx);
  if (!admitted) return;
  const { bundle, tags } = admitted;
  const dst = macNumber(flow.u8, DST_AT);
  const vlan = tags[0].vid;
  learn(ctx, bundle, vlan, isGratuitousArp(ctx, dst));
  const mac = bridge.macs.lookup(dst, vlan);
  if (!mac) {
    ctx.report('detail', 'no learned MAC for destination, flooding');
    for (const out of [...bridge.xbundles()])
      if (out !== bundle && out.floodable && includesVlan(out, tags)) outputNormal(ctx, out, tags);
  } else if (mac.bundle !== bundle) {
    ctx.report('detail', 'forwarding to learned port');
    outputNormal(ctx, mac.bundle, tags);
  } else ctx.report('detail', 'learned port is input port, dropping');
}

function learn(ctx: XlateCtx, bundle: XBundle, vlan: number, gratuitousArp: boolean): void {
  if (bundle === OFPP_NONE_BUNDLE) return;
  const mac = macNumber(ctx.flow.u8, SRC_AT);
  ctx.effects.push({ type: 'learn', bridge: ctx.bridge, bundle, mac, vlan, gratuitousArp });
}

function outputNormal(ctx: XlateCtx, out: XBundle, tags: Tags): void {
  const { flow } = ctx;
  const port = out.ports[0];
  if (!port) return;
  const outTags = translateOutput(out, tags);
  if (out.priorityTags !== 'no') outTags[0] = { ...outTags[0], pcp: flow.vlanTci0 & VLAN_PCP };
  const saved = [flow.vlanTpid0, flow.vlanTci0, flow.vlanTpid1, flow.vlanTci1];
  putTags(flow, outTags, out.priorityTags === 'always');
  outputToPort(ctx, port.ofpPort);
  [flow.vlanTpid0, flow.vlanTci0, flow.vlanTpid1, flow.vlanTci1] = saved;
}
