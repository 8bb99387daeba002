import type { Match } from '../flow/flow.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { OFP10_VLAN_NONE, portFromOfp10, VLAN_CFI, VLAN_PCP_MASK, VLAN_PCP_SHIFT, VLAN_VID_MASK } from './field.ts';
import {
  ETH_TYPE_ARP,
  ETH_TYPE_IP,
  ETH_TYPE_RARP,
  IPPROTO_ICMP,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  isMplsType,
} from './field-prereq.ts';
import { catchallMatch, setDefaultPacketType } from './match.ts';
import { pullOxmMatch } from './nx-match.ts';
import { portFromOfp11 } from './port.ts';

/** The fixed matches of OpenFlow 1.0 (`ofp_match`, 40 bytes) and 1.1 (`ofp_match`, 88 bytes). */

const W10 = {
  inPort: 1 << 0,
  dlVlan: 1 << 1,
  dlSrc: 1 << 2,
  dlDst: 1 << 3,
  dlType: 1 << 4,
  nwProto: 1 << 5,
  tpSrc: 1 << 6,
  tpDst: 1 << 7,
  nwSrcShift: 8,
  nwDstShift: 14,
  dlVlanPcp: 1 << 20,
  nwTos: 1 << 21,
} as const;
/** What needs the packet to be Ethernet. */
const W10_DATA =
  W10.nwTos | W10.nwProto | W10.tpSrc | W10.tpDst | W10.dlSrc | W10.dlDst | W10.dlType | W10.dlVlan | W10.dlVlanPcp;

/** 0: exact; n: the n low bits are ignored; 32 and more: all of it. */
function netmask(wcBits: number): number {
  const n = wcBits & 0x3f;
  return n >= 32 ? 0 : (0xffffffff << n) >>> 0;
}

function wcBits(mask: number): number {
  let ones = 0;
  while (ones < 32 && mask & (1 << (31 - ones))) ones++;
  return 32 - ones;
}

/** Clears the bits of `flow` that are not matched. */
function zeroWildcarded(m: Match): Match {
  m.flow.maskWith(m.wc);
  return m;
}

function wildcards10(m: Match, w: number): void {
  const { wc } = m;
  if (!(w & W10.inPort)) wc.inPort = 0xffffffff;
  if (!(w & W10.nwTos)) wc.nwTos = 0xfc;
  if (!(w & W10.nwProto)) wc.nwProto = 0xff;
  wc.nwSrc = netmask(w >>> W10.nwSrcShift);
  wc.nwDst = netmask(w >>> W10.nwDstShift);
  if (!(w & W10.tpSrc)) wc.tpSrc = 0xffff;
  if (!(w & W10.tpDst)) wc.tpDst = 0xffff;
  if (!(w & W10.dlSrc)) wc.dlSrc.fill(0xff);
  if (!(w & W10.dlDst)) wc.dlDst.fill(0xff);
  if (!(w & W10.dlType)) wc.dlType = 0xffff;
  if (!(w & W10.dlVlanPcp)) wc.vlanTci0 |= VLAN_PCP_MASK | VLAN_CFI;
  if (!(w & W10.dlVlan)) wc.vlanTci0 |= VLAN_VID_MASK | VLAN_CFI;
  if ((w & W10_DATA) !== W10_DATA || wc.nwSrc || wc.nwDst) setDefaultPacketType(m);
}

export function pullOfp10Match(r: Reader): Match {
  const m = catchallMatch();
  const { flow, wc } = m;
  const w = r.readU32();
  wildcards10(m, w);
  flow.inPort = portFromOfp10(r.readU16());
  flow.dlSrc = r.u8.subarray(r.take(6), r.pos);
  flow.dlDst = r.u8.subarray(r.take(6), r.pos);
  const vlan = r.readU16();
  const pcp = r.readU8();
  r.skip(1);
  flow.dlType = r.readU16();
  flow.nwTos = r.readU8() & 0xfc;
  flow.nwProto = r.readU8();
  r.skip(2);
  flow.nwSrc = r.readU32();
  flow.nwDst = r.readU32();
  flow.tpSrc = r.readU16();
  flow.tpDst = r.readU16();
  if (!(w & W10.dlVlan) && vlan === OFP10_VLAN_NONE) wc.vlanTci0 = 0xffff;
  else flow.vlanTci0 = (vlan & VLAN_VID_MASK) | ((pcp << VLAN_PCP_SHIFT) & VLAN_PCP_MASK) | VLAN_CFI;
  return zeroWildcarded(m);
}

