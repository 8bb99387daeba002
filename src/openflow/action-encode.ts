import type { MatchField } from '../../protocols/fields.ts';
import { OFP10_VERSION, OFP11_VERSION, OFP12_VERSION, OFP13_VERSION, OFP15_VERSION } from '../../protocols/openflow.ts';
import { NXAST, OFPAT10, OFPAT11, ONFACT_COPY_FIELD } from '../../protocols/openflow-actions.ts';
import { encodeCt, encodeNat } from './action-ct.ts';
import { encodeDecap, encodeEncap } from './action-encap.ts';
import { encodeBundle, encodeMultipath } from './action-hash.ts';
import { encodeLearn } from './action-learn.ts';
import { encodeSample } from './action-sample.ts';
import { putAction as action, encodeOfsNbits, putNicira as nicira, nxmWord, putOnf } from './action-wire.ts';
import type { Ofpact, OfpactOf, OfpactType } from './actions.ts';
import type { Writer } from './buffer.ts';
import { exactMask, fieldValue, isAllOnes, mf, VLAN_CFI } from './field.ts';
import { IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP } from './field-prereq.ts';
import { putOxm, putOxmHeader } from './oxm.ts';

/** Actions onto the wire, in the form that each version has for them. */

function setField(w: Writer, f: MatchField, value: Uint8Array, version: number, mask?: Uint8Array): void {
  action(w, OFPAT11.SET_FIELD, () => putOxm(w, f, version, value, mask));
}

const VLAN_VID = mf('vlan_vid');
const VLAN_PCP = mf('vlan_pcp');
const VLAN_TCI = mf('vlan_tci');
const ETH_SRC = mf('eth_src');
const ETH_DST = mf('eth_dst');
const IPV4_SRC = mf('ip_src');
const IPV4_DST = mf('ip_dst');
const IP_DSCP = mf('ip_dscp');
const IP_ECN = mf('nw_ecn');
const TUN_ID = mf('tun_id');
const NW_TOS = mf('nw_tos');

const num = (v: Uint8Array): number => v.reduce((n, b) => n * 256 + b, 0);

function pushVlanIfNeeded(w: Writer, a: OfpactOf<'set_vlan_vid'> | OfpactOf<'set_vlan_pcp'>): void {
  if (a.flowHasVlan || !a.pushIfNeeded) return;
  action(w, OFPAT11.PUSH_VLAN, () => w.putU16(0x8100));
}

function setVlanVid(w: Writer, a: OfpactOf<'set_vlan_vid'>, version: number): void {
  if (version >= OFP11_VERSION) pushVlanIfNeeded(w, a);
  if (version >= OFP12_VERSION) setField(w, VLAN_VID, fieldValue(VLAN_VID, a.vid | VLAN_CFI), version);
  else action(w, OFPAT10.SET_VLAN_VID, () => w.putU16(a.vid));
}

function setVlanPcp(w: Writer, a: OfpactOf<'set_vlan_pcp'>, version: number): void {
  if (version >= OFP11_VERSION) pushVlanIfNeeded(w, a);
  if (version >= OFP12_VERSION) setField(w, VLAN_PCP, fieldValue(VLAN_PCP, a.pcp), version);
  else action(w, OFPAT10.SET_VLAN_PCP, () => w.putU8(a.pcp));
}

function setEth(w: Writer, f: MatchField, mac: Uint8Array, version: number): void {
  if (version >= OFP12_VERSION) {
    setField(w, f, mac, version);
    return;
  }
  const src = version === OFP10_VERSION ? OFPAT10.SET_DL_SRC : OFPAT11.SET_DL_SRC;
  action(w, f === ETH_SRC ? src : src + 1, () => {
    w.putBytes(mac);
    w.putZeros(6);
  });
}

function setIpv4(w: Writer, f: MatchField, ip: number, version: number): void {
  if (version >= OFP12_VERSION) {
    setField(w, f, fieldValue(f, ip), version);
    return;
  }
  const src = version === OFP10_VERSION ? OFPAT10.SET_NW_SRC : OFPAT11.SET_NW_SRC;
  action(w, f === IPV4_SRC ? src : src + 1, () => w.putU32(ip));
}

