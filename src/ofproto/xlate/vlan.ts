import type { OfpPort } from '../../base/types.ts';
import type { Flow } from '../../flow/flow.ts';
import { OFPP_CONTROLLER, OFPP_NONE } from '../ports.ts';
import type { XlateCtx } from './context.ts';
import type { XBundle } from './types.ts';

/** VLANs of NORMAL and of mirrors: a packet's tags as they came, inside the switch, and as they leave by a Port. */

export const VLAN_CFI = 0x1000;
export const VLAN_VID = 0x0fff;
export const VLAN_PCP = 0xe000;
const ETH_8021Q = 0x8100;

/** One tag: TPID 0 when there is none; `pcp` in its place in the TCI. */
export interface Tag {
  tpid: number;
  vid: number;
  pcp: number;
}
/** Outer and inner tag. */
export type Tags = [Tag, Tag];

const noTag = (): Tag => ({ tpid: 0, vid: 0, pcp: 0 });
export const isVlanTpid = (tpid: number): boolean => tpid === 0x8100 || tpid === 0x88a8;

/** Where packets of a controller come from: no VLAN rules apply. */
export const OFPP_NONE_BUNDLE: XBundle = {
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

/** The Port that packets from an OpenFlow port belong to. */
export function inputBundle(ctx: XlateCtx, inPort: number): XBundle | undefined {
  const bundle = ctx.bridge.xport(inPort as OfpPort)?.bundle;
  if (bundle) return bundle;
  if (inPort === OFPP_CONTROLLER || inPort === OFPP_NONE) return OFPP_NONE_BUNDLE;
  ctx.reportError(`received packet on unknown port ${inPort}`);
  return undefined;
}

export function extractTags(flow: Flow): Tags {
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

/** `always`: a tag with VLAN 0 and priority 0 is written too. */
export function putTags(flow: Flow, tags: Tags, always: boolean): void {
  const tcis = tags.map((tag) => {
    const tci = tag.vid | tag.pcp;
    return tci || (always && tag.tpid) ? tci | VLAN_CFI : 0;
  });
  if (tcis[0]) flow.vlanTpid0 = tags[0].tpid || ETH_8021Q;
  if (tcis[1]) flow.vlanTpid1 = tags[1].tpid || ETH_8021Q;
  [flow.vlanTci0, flow.vlanTci1] = tcis;
}

const trunksVlan = (b: XBundle, vid: number): boolean => b.vlanMode !== 'access' && (!b.trunks || b.trunks.has(vid));
const allowsCvlan = (b: XBundle, vid: number): boolean => !b.cvlans || b.cvlans.has(vid);

/** Why a packet with this VID may not come in, or undefined. */
function inputVidError(b: XBundle, vid: number): string | undefined {
  if (b === OFPP_NONE_BUNDLE) return undefined;
  switch (b.vlanMode) {
    case 'access':
      if (!vid) return undefined;
      return `dropping VLAN ${vid} tagged packet received on port ${b.name} configured as VLAN ${b.vlan} access port`;
    case 'dot1q-tunnel':
      if (allowsCvlan(b, vid)) return undefined;
      return `dropping VLAN ${vid} packet received on dot1q-tunnel port ${b.name} that excludes this VLAN`;
    case 'native-tagged':
    case 'native-untagged':
    case 'trunk':
      // A native VLAN is carried in any case.
      if ((b.vlanMode !== 'trunk' && !vid) || trunksVlan(b, vid)) return undefined;
      return `dropping VLAN ${vid} packet received on port ${b.name} not configured for trunking VLAN ${vid}`;
  }
}

/** Whether a packet with this VID may come in by `b`; says so when it may not. */
export function inputVidIsValid(ctx: XlateCtx, b: XBundle, vid: number): boolean {
  const problem = inputVidError(b, vid);
  if (problem) ctx.reportError(problem);
  return problem === undefined;
}

/** The tags inside the switch. */
export function translateInput(b: XBundle, tags: Tags): Tags {
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
      return [{ tpid: b.qinqEthertype, vid: b.vlan, pcp: 0 }, outer];
  }
}

/** The tags that leave by `b`. */
export function translateOutput(b: XBundle, [outer, inner]: Tags): Tags {
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

export function includesVlan(b: XBundle, [outer, inner]: Tags): boolean {
  if (b.vlanMode === 'access') return outer.vid === b.vlan && inner.vid === 0;
  if (b.vlanMode === 'dot1q-tunnel') return outer.vid === b.vlan && allowsCvlan(b, inner.vid);
  return trunksVlan(b, outer.vid);
}