/** The match's 802.1Q part: VID (or `none`, or `any`) and PCP, undefined where they are not matched. */
function vlanOf(m: Match): { vid: number | 'none' | 'any' | undefined; pcp: number | undefined } {
  const mask = m.wc.vlanTci0;
  const tci = m.flow.vlanTci0;
  if (mask === 0) return { vid: undefined, pcp: undefined };
  if (mask & VLAN_CFI && !(tci & VLAN_CFI)) return { vid: 'none', pcp: undefined };
  return {
    vid: mask & VLAN_VID_MASK ? tci & VLAN_VID_MASK : 'any',
    pcp: mask & VLAN_PCP_MASK ? tci >> VLAN_PCP_SHIFT : undefined,
  };
}

function wildcardsOf10(m: Match): number {
  const { wc } = m;
  const zero = (b: Uint8Array) => b.every((x) => x === 0);
  let w = (wcBits(wc.nwSrc) << W10.nwSrcShift) | (wcBits(wc.nwDst) << W10.nwDstShift);
  if (!wc.inPort) w |= W10.inPort;
  if (!wc.dlType) w |= W10.dlType;
  if (!wc.nwProto) w |= W10.nwProto;
  if (!(wc.nwTos & 0xfc)) w |= W10.nwTos;
  if (!wc.tpSrc) w |= W10.tpSrc;
  if (!wc.tpDst) w |= W10.tpDst;
  if (zero(wc.dlSrc)) w |= W10.dlSrc;
  if (zero(wc.dlDst)) w |= W10.dlDst;
  const { vid, pcp } = vlanOf(m);
  if (vid === undefined || vid === 'any') w |= W10.dlVlan;
  if (pcp === undefined && vid !== 'none') w |= W10.dlVlanPcp;
  return w;
}

export function putOfp10Match(w: Writer, m: Match): void {
  const { flow, wc } = m;
  const { vid, pcp } = vlanOf(m);
  w.putU32(wildcardsOf10(m) >>> 0);
  w.putU16(flow.inPort & 0xffff);
  w.putBytes(flow.dlSrc);
  w.putBytes(flow.dlDst);
  w.putU16(vid === 'none' ? OFP10_VLAN_NONE : typeof vid === 'number' ? vid : 0);
  w.putU8(pcp ?? 0);
  w.putZeros(1);
  w.putU16(flow.dlType);
  w.putU8(flow.nwTos & 0xfc);
  w.putU8(flow.nwProto);
  w.putZeros(2);
  // Of a mask that is no prefix only its leading ones can be said.
  w.putU32((flow.nwSrc & netmask(wcBits(wc.nwSrc))) >>> 0);
  w.putU32((flow.nwDst & netmask(wcBits(wc.nwDst))) >>> 0);
  w.putU16(flow.tpSrc);
  w.putU16(flow.tpDst);
}

const W11 = {
  inPort: 1 << 0,
  dlVlan: 1 << 1,
  dlVlanPcp: 1 << 2,
  dlType: 1 << 3,
  nwTos: 1 << 4,
  nwProto: 1 << 5,
  tpSrc: 1 << 6,
  tpDst: 1 << 7,
  mplsLabel: 1 << 8,
  mplsTc: 1 << 9,
} as const;
const VID11_ANY = 0xfffe;
const VID11_NONE = 0xffff;
const MATCH11_SIZE = 88;

/** Decodes what OpenFlow 1.1+ calls `ofp_match`, of either type. */
export function pullOfp11Match(r: Reader): Match {
  if (r.left < 4) throw new OfDecodeError('OFPBMC_BAD_LEN');
  const head = r.peekU32();
  const [type, length] = [head >>> 16, head & 0xffff];
  if (type === 1) return pullOxmMatch(r);
  if (type !== 0) throw new OfDecodeError('OFPBMC_BAD_TYPE');
  if (length !== MATCH11_SIZE || r.left < length) throw new OfDecodeError('OFPBMC_BAD_LEN');
  return pullStandard11(r.sub(length));
}