function setL4(w: Writer, a: OfpactOf<'set_l4_src_port'> | OfpactOf<'set_l4_dst_port'>, version: number): void {
  const src = a.type === 'set_l4_src_port';
  const proto = { [IPPROTO_TCP]: 'tcp', [IPPROTO_UDP]: 'udp', [IPPROTO_SCTP]: 'sctp' }[a.flowIpProto];
  if (version < OFP12_VERSION || !proto) {
    action(w, src ? OFPAT10.SET_TP_SRC : OFPAT10.SET_TP_DST, () => w.putU16(a.port));
    return;
  }
  const f = mf(`${proto}_${src ? 'src' : 'dst'}`);
  setField(w, f, fieldValue(f, a.port), version);
}

/** The parts of `mask`, lowest first, that one reg_load (64 consecutive bits) can set. */
function* loadSegments(f: MatchField, mask: Uint8Array): Generator<{ ofs: number; nBits: number }> {
  const bit = (i: number) => i < f.nBits && (mask[f.nBytes - 1 - (i >> 3)] >> (i & 7)) & 1;
  for (let ofs = 0; ofs < f.nBits; ofs++) {
    if (!bit(ofs)) continue;
    let nBits = 1;
    while (nBits < 64 && bit(ofs + nBits)) nBits++;
    yield { ofs, nBits };
    ofs += nBits - 1;
  }
}

function bitsOf(f: MatchField, value: Uint8Array, ofs: number, nBits: number): bigint {
  let n = 0n;
  for (const b of value.subarray(0, f.nBytes)) n = (n << 8n) | BigInt(b);
  return (n >> BigInt(ofs)) & ((1n << BigInt(nBits)) - 1n);
}

function regLoad(w: Writer, a: OfpactOf<'set_field'>): void {
  const f = a.field;
  if (a.raw === NXAST.REG_LOAD2 || f.variableLength || !nxmWord(f)) {
    nicira(w, NXAST.REG_LOAD2, () => {
      putOxm(w, f, 0, a.value, isAllOnes(a.mask) ? undefined : a.mask);
    });
    return;
  }
  for (const { ofs, nBits } of loadSegments(f, a.mask)) {
    nicira(w, NXAST.REG_LOAD, () => {
      w.putU16(encodeOfsNbits(ofs, nBits));
      w.putU32(nxmWord(f));
      w.putU64(bitsOf(f, a.value, ofs, nBits));
    });
  }
}

/** OpenFlow 1.0 and 1.1 have an action each for some fields; the rest goes by reg_load. */
function setFieldLegacy(w: Writer, a: OfpactOf<'set_field'>, version: number): void {
  const n = num(a.value);
  const legacy = isAllOnes(a.mask) ? legacyAction(a.field, a.value, n) : undefined;
  if (legacy) {
    for (const one of legacy) encodeAction(w, one, version);
  } else if (a.field === VLAN_TCI) setVlanTci(w, a, n, version);
  else regLoad(w, a);
}

/** A whole tag at once: its parts one by one, or no tag. */
function setVlanTci(w: Writer, a: OfpactOf<'set_field'>, tci: number, version: number): void {
  const v10 = version === OFP10_VERSION;
  if (!(tci & VLAN_CFI)) {
    action(w, v10 ? OFPAT10.STRIP_VLAN : OFPAT11.POP_VLAN);
    return;
  }
  if (!v10 && !a.flowHasVlan) action(w, OFPAT11.PUSH_VLAN, () => w.putU16(0x8100));
  action(w, OFPAT10.SET_VLAN_VID, () => w.putU16(tci & 0xfff));
  action(w, OFPAT10.SET_VLAN_PCP, () => w.putU8(tci >> 13));
}

