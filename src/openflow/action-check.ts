import { PT_ETH, PT_NSH, PT_UNKNOWN } from '../../protocols/openflow-actions.ts';
import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import { checkCt, checkNat } from './action-ct.ts';
import { checkBundle } from './action-hash.ts';
import { checkLearn } from './action-learn.ts';
import { checkOutputPort } from './action-port.ts';
import type { Ofpact, OfpactOf } from './actions.ts';
import { mf, VLAN_CFI } from './field.ts';
import {
  ETH_TYPE_IP,
  ETH_TYPE_NSH,
  FLOW_NW_FRAG_LATER,
  getDlType,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  isFieldPrereqOk,
  isIpAny,
  isMatchCtValid,
  isMplsType,
} from './field-prereq.ts';
import type { Match } from './match.ts';
import { P_ANY, P_OF10_ANY, type Protocols } from './protocol.ts';
import { checkDst, checkSrc } from './subfield.ts';
import { isTunMetadata } from './tun-metadata.ts';

/** Checks that actions make sense for the packets of a match, and notes in the actions what the match guarantees. */

export interface CheckContext {
  /** Table of the flow; 255: not known. */
  tableId: number;
  /** Tables of the switch; 255: not known. */
  nTables: number;
  /** OpenFlow 1.0 takes what later versions call inconsistent with the match. */
  allowInconsistent: boolean;
  /** Ports are below this; absent: any. */
  maxPorts?: number;
}

type Bounds = Omit<CheckContext, 'allowInconsistent'>;

const VLAN_VID = mf('vlan_vid');
const VLAN_TCI = mf('vlan_tci');

/** What an action says: nothing wrong, wrong, or wrong unless OpenFlow 1.0. */
type Verdict = OfErrorName | 'inconsistent' | undefined;

function checkVlan(a: OfpactOf<'set_vlan_vid'> | OfpactOf<'set_vlan_pcp'>, m: Match): Verdict {
  a.flowHasVlan = (m.flow.vlanTci0 & VLAN_CFI) !== 0;
  m.flow.vlanTci0 |= VLAN_CFI;
  return a.flowHasVlan || a.pushIfNeeded ? undefined : 'inconsistent';
}

function pushVlan(m: Match): Verdict {
  if (m.flow.vlanTci1 & VLAN_CFI) return 'OFPBAC_BAD_TAG';
  m.flow.vlanTci1 = m.flow.vlanTci0;
  m.flow.vlanTci0 = VLAN_CFI;
  return undefined;
}

function stripVlan(m: Match): Verdict {
  const had = m.flow.vlanTci0 & VLAN_CFI;
  m.flow.vlanTci0 = m.flow.vlanTci1;
  m.flow.vlanTci1 = 0;
  return had ? undefined : 'inconsistent';
}

function checkL4(a: OfpactOf<'set_l4_src_port'> | OfpactOf<'set_l4_dst_port'>, m: Match): Verdict {
  const { flow } = m;
  a.flowIpProto = flow.nwProto;
  const known = flow.nwProto === IPPROTO_TCP || flow.nwProto === IPPROTO_UDP || flow.nwProto === IPPROTO_SCTP;
  return isIpAny(flow) && known && !(flow.nwFrag & FLOW_NW_FRAG_LATER) ? undefined : 'inconsistent';
}

const log = vlogModule('ofp_actions');
const limit = new VlogRateLimit(1, 5);

function checkSetField(a: OfpactOf<'set_field'>, m: Match): Verdict {
  const { flow } = m;
  const tagged = (flow.vlanTci0 & VLAN_CFI) !== 0;
  if (!isFieldPrereqOk(flow, a.field) || (a.field === VLAN_VID && !tagged)) {
    log.warnRl(limit, `set_field ${a.field.name} lacks correct prerequisites`);
    return 'OFPBAC_MATCH_INCONSISTENT';
  }
  if (a.field === VLAN_TCI) {
    a.flowHasVlan = tagged;
    flow.vlanTci0 = (a.value[0] << 8) | a.value[1];
  }
  return undefined;
}

function pushMpls(a: OfpactOf<'push_mpls'>, { flow }: Match): Verdict {
  const ok = flow.packetType === PT_ETH;
  flow.dlType = a.ethertype;
  flow.nwProto = 0;
  return ok ? undefined : 'inconsistent';
}

function popMpls(a: OfpactOf<'pop_mpls'>, { flow }: Match): Verdict {
  const ok = flow.packetType === PT_ETH && isMplsType(getDlType(flow));
  flow.dlType = a.ethertype;
  return ok ? undefined : 'inconsistent';
}

function encap(a: OfpactOf<'encap'>, { flow }: Match): Verdict {
  flow.packetType = a.packetType;
  if (a.packetType >>> 16 === 1) flow.dlType = a.packetType & 0xffff;
  if (!isIpAny(flow)) flow.nwProto = 0;
  return undefined;
}

function decap({ flow }: Match): Verdict {
  if (flow.packetType === PT_ETH) flow.packetType = 0x1_0000 + flow.dlType;
  else {
    flow.packetType = PT_UNKNOWN;
    flow.dlType = 0xffff;
  }
  return undefined;
}

const OFPM_MAX = 0xffff0000;
const consistent = (ok: boolean): Verdict => (ok ? undefined : 'inconsistent');

