import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { Ofpact } from './actions.ts';
import { mf, VLAN_CFI } from './field.ts';
import {
  ETH_TYPE_IP,
  FLOW_NW_FRAG_LATER,
  getDlType,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  isFieldPrereqOk,
  isIpAny,
  isMatchPrereqOk,
  isMplsType,
} from './field-prereq.ts';
import type { Match } from './match.ts';

/** Checks that actions make sense for the packets of a match, and notes in the actions what the match guarantees. */

export interface CheckContext {
  /** Table of the flow; 255: not known. */
  tableId: number;
  /** Tables of the switch; 255: not known. */
  nTables: number;
  /** OpenFlow 1.0 takes what later versions call inconsistent with the match. */
  allowInconsistent: boolean;
}

const VLAN_VID = mf('vlan_vid');
const VLAN_TCI = mf('vlan_tci');

/** What an action says: nothing wrong, wrong, or wrong unless OpenFlow 1.0. */
type Verdict = OfErrorName | 'inconsistent' | undefined;

function outputPort(port: number): Verdict {
  if (port === 0xffffffff || port === 0xfffffff7) return 'OFPBAC_BAD_OUT_PORT';
  return port < 0xff00 || port >= 0xfffffff8 ? undefined : 'OFPBAC_BAD_OUT_PORT';
}

function checkVlan(a: Extract<Ofpact, { type: 'set_vlan_vid' | 'set_vlan_pcp' }>, m: Match): Verdict {
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

function checkL4(a: Extract<Ofpact, { type: 'set_l4_src_port' | 'set_l4_dst_port' }>, m: Match): Verdict {
  const { flow } = m;
  a.flowIpProto = flow.nwProto;
  const known = flow.nwProto === IPPROTO_TCP || flow.nwProto === IPPROTO_UDP || flow.nwProto === IPPROTO_SCTP;
  return isIpAny(flow) && known && !(flow.nwFrag & FLOW_NW_FRAG_LATER) ? undefined : 'inconsistent';
}

function checkSetField(a: Extract<Ofpact, { type: 'set_field' }>, m: Match): Verdict {
  const has = isFieldPrereqOk(m.flow, a.field);
  if (!has || (a.field === VLAN_VID && !a.load && !(m.flow.vlanTci0 & VLAN_CFI))) return 'OFPBAC_MATCH_INCONSISTENT';
  if (a.field === VLAN_TCI) m.flow.vlanTci0 = (a.value[0] << 8) | a.value[1];
  return undefined;
}

function checkMpls(a: Extract<Ofpact, { type: 'push_mpls' | 'pop_mpls' }>, m: Match): Verdict {
  const ok = m.flow.packetType === 0 && (a.type === 'push_mpls' || isMplsType(getDlType(m.flow)));
  m.flow.dlType = a.ethertype;
  if (a.type === 'push_mpls') m.flow.nwProto = 0;
  return ok ? undefined : 'inconsistent';
}

function checkOne(a: Ofpact, m: Match, ctx: CheckContext): Verdict {
  switch (a.type) {
    case 'output':
    case 'output_trunc':
      return outputPort(a.port);
    case 'enqueue':
      return a.port < 0xff00 || a.port === 0xfffffff8 || a.port === 0xfffffffe ? undefined : 'OFPBAC_BAD_OUT_PORT';
    case 'group':
      return a.groupId > 0xffffff00 ? 'OFPBAC_BAD_OUT_GROUP' : undefined;
    case 'output_reg':
      return isMatchPrereqOk(m, a.src.field) ? undefined : 'OFPBAC_MATCH_INCONSISTENT';
    case 'set_vlan_vid':
    case 'set_vlan_pcp':
      return checkVlan(a, m);
    case 'strip_vlan':
      return stripVlan(m);
    case 'push_vlan':
      return pushVlan(m);
    case 'set_ipv4_src':
    case 'set_ipv4_dst':
      return getDlType(m.flow) === ETH_TYPE_IP ? undefined : 'inconsistent';
    case 'set_ip_dscp':
    case 'set_ip_ecn':
    case 'set_ip_ttl':
    case 'dec_ttl':
      return isIpAny(m.flow) ? undefined : 'inconsistent';
    case 'set_l4_src_port':
    case 'set_l4_dst_port':
      return checkL4(a, m);
    case 'set_mpls_label':
    case 'set_mpls_tc':
    case 'set_mpls_ttl':
    case 'dec_mpls_ttl':
      return isMplsType(getDlType(m.flow)) ? undefined : 'inconsistent';
    case 'push_mpls':
    case 'pop_mpls':
      return checkMpls(a, m);
    case 'set_field':
      return checkSetField(a, m);
    case 'reg_move':
      return isMatchPrereqOk(m, a.src.field) && isMatchPrereqOk(m, a.dst.field)
        ? undefined
        : 'OFPBAC_MATCH_INCONSISTENT';
    case 'stack_push':
    case 'stack_pop':
      return isMatchPrereqOk(m, a.subfield.field) ? undefined : 'OFPBAC_MATCH_INCONSISTENT';
    case 'goto_table':
      return (ctx.tableId !== 255 && a.tableId <= ctx.tableId) || (ctx.nTables !== 255 && a.tableId >= ctx.nTables)
        ? 'OFPBIC_BAD_TABLE_ID'
        : undefined;
    case 'write_actions':
      return checkAll(a.actions, m, { ...ctx, allowInconsistent: true });
    case 'clone':
      return checkAll(a.actions, m, ctx);
    default:
      return undefined;
  }
}

function checkAll(actions: readonly Ofpact[], m: Match, ctx: CheckContext): OfErrorName | undefined {
  const { flow } = m;
  const saved = [flow.vlanTci0, flow.vlanTci1, flow.dlType, flow.nwProto] as const;
  let error: OfErrorName | undefined;
  for (const a of actions) {
    const verdict = checkOne(a, m, ctx);
    if (verdict === undefined || (verdict === 'inconsistent' && ctx.allowInconsistent)) continue;
    error = verdict === 'inconsistent' ? 'OFPBAC_MATCH_INCONSISTENT' : verdict;
    break;
  }
  [flow.vlanTci0, flow.vlanTci1, flow.dlType, flow.nwProto] = saved;
  return error;
}

/** The first error that the list has for packets of `m`, which is unchanged afterwards. */
export function checkActions(actions: readonly Ofpact[], m: Match, ctx: CheckContext): OfErrorName | undefined {
  return checkAll(actions, m, ctx);
}