/** The fields of the wire that are looked at after the Ethertype is known. */
interface Rest11 {
  w: number;
  nwTos: number;
  nwProto: number;
  nw: [src: number, srcMask: number, dst: number, dstMask: number];
  tpSrc: number;
  tpDst: number;
}

function pullStandard11(r: Reader): Match {
  const m = catchallMatch();
  const { flow, wc } = m;
  r.skip(4);
  const inPort = r.readU32();
  const w = r.readU32();
  if (!(w & W11.inPort)) {
    flow.inPort = portFromOfp11(inPort, 'OFPBMC_BAD_VALUE');
    wc.inPort = 0xffffffff;
  }
  pullMacs11(r, m);
  pullVlan11(m, w, r.readU16(), r.readU8());
  r.skip(1);
  const dlType = r.readU16();
  if (!(w & W11.dlType)) {
    flow.dlType = dlType;
    wc.dlType = 0xffff;
    setDefaultPacketType(m);
  }
  const [nwTos, nwProto] = [r.readU8(), r.readU8()];
  const nw: Rest11['nw'] = [r.readU32(), r.readU32(), r.readU32(), r.readU32()];
  pullL3of11(m, { w, nwTos, nwProto, nw, tpSrc: r.readU16(), tpDst: r.readU16() });
  pullMpls11(m, w, r.readU32(), r.readU8());
  r.skip(3);
  const metadata = r.readU64();
  wc.metadata = ~r.readU64() & 0xffff_ffff_ffff_ffffn;
  flow.metadata = metadata & wc.metadata;
  return m;
}

function pullMacs11(r: Reader, m: Match): void {
  const at = r.take(24);
  let any = 0;
  for (let i = 0; i < 6; i++) {
    const src = ~r.u8[at + 6 + i] & 0xff;
    const dst = ~r.u8[at + 18 + i] & 0xff;
    m.wc.dlSrc[i] = src;
    m.wc.dlDst[i] = dst;
    m.flow.dlSrc[i] = r.u8[at + i] & src;
    m.flow.dlDst[i] = r.u8[at + 12 + i] & dst;
    any |= src | dst;
  }
  if (any) setDefaultPacketType(m);
}

function pullVlan11(m: Match, w: number, vlan: number, pcp: number): void {
  if (w & W11.dlVlan) return;
  const { flow, wc } = m;
  setDefaultPacketType(m);
  if (vlan === VID11_NONE) {
    wc.vlanTci0 = 0xffff;
    return;
  }
  if (vlan !== VID11_ANY && vlan > VLAN_VID_MASK) throw new OfDecodeError('OFPBMC_BAD_VALUE', 'dl_vlan');
  flow.vlanTci0 = vlan === VID11_ANY ? VLAN_CFI : VLAN_CFI | vlan;
  wc.vlanTci0 = vlan === VID11_ANY ? VLAN_CFI : VLAN_CFI | VLAN_VID_MASK;
  if (w & W11.dlVlanPcp) return;
  if (pcp > 7) throw new OfDecodeError('OFPBMC_BAD_VALUE', 'dl_vlan_pcp');
  flow.vlanTci0 |= pcp << VLAN_PCP_SHIFT;
  wc.vlanTci0 |= VLAN_PCP_MASK;
}

function pullL3of11(m: Match, x: Rest11): void {
  const { flow, wc } = m;
  const ipv4 = flow.dlType === ETH_TYPE_IP;
  if (ipv4 && !(x.w & W11.nwTos)) {
    if (x.nwTos & 3) throw new OfDecodeError('OFPBMC_BAD_VALUE', 'nw_tos');
    flow.nwTos = x.nwTos;
    wc.nwTos = 0xfc;
  }
  if (!ipv4 && flow.dlType !== ETH_TYPE_ARP && flow.dlType !== ETH_TYPE_RARP) return;
  if (!(x.w & W11.nwProto)) {
    flow.nwProto = x.nwProto;
    wc.nwProto = 0xff;
  }
  wc.nwSrc = ~x.nw[1] >>> 0;
  flow.nwSrc = (x.nw[0] & wc.nwSrc) >>> 0;
  wc.nwDst = ~x.nw[3] >>> 0;
  flow.nwDst = (x.nw[2] & wc.nwDst) >>> 0;
  if (ipv4) pullL4of11(m, x);
}