function legacyAction(f: MatchField, value: Uint8Array, n: number): Ofpact[] | undefined {
  switch (f) {
    case VLAN_VID:
      return [{ type: 'set_vlan_vid', vid: n & 0xfff, pushIfNeeded: false, flowHasVlan: true }];
    case VLAN_PCP:
      return [{ type: 'set_vlan_pcp', pcp: n, pushIfNeeded: false, flowHasVlan: true }];
    case ETH_SRC:
      return [{ type: 'set_eth_src', mac: value }];
    case ETH_DST:
      return [{ type: 'set_eth_dst', mac: value }];
    case IPV4_SRC:
      return [{ type: 'set_ipv4_src', ip: n }];
    case IPV4_DST:
      return [{ type: 'set_ipv4_dst', ip: n }];
    case NW_TOS:
      return [{ type: 'set_ip_dscp', dscp: n & 0xfc }];
    case IP_DSCP:
      return [{ type: 'set_ip_dscp', dscp: (n << 2) & 0xfc }];
    case IP_ECN:
      return [{ type: 'set_ip_ecn', ecn: n }];
  }
  if (/^(tcp|udp)_src$/.test(f.name)) return [{ type: 'set_l4_src_port', port: n, flowIpProto: 0 }];
  if (/^(tcp|udp)_dst$/.test(f.name)) return [{ type: 'set_l4_dst_port', port: n, flowIpProto: 0 }];
  return undefined;
}

function encodeSetField(w: Writer, a: OfpactOf<'set_field'>, version: number): void {
  const exact = isAllOnes(a.mask);
  if (version >= OFP15_VERSION) setField(w, a.field, a.value, version, exact ? undefined : a.mask);
  else if (a.load || a.raw === NXAST.REG_LOAD2) regLoad(w, a);
  else if (version < OFP12_VERSION) setFieldLegacy(w, a, version);
  else if (exact) setField(w, a.field, a.value, version);
  else regLoad(w, a);
}

function regMove(w: Writer, a: OfpactOf<'reg_move'>, version: number): void {
  const put = (before: number, after: number, v: number) => {
    w.putZeros(before);
    w.putU16(a.src.nBits);
    w.putU16(a.src.ofs);
    w.putU16(a.dst.ofs);
    w.putZeros(after);
    putOxmHeader(w, a.src.field, v, false);
    putOxmHeader(w, a.dst.field, v, false);
  };
  const onf = version === OFP13_VERSION && a.raw === ONFACT_COPY_FIELD;
  if (version >= OFP15_VERSION) action(w, OFPAT11.COPY_FIELD, () => put(0, 2, version));
  else if (onf) putOnf(w, ONFACT_COPY_FIELD, () => put(2, 2, version));
  else nicira(w, NXAST.REG_MOVE, () => put(0, 0, 0));
}

function controller(w: Writer, a: OfpactOf<'controller'>): void {
  if (!a.userdata?.length && !a.pause && a.meterId === undefined && a.raw !== NXAST.CONTROLLER2) {
    nicira(w, NXAST.CONTROLLER, () => {
      w.putU16(a.maxLen);
      w.putU16(a.controllerId);
      w.putU8(a.reason);
    });
    return;
  }
  nicira(w, NXAST.CONTROLLER2, () => controllerProps(w, a));
}

function controllerProps(w: Writer, a: OfpactOf<'controller'>): void {
  const prop = (type: number, put: () => void) => {
    const start = w.length;
    w.putU16(type);
    w.putU16(0);
    put();
    w.setU16(start + 2, w.length - start);
    w.padTo(8, start);
  };
  // A property of 16 bits has a length of 8, as those of OpenFlow have.
  const u16 = (n: number) => {
    w.putU16(n);
    w.putZeros(2);
  };
  w.putZeros(6);
  if (a.maxLen !== 0xffff) prop(0, () => u16(a.maxLen));
  if (a.controllerId !== 0) prop(1, () => u16(a.controllerId));
  if (a.reason !== 1) prop(2, () => w.putU8(a.reason));
  const { userdata, meterId } = a;
  if (userdata?.length) prop(3, () => w.putBytes(userdata));
  if (a.pause) prop(4, () => undefined);
  if (meterId !== undefined) prop(5, () => w.putU32(meterId));
}

function output(w: Writer, port: number, maxLen: number, version: number): void {
  action(w, OFPAT10.OUTPUT, () => {
    if (version === OFP10_VERSION) w.putU16(port & 0xffff);
    else w.putU32(port);
    w.putU16(maxLen);
  });
}

