import { OFP10_VERSION, OFP11_VERSION, OFP13_VERSION, OFP14_VERSION } from '../../protocols/openflow.ts';
import { OFPAT10, OFPAT11 } from '../../protocols/openflow-actions.ts';
import type { OfpactType } from './actions.ts';

/** Sets of actions and instructions as the bitmaps that versions write them in: bit n stands for type n. */

export type ActionNumber = readonly [number: number, type: OfpactType];

const ACTIONS10: readonly ActionNumber[] = [
  [OFPAT10.OUTPUT, 'output'],
  [OFPAT10.SET_VLAN_VID, 'set_vlan_vid'],
  [OFPAT10.SET_VLAN_PCP, 'set_vlan_pcp'],
  [OFPAT10.STRIP_VLAN, 'strip_vlan'],
  [OFPAT10.SET_DL_SRC, 'set_eth_src'],
  [OFPAT10.SET_DL_DST, 'set_eth_dst'],
  [OFPAT10.SET_NW_SRC, 'set_ipv4_src'],
  [OFPAT10.SET_NW_DST, 'set_ipv4_dst'],
  [OFPAT10.SET_NW_TOS, 'set_ip_dscp'],
  [OFPAT10.SET_TP_SRC, 'set_l4_src_port'],
  [OFPAT10.SET_TP_DST, 'set_l4_dst_port'],
  [OFPAT10.ENQUEUE, 'enqueue'],
];

const common11: readonly ActionNumber[] = [
  [OFPAT11.OUTPUT, 'output'],
  [OFPAT11.SET_MPLS_TTL, 'set_mpls_ttl'],
  [OFPAT11.DEC_MPLS_TTL, 'dec_mpls_ttl'],
  [OFPAT11.PUSH_VLAN, 'push_vlan'],
  [OFPAT11.POP_VLAN, 'strip_vlan'],
  [OFPAT11.PUSH_MPLS, 'push_mpls'],
  [OFPAT11.POP_MPLS, 'pop_mpls'],
  [OFPAT11.SET_QUEUE, 'set_queue'],
  [OFPAT11.GROUP, 'group'],
  [OFPAT11.SET_NW_TTL, 'set_ip_ttl'],
  [OFPAT11.DEC_NW_TTL, 'dec_ttl'],
];

const ACTIONS11: readonly ActionNumber[] = [
  ...common11,
  [OFPAT11.SET_VLAN_VID, 'set_vlan_vid'],
  [OFPAT11.SET_VLAN_PCP, 'set_vlan_pcp'],
  [OFPAT11.SET_DL_SRC, 'set_eth_src'],
  [OFPAT11.SET_DL_DST, 'set_eth_dst'],
  [OFPAT11.SET_NW_SRC, 'set_ipv4_src'],
  [OFPAT11.SET_NW_DST, 'set_ipv4_dst'],
  [OFPAT11.SET_NW_TOS, 'set_ip_dscp'],
  [OFPAT11.SET_NW_ECN, 'set_ip_ecn'],
  [OFPAT11.SET_TP_SRC, 'set_l4_src_port'],
  [OFPAT11.SET_TP_DST, 'set_l4_dst_port'],
  [OFPAT11.SET_MPLS_LABEL, 'set_mpls_label'],
  [OFPAT11.SET_MPLS_TC, 'set_mpls_tc'],
];

const ACTIONS12: readonly ActionNumber[] = [...common11, [OFPAT11.SET_FIELD, 'set_field']];

/** The actions that have a number in the version. */
export function actionNumbers(version: number): readonly ActionNumber[] {
  if (version === OFP10_VERSION) return ACTIONS10;
  return version === OFP11_VERSION ? ACTIONS11 : ACTIONS12;
}

export function ofpactsToBitmap(ofpacts: ReadonlySet<OfpactType>, version: number): number {
  let bits = 0;
  for (const [n, type] of actionNumbers(version)) if (ofpacts.has(type)) bits |= 1 << n;
  return bits >>> 0;
}

/** Bits that stand for nothing that is known are left out. */
export function ofpactsFromBitmap(bits: number, version: number): Set<OfpactType> {
  return new Set(
    actionNumbers(version)
      .filter(([n]) => bits & (1 << n))
      .map(([, type]) => type),
  );
}

const OFPIT_METER = 6;

/** The instructions that the version has, of a set of their numbers; OpenFlow 1.3 and 1.4 have the meter among them. */
export function instructionNumbers(instructions: Iterable<number>, version: number): number[] {
  const meter = version === OFP13_VERSION || version === OFP14_VERSION;
  return [...instructions].filter((n) => n !== OFPIT_METER || meter).sort((a, b) => a - b);
}