/** Ports of other protocols are ignored, as OpenFlow 1.1 says; ICMP's type and code are taken besides. */
function pullL4of11(m: Match, x: Rest11): void {
  const { flow, wc } = m;
  const proto = flow.nwProto;
  if (proto !== IPPROTO_ICMP && proto !== IPPROTO_TCP && proto !== IPPROTO_UDP && proto !== IPPROTO_SCTP) return;
  const limit = proto === IPPROTO_ICMP ? 0xff : 0xffff;
  if (!(x.w & W11.tpSrc)) {
    if (x.tpSrc > limit) throw new OfDecodeError('OFPBMC_BAD_FIELD');
    flow.tpSrc = x.tpSrc;
    wc.tpSrc = 0xffff;
  }
  if (!(x.w & W11.tpDst)) {
    if (x.tpDst > limit) throw new OfDecodeError('OFPBMC_BAD_FIELD');
    flow.tpDst = x.tpDst;
    wc.tpDst = 0xffff;
  }
}

function pullMpls11(m: Match, w: number, label: number, tc: number): void {
  if (!isMplsType(m.flow.dlType)) return;
  if (!(w & W11.mplsLabel)) {
    m.flow.mplsLse0 = (label << 12) >>> 0;
    m.wc.mplsLse0 = 0xfffff000;
  }
  if (!(w & W11.mplsTc)) {
    m.flow.mplsLse0 |= (tc & 7) << 9;
    m.wc.mplsLse0 |= 0xe00;
  }
}

function wildcardsOf11(m: Match): number {
  const { wc } = m;
  const { vid, pcp } = vlanOf(m);
  let w = 0;
  if (!wc.inPort) w |= W11.inPort;
  if (vid === undefined) w |= W11.dlVlan;
  if (pcp === undefined) w |= W11.dlVlanPcp;
  if (!wc.dlType) w |= W11.dlType;
  if (!(wc.nwTos & 0xfc)) w |= W11.nwTos;
  if (!wc.nwProto) w |= W11.nwProto;
  if (!wc.tpSrc) w |= W11.tpSrc;
  if (!wc.tpDst) w |= W11.tpDst;
  if (!(wc.mplsLse0 & 0xfffff000)) w |= W11.mplsLabel;
  if (!(wc.mplsLse0 & 0xe00)) w |= W11.mplsTc;
  return w;
}

export function putOfp11Match(w: Writer, m: Match): void {
  const { flow, wc } = m;
  const { vid, pcp } = vlanOf(m);
  w.putU16(0);
  w.putU16(MATCH11_SIZE);
  w.putU32(flow.inPort);
  w.putU32(wildcardsOf11(m));
  w.putBytes(flow.dlSrc);
  w.putBytes(wc.dlSrc.map((b) => ~b));
  w.putBytes(flow.dlDst);
  w.putBytes(wc.dlDst.map((b) => ~b));
  w.putU16(vid === 'none' ? VID11_NONE : vid === 'any' ? VID11_ANY : (vid ?? 0));
  w.putU8(pcp ?? 0);
  w.putZeros(1);
  w.putU16(flow.dlType);
  w.putU8(flow.nwTos & 0xfc);
  w.putU8(flow.nwProto);
  for (const [value, mask] of [
    [flow.nwSrc, wc.nwSrc],
    [flow.nwDst, wc.nwDst],
  ]) {
    w.putU32(value);
    w.putU32(~mask >>> 0);
  }
  w.putU16(flow.tpSrc);
  w.putU16(flow.tpDst);
  w.putU32(flow.mplsLse0 >>> 12);
  w.putU8((flow.mplsLse0 >>> 9) & 7);
  w.putZeros(3);
  w.putU64(flow.metadata);
  w.putU64(~wc.metadata & 0xffff_ffff_ffff_ffffn);
}
