import type { FlowWildcards, Match } from '../flow/flow.ts';
import {
  ETH_TYPE_ARP,
  ETH_TYPE_IP,
  ETH_TYPE_IPV6,
  ETH_TYPE_RARP,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  isMplsType,
  ND_NEIGHBOR_ADVERT,
  ND_NEIGHBOR_SOLICIT,
} from './field-prereq.ts';
import { hasDefaultPacketType } from './match.ts';
import { formatMatch } from './match-text.ts';
import { matchInfo, matchInfoAlways } from './openflow-log.ts';

/** Removes from a match what its Ethertype and IP protocol make meaningless, as OpenFlow 1.0 wants it ignored. */

interface May {
  ether: boolean;
  nwAddr: boolean;
  tp: boolean;
  nwProto: boolean;
  ip: boolean;
  arpSha: boolean;
  arpTha: boolean;
  ipv6: boolean;
  ndTarget: boolean;
  mpls: boolean;
}

function mayMatch(m: Match): May {
  const { flow, wc } = m;
  const ether = wc.packetType === 0 || hasDefaultPacketType(m);
  const typed = wc.packetType === 0xffffffff && flow.packetType >>> 16 === 1;
  const dlType = ether ? flow.dlType : typed ? flow.packetType & 0xffff : 0;
  const v4 = dlType === ETH_TYPE_IP;
  const v6 = dlType === ETH_TYPE_IPV6;
  const arp = dlType === ETH_TYPE_ARP || dlType === ETH_TYPE_RARP;
  const proto = flow.nwProto;
  const l4 = (v4 || v6) && (proto === IPPROTO_TCP || proto === IPPROTO_UDP || proto === IPPROTO_SCTP);
  const icmp6 = v6 && proto === IPPROTO_ICMPV6;
  const solicit = icmp6 && flow.tpSrc === ND_NEIGHBOR_SOLICIT;
  const advert = icmp6 && flow.tpSrc === ND_NEIGHBOR_ADVERT;
  return {
    ether,
    nwAddr: v4 || arp,
    tp: l4 || (v4 && proto === IPPROTO_ICMP) || icmp6,
    nwProto: v4 || v6 || arp,
    ip: v4 || v6,
    arpSha: arp || solicit,
    arpTha: arp || advert,
    ipv6: v6,
    ndTarget: solicit || advert,
    mpls: isMplsType(dlType),
  };
}

/** The mask without what the match may not have. */
function meaningful(m: Match): FlowWildcards {
  const may = mayMatch(m);
  const wc = m.wc.clone();
  if (!may.ether) {
    wc.dlSrc.fill(0);
    wc.dlDst.fill(0);
  }
  if (!may.nwAddr) wc.nwSrc = wc.nwDst = 0;
  if (!may.tp) wc.tpSrc = wc.tpDst = 0;
  if (!may.nwProto) wc.nwProto = 0;
  if (!may.ip) wc.nwTos = wc.nwTtl = 0;
  if (!may.arpSha) wc.arpSha.fill(0);
  if (!may.arpTha) wc.arpTha.fill(0);
  if (!may.ipv6) {
    wc.ipv6Src.fill(0);
    wc.ipv6Dst.fill(0);
    wc.ipv6Label = 0;
  }
  if (!may.ndTarget) wc.ndTarget.fill(0);
  if (!may.mpls) wc.mplsLse0 = wc.mplsLse1 = wc.mplsLse2 = 0;
  return wc;
}

/** Takes away from a match what its types make meaningless; what changed is logged. */
export function normalizeMatch(m: Match): void {
  const wc = meaningful(m);
  if (wc.equals(m.wc)) return;
  const pre = formatMatch(m);
  m.wc.copyFrom(wc);
  m.flow.maskWith(wc);
  logNormalization(pre, formatMatch(m));
}

/** The three lines count as one message. */
function logNormalization(pre: string, post: string): void {
  if (!matchInfo('normalization changed ofp_match, details:')) return;
  matchInfoAlways(` pre: ${pre}`);
  matchInfoAlways(`post: ${post}`);
}