type Check<A> = (a: A, m: Match, bounds: Bounds) => Verdict;
const ip: Check<Ofpact> = (_, m) => consistent(isIpAny(m.flow));
const ipv4: Check<Ofpact> = (_, m) => consistent(getDlType(m.flow) === ETH_TYPE_IP);
const mpls: Check<Ofpact> = (_, m) => consistent(isMplsType(getDlType(m.flow)));

/** Types without a row are right wherever they are; those with a list of actions are `NESTED`. */
const CHECKS: { readonly [T in Ofpact['type']]?: Check<OfpactOf<T>> } = {
  output: (a, _, b) => checkOutputPort(a.port, b.maxPorts),
  output_trunc: (a, _, b) => checkOutputPort(a.port, b.maxPorts),
  enqueue: (a, _, b) =>
    a.port < (b.maxPorts ?? 0xff00) || a.port === 0xfffffff8 || a.port === 0xfffffffe
      ? undefined
      : 'OFPBAC_BAD_OUT_PORT',
  output_reg: (a, m) => checkSrc(a.src, m),
  bundle: (a, m, b) => checkBundle(a, m, b.maxPorts),
  set_vlan_vid: checkVlan,
  set_vlan_pcp: checkVlan,
  strip_vlan: (_, m) => stripVlan(m),
  push_vlan: (_, m) => pushVlan(m),
  set_ipv4_src: ipv4,
  set_ipv4_dst: ipv4,
  set_ip_dscp: ip,
  set_ip_ecn: ip,
  set_ip_ttl: ip,
  dec_ttl: ip,
  set_l4_src_port: checkL4,
  set_l4_dst_port: checkL4,
  set_mpls_label: mpls,
  set_mpls_tc: mpls,
  set_mpls_ttl: mpls,
  dec_mpls_ttl: mpls,
  push_mpls: pushMpls,
  pop_mpls: popMpls,
  encap,
  decap: (_, m) => decap(m),
  dec_nsh_ttl: (_, { flow }) => consistent(flow.packetType === PT_NSH || flow.dlType === ETH_TYPE_NSH),
  delete_field: (a) => (isTunMetadata(a.field) ? undefined : 'OFPBAC_BAD_ARGUMENT'),
  set_field: checkSetField,
  reg_move: (a, m) => checkSrc(a.src, m) ?? checkDst(a.dst, m),
  stack_push: (a, m) => checkSrc(a.subfield, m),
  stack_pop: (a, m) => checkDst(a.subfield, m),
  fin_timeout: (_, m) => consistent(m.flow.nwProto === IPPROTO_TCP),
  resubmit: (a, m) => (a.withCtOrig && !isMatchCtValid(m) ? 'OFPBAC_MATCH_INCONSISTENT' : undefined),
  learn: (a, m) => checkLearn(a, m),
  multipath: (a, m) => checkDst(a.dst, m),
  ct: checkCt,
  nat: checkNat,
  meter: (a) => (a.meterId === 0 || a.meterId > OFPM_MAX ? 'OFPMMFC_INVALID_METER' : undefined),
  goto_table: (a, _, b) =>
    (b.tableId !== 255 && a.tableId <= b.tableId) || (b.nTables !== 255 && a.tableId >= b.nTables)
      ? 'OFPBIC_BAD_TABLE_ID'
      : undefined,
};

/** What a list says: the first error, and the flow formats in which it makes sense. */
export interface Usable {
  error: OfErrorName | undefined;
  protocols: Protocols;
}

function checkOne(a: Ofpact, m: Match, bounds: Bounds): Usable {
  const check = CHECKS[a.type] as Check<Ofpact> | undefined;
  const verdict = check?.(a, m, bounds);
  if (verdict === 'inconsistent') return { error: undefined, protocols: P_OF10_ANY };
  if (verdict !== undefined) return { error: verdict, protocols: P_ANY };
  if (a.type === 'clone') return checkUsable(a.actions, m, bounds);
  // With a zone from a field, Open vSwitch looks no further.
  if (a.type === 'ct' && typeof a.zone === 'number') return checkUsable(a.actions, m, bounds);
  if (a.type === 'write_actions') return { error: checkUsable(a.actions, m, bounds).error, protocols: P_ANY };
  return { error: undefined, protocols: P_ANY };
}

/** Checks a list against a match, which is unchanged afterwards. */
export function checkUsable(actions: readonly Ofpact[], m: Match, bounds: Bounds): Usable {
  const { flow } = m;
  const saved = [
    flow.packetType,
    flow.vlanTpid0,
    flow.vlanTci0,
    flow.vlanTpid1,
    flow.vlanTci1,
    flow.dlType,
    flow.nwProto,
  ] as const;
  const out: Usable = { error: undefined, protocols: P_ANY };
  for (const a of actions) {
    const { error, protocols } = checkOne(a, m, bounds);
    out.protocols &= protocols;
    if (!error) continue;
    out.error = error;
    break;
  }
  [flow.packetType, flow.vlanTpid0, flow.vlanTci0, flow.vlanTpid1, flow.vlanTci1, flow.dlType, flow.nwProto] = saved;
  return out;
}

/** The first error that the list has for packets of `m`, which is unchanged afterwards. */
export function checkActions(actions: readonly Ofpact[], m: Match, ctx: CheckContext): OfErrorName | undefined {
  const { error, protocols } = checkUsable(actions, m, ctx);
  return error ?? (protocols === P_ANY || ctx.allowInconsistent ? undefined : 'OFPBAC_MATCH_INCONSISTENT');
}
