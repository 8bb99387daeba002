import type { Match } from '../flow/flow.ts';
import {
  ETH_TYPE_IP,
  ETH_TYPE_IPV6,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  isArp,
  isMplsType,
  ND_NEIGHBOR_ADVERT,
  ND_NEIGHBOR_SOLICIT,
} from './field-prereq.ts';

/** Removes from a match what its Ethertype and IP protocol make meaningless, as OpenFlow 1.0 wants it ignored. */

interface May {
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
  const { flow } = m;
  const v4 = flow.dlType === ETH_TYPE_IP;
  const v6 = flow.dlType === ETH_TYPE_IPV6;
  const arp = isArp(flow);
  const proto = flow.nwProto;
  const l4 = (v4 || v6) && (proto === IPPROTO_TCP || proto === IPPROTO_UDP || proto === IPPROTO_SCTP);
  const icmp6 = v6 && proto === IPPROTO_ICMPV6;
  const solicit = icmp6 && flow.tpSrc === ND_NEIGHBOR_SOLICIT;
  const advert = icmp6 && flow.tpSrc === ND_NEIGHBOR_ADVERT;
  return {
    nwAddr: v4 || arp,
    tp: l4 || (v4 && proto === IPPROTO_ICMP) || icmp6,
    nwProto: v4 || v6 || arp,
    ip: v4 || v6,
    arpSha: arp || solicit,
    arpTha: arp || advert,
    ipv6: v6,
    ndTarget: solicit || advert,
    mpls: isMplsType(flow.dlType),
  };
}

export function normalizeMatch(m: Match): void {
  const may = mayMatch(m);
  const { wc } = m;
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
  m.flow.maskWith(wc);
}