function outputReg(w: Writer, a: OfpactOf<'output_reg'>): void {
  const { field, ofs, nBits } = a.src;
  const wide = a.raw === NXAST.OUTPUT_REG2 || !nxmWord(field);
  nicira(w, wide ? NXAST.OUTPUT_REG2 : NXAST.OUTPUT_REG, () => {
    w.putU16(encodeOfsNbits(ofs, nBits));
    if (wide) {
      const end = w.length + 12;
      w.putU16(a.maxLen);
      putOxmHeader(w, field, 0, false);
      w.putZeros(end - w.length);
    } else {
      w.putU32(nxmWord(field));
      w.putU16(a.maxLen);
      w.putZeros(6);
    }
  });
}

/** In the form with a table, as ovs-ofctl sends it, unless it came without. */
function resubmit(w: Writer, a: OfpactOf<'resubmit'>): void {
  const inPort = a.inPort & 0xffff;
  if (a.tableId === 255 && a.raw === NXAST.RESUBMIT) {
    nicira(w, NXAST.RESUBMIT, () => w.putU16(inPort));
    return;
  }
  nicira(w, a.withCtOrig ? NXAST.RESUBMIT_TABLE_CT : NXAST.RESUBMIT_TABLE, () => {
    w.putU16(inPort);
    w.putU8(a.tableId);
  });
}

/** goto_table where there are no instructions. */
function gotoTable(w: Writer, tableId: number): void {
  nicira(w, NXAST.RESUBMIT_TABLE, () => {
    w.putU16(0xfff8);
    w.putU8(tableId);
  });
}

function stack(w: Writer, a: OfpactOf<'stack_push'> | OfpactOf<'stack_pop'>): void {
  const { field, ofs, nBits } = a.subfield;
  nicira(w, a.type === 'stack_push' ? NXAST.STACK_PUSH : NXAST.STACK_POP, () => {
    const start = w.length;
    w.putU16(ofs);
    putOxmHeader(w, field, 0, false);
    w.putU16(nBits);
    w.putZeros(24 - 10 - (w.length - start));
  });
}

function deleteField(w: Writer, a: OfpactOf<'delete_field'>): void {
  nicira(w, NXAST.DELETE_FIELD, () => {
    const start = w.length;
    putOxmHeader(w, a.field, 0, false);
    w.putZeros(14 - (w.length - start));
  });
}

function checkPktLarger(w: Writer, a: OfpactOf<'check_pkt_larger'>): void {
  nicira(w, NXAST.CHECK_PKT_LARGER, () => {
    const start = w.length;
    w.putU16(a.pktLen);
    w.putU16(a.dst.ofs);
    putOxmHeader(w, a.dst.field, 0, false);
    w.putZeros(14 - (w.length - start));
  });
}

function decTtl(w: Writer, { ids, raw }: OfpactOf<'dec_ttl'>, version: number): void {
  if (raw === NXAST.DEC_TTL_CNT_IDS || ids.length !== 1 || ids[0] !== 0) {
    nicira(w, NXAST.DEC_TTL_CNT_IDS, () => {
      w.putU16(ids.length);
      w.putZeros(4);
      for (const id of ids) w.putU16(id);
    });
  } else niciraBefore11(w, version, NXAST.DEC_TTL, OFPAT11.DEC_NW_TTL, () => undefined);
}

/** Nicira's in OpenFlow 1.0, with `pad` bytes in front of the body; a standard action later. */
function niciraBefore11(w: Writer, version: number, nx: number, standard: number, put: () => void, pad = 0): void {
  if (version !== OFP10_VERSION) {
    action(w, standard, put);
    return;
  }
  nicira(w, nx, () => {
    w.putZeros(pad);
    put();
  });
}

function enqueue(w: Writer, a: OfpactOf<'enqueue'>, version: number): void {
  if (version === OFP10_VERSION) {
    action(w, OFPAT10.ENQUEUE, () => {
      w.putU16(a.port & 0xffff);
      w.putZeros(6);
      w.putU32(a.queue);
    });
    return;
  }
  action(w, OFPAT11.SET_QUEUE, () => w.putU32(a.queue));
  output(w, a.port, 0xffff, version);
  nicira(w, NXAST.POP_QUEUE);
}

function setTunnel(w: Writer, { tunId, raw }: OfpactOf<'set_tunnel'>, version: number): void {
  if (version >= OFP12_VERSION) {
    const value = new Uint8Array(8);
    new DataView(value.buffer).setBigUint64(0, tunId);
    setField(w, TUN_ID, value, version);
  } else if (tunId <= 0xffffffffn && raw !== NXAST.SET_TUNNEL64) {
    nicira(w, NXAST.SET_TUNNEL, () => {
      w.putZeros(2);
      w.putU32(Number(tunId));
    });
  } else {
    nicira(w, NXAST.SET_TUNNEL64, () => {
      w.putZeros(6);
      w.putU64(tunId);
    });
  }
}

function setDscp(w: Writer, dscp: number, version: number): void {
  if (version >= OFP12_VERSION) setField(w, IP_DSCP, Uint8Array.of(dscp >> 2), version);
  else action(w, version === OFP10_VERSION ? OFPAT10.SET_NW_TOS : OFPAT11.SET_NW_TOS, () => w.putU8(dscp));
}

function setEcn(w: Writer, ecn: number, version: number): void {
  const value = Uint8Array.of(ecn);
  if (version >= OFP12_VERSION) setField(w, IP_ECN, value, version);
  else if (version === OFP11_VERSION) action(w, OFPAT11.SET_NW_ECN, () => w.putU8(ecn));
  else regLoad(w, { type: 'set_field', field: IP_ECN, value, mask: exactMask(IP_ECN), load: true });
}

/** OpenFlow 1.0 has no action for it; Nicira's field has. */
const NW_TTL = mf('nw_ttl');
function setTtl(w: Writer, ttl: number, version: number): void {
  if (version !== OFP10_VERSION) action(w, OFPAT11.SET_NW_TTL, () => w.putU8(ttl));
  else regLoad(w, { type: 'set_field', field: NW_TTL, value: Uint8Array.of(ttl), mask: exactMask(NW_TTL), load: true });
}

type Encoders = { [T in OfpactType]: (w: Writer, a: OfpactOf<T>, version: number) => void };

const ENCODERS: Encoders = {
  output: (w, a, v) => output(w, a.port, a.maxLen, v),
  output_trunc: (w, a) =>
    nicira(w, NXAST.OUTPUT_TRUNC, () => {
      w.putU16(a.port & 0xffff);
      w.putU32(a.maxLen);
    }),
  output_reg: outputReg,
  controller,
  enqueue,
  bundle: encodeBundle,
  multipath: encodeMultipath,
  learn: encodeLearn,
  sample: encodeSample,
  ct: (w, a, v) => encodeCt(w, a, (actions) => encodeActions(w, actions, v)),
  nat: encodeNat,
  encap: encodeEncap,
  decap: encodeDecap,
  delete_field: deleteField,
  check_pkt_larger: checkPktLarger,
  group: (w, a, v) => niciraBefore11(w, v, NXAST.GROUP, OFPAT11.GROUP, () => w.putU32(a.groupId), 2),
  set_field: encodeSetField,
  reg_move: regMove,
  set_vlan_vid: setVlanVid,
  set_vlan_pcp: setVlanPcp,
  strip_vlan: (w, _, v) => action(w, v === OFP10_VERSION ? OFPAT10.STRIP_VLAN : OFPAT11.POP_VLAN, () => w.putZeros(4)),
  // OpenFlow 1.0 can't say push_vlan; ovs-ofctl sends nothing for it either.
  push_vlan: (w, a, v) => {
    if (v !== OFP10_VERSION) action(w, OFPAT11.PUSH_VLAN, () => w.putU16(a.ethertype));
  },
  set_eth_src: (w, a, v) => setEth(w, ETH_SRC, a.mac, v),
  set_eth_dst: (w, a, v) => setEth(w, ETH_DST, a.mac, v),
  set_ipv4_src: (w, a, v) => setIpv4(w, IPV4_SRC, a.ip, v),
  set_ipv4_dst: (w, a, v) => setIpv4(w, IPV4_DST, a.ip, v),
  set_ip_dscp: (w, a, v) => setDscp(w, a.dscp, v),
  set_ip_ecn: (w, a, v) => setEcn(w, a.ecn, v),
  set_ip_ttl: (w, a, v) => setTtl(w, a.ttl, v),
  set_l4_src_port: setL4,
  set_l4_dst_port: setL4,
  dec_ttl: decTtl,
  set_mpls_label: (w, a, v) => {
    const f = mf('mpls_label');
    if (v >= OFP12_VERSION) setField(w, f, fieldValue(f, a.label), v);
    else niciraBefore11(w, v, NXAST.SET_MPLS_LABEL, OFPAT11.SET_MPLS_LABEL, () => w.putU32(a.label), 2);
  },
  set_mpls_tc: (w, a, v) => {
    if (v >= OFP12_VERSION) setField(w, mf('mpls_tc'), Uint8Array.of(a.tc), v);
    else niciraBefore11(w, v, NXAST.SET_MPLS_TC, OFPAT11.SET_MPLS_TC, () => w.putU8(a.tc));
  },
  set_mpls_ttl: (w, a, v) => niciraBefore11(w, v, NXAST.SET_MPLS_TTL, OFPAT11.SET_MPLS_TTL, () => w.putU8(a.ttl)),
  dec_mpls_ttl: (w, _, v) => niciraBefore11(w, v, NXAST.DEC_MPLS_TTL, OFPAT11.DEC_MPLS_TTL, () => undefined),
  push_mpls: (w, a, v) => niciraBefore11(w, v, NXAST.PUSH_MPLS, OFPAT11.PUSH_MPLS, () => w.putU16(a.ethertype)),
  pop_mpls: (w, a, v) => niciraBefore11(w, v, NXAST.POP_MPLS, OFPAT11.POP_MPLS, () => w.putU16(a.ethertype)),
  dec_nsh_ttl: (w) => nicira(w, NXAST.DEC_NSH_TTL),
  set_tunnel: setTunnel,
  set_queue: (w, a, v) => niciraBefore11(w, v, NXAST.SET_QUEUE, OFPAT11.SET_QUEUE, () => w.putU32(a.queue), 2),
  pop_queue: (w) => nicira(w, NXAST.POP_QUEUE),
  fin_timeout: (w, a) =>
    nicira(w, NXAST.FIN_TIMEOUT, () => {
      w.putU16(a.idleTimeout);
      w.putU16(a.hardTimeout);
    }),
  stack_push: stack,
  stack_pop: stack,
  resubmit,
  conjunction: (w, a) =>
    nicira(w, NXAST.CONJUNCTION, () => {
      w.putU8(a.clause);
      w.putU8(a.nClauses);
      w.putU32(a.id);
    }),
  note: (w, a) => nicira(w, NXAST.NOTE, () => w.putBytes(a.data)),
  exit: (w) => nicira(w, NXAST.EXIT),
  ct_clear: (w) => nicira(w, NXAST.CT_CLEAR),
  clone: (w, a, v) =>
    nicira(w, NXAST.CLONE, () => {
      w.putZeros(6);
      encodeActions(w, a.actions, v);
    }),
  debug_recirc: (w) => nicira(w, NXAST.DEBUG_RECIRC),
  debug_slow: (w) => nicira(w, NXAST.DEBUG_SLOW),
  // Instructions of 1.1+ as OpenFlow 1.0 says them.
  write_metadata: (w, a) =>
    nicira(w, NXAST.WRITE_METADATA, () => {
      w.putZeros(6);
      w.putU64(a.metadata);
      w.putU64(a.mask);
    }),
  goto_table: (w, a, v) => {
    if (v === OFP10_VERSION) gotoTable(w, a.tableId);
  },
  clear_actions: () => undefined,
  write_actions: () => undefined,
  meter: (w, a, v) => {
    if (v >= OFP15_VERSION) action(w, OFPAT11.METER, () => w.putU32(a.meterId));
  },
};

function encodeAction(w: Writer, a: Ofpact, version: number): void {
  const encode = ENCODERS[a.type] as (w: Writer, a: Ofpact, version: number) => void;
  encode(w, a, version);
}

/** Appends a list of actions. Instructions other than what OpenFlow 1.0 has words for are left out. */
export function encodeActions(w: Writer, actions: readonly Ofpact[], version: number): void {
  for (const a of actions) encodeAction(w, a, version);
}
