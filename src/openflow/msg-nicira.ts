import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { emptyCodec, type MessageCodec, type MessageCodecs } from './message-codec.ts';
import type { IpfixStats, PacketInFormat, TlvMap, TlvTableCommand } from './messages-nicira.ts';
import { CT_FLUSH } from './msg-ct-flush.ts';

/** Nicira's messages about formats, tunnel options, conntrack and IPFIX. */

const log = vlogModule('ofp_packet');
const rl = new VlogRateLimit(1, 5);

const PACKET_IN_FORMATS: readonly PacketInFormat[] = ['standard', 'nxt_packet_in', 'nxt_packet_in2'];

const setPacketInFormat: MessageCodec<'set_packet_in_format'> = {
  decode(r) {
    const n = r.readU32();
    if (n >= PACKET_IN_FORMATS.length) {
      log.warnRl(rl, `NXT_SET_PACKET_IN_FORMAT message specified invalid packet-in format ${n}`);
      throw new OfDecodeError('OFPBRC_EPERM');
    }
    return { type: 'set_packet_in_format', format: PACKET_IN_FORMATS[n] };
  },
  encode: (w, m) => w.putU32(PACKET_IN_FORMATS.indexOf(m.format)),
};

const NXFF_NXM = 2;

const setFlowFormat: MessageCodec<'set_flow_format'> = {
  decode(r) {
    const n = r.readU32();
    if (n !== 0 && n !== NXFF_NXM) throw new OfDecodeError('OFPBRC_EPERM');
    return { type: 'set_flow_format', format: n === NXFF_NXM ? 'nxm' : 'openflow10' };
  },
  encode: (w, m) => w.putU32(m.format === 'nxm' ? NXFF_NXM : 0),
};

const flowModTableId: MessageCodec<'flow_mod_table_id'> = {
  decode(r) {
    const enable = r.readU8() !== 0;
    r.skip(7);
    return { type: 'flow_mod_table_id', enable };
  },
  encode(w, m) {
    w.putU8(m.enable ? 1 : 0);
    w.putZeros(7);
  },
};

const setControllerId: MessageCodec<'set_controller_id'> = {
  decode(r) {
    if (!r.zeros(6)) throw new OfDecodeError('NXBRC_MUST_BE_ZERO');
    return { type: 'set_controller_id', controllerId: r.readU16() };
  },
  encode(w, m) {
    w.putZeros(6);
    w.putU16(m.controllerId);
  },
};

const TLV_COMMANDS: readonly TlvTableCommand[] = ['add', 'delete', 'clear'];
/** Fields that can be mapped, and bytes of the longest option. */
const TUN_METADATA_NUM_OPTS = 64;
const TLV_MAX_OPT_SIZE = 124;

function pullTlvMaps(r: Reader, maxFields: number): TlvMap[] {
  const out: TlvMap[] = [];
  while (r.left > 0) {
    const [optionClass, optionType, optionLen, index] = [r.readU16(), r.readU8(), r.readU8(), r.readU16()];
    r.skip(2);
    if (optionLen % 4 || optionLen > TLV_MAX_OPT_SIZE) throw new OfDecodeError('NXTTMFC_BAD_OPT_LEN');
    if (index >= maxFields) throw new OfDecodeError('NXTTMFC_BAD_FIELD_IDX');
    out.push({ optionClass, optionType, optionLen, index });
  }
  return out;
}

function putTlvMaps(w: Writer, mappings: readonly TlvMap[]): void {
  for (const m of mappings) {
    w.putU16(m.optionClass);
    w.putU8(m.optionType);
    w.putU8(m.optionLen);
    w.putU16(m.index);
    w.putZeros(2);
  }
}

const tlvTableMod: MessageCodec<'nxt_tlv_table_mod'> = {
  decode(r) {
    const command = TLV_COMMANDS[r.readU16()];
    r.skip(6);
    if (!command) throw new OfDecodeError('NXTTMFC_BAD_COMMAND');
    return { type: 'nxt_tlv_table_mod', command, mappings: pullTlvMaps(r, TUN_METADATA_NUM_OPTS) };
  },
  encode(w, m) {
    w.putU16(TLV_COMMANDS.indexOf(m.command));
    w.putZeros(6);
    putTlvMaps(w, m.mappings);
  },
};

const tlvTableReply: MessageCodec<'nxt_tlv_table_reply'> = {
  decode(r) {
    const [maxOptionSpace, maxFields] = [r.readU32(), r.readU16()];
    r.skip(10);
    return { type: 'nxt_tlv_table_reply', maxOptionSpace, maxFields, mappings: pullTlvMaps(r, maxFields) };
  },
  encode(w, m) {
    w.putU32(m.maxOptionSpace);
    w.putU16(m.maxFields);
    w.putZeros(10);
    putTlvMaps(w, m.mappings);
  },
};

const ctFlushZone: MessageCodec<'ct_flush_zone'> = {
  decode(r) {
    if (!r.zeros(6)) throw new OfDecodeError('NXBRC_MUST_BE_ZERO');
    return { type: 'ct_flush_zone', zoneId: r.readU16() };
  },
  encode(w, m) {
    w.putZeros(6);
    w.putU16(m.zoneId);
  },
};

const IPFIX_COUNTERS = [
  'totalFlows',
  'currentFlows',
  'pkts',
  'ipv4Pkts',
  'ipv6Pkts',
  'errorPkts',
  'ipv4ErrorPkts',
  'ipv6ErrorPkts',
  'txPkts',
  'txErrors',
] as const satisfies readonly (keyof IpfixStats)[];

function pullIpfix(r: Reader): IpfixStats {
  const counters = Object.fromEntries(IPFIX_COUNTERS.map((name) => [name, r.readU64()]));
  const collectorSetId = r.readU32();
  r.skip(4);
  return { collectorSetId, ...counters } as IpfixStats;
}

function putIpfix(w: Writer, s: IpfixStats): void {
  for (const name of IPFIX_COUNTERS) w.putU64(s[name]);
  w.putU32(s.collectorSetId);
  w.putZeros(4);
}

const ipfixBridge: MessageCodec<'ipfix_bridge_stats_reply'> = {
  decode: (r) => ({ type: 'ipfix_bridge_stats_reply', stats: pullIpfix(r) }),
  encode: (w, m) => putIpfix(w, m.stats),
};

const ipfixFlow: MessageCodec<'ipfix_flow_stats_reply'> = {
  decode(r, { more }) {
    const stats: IpfixStats[] = [];
    while (r.left > 0) stats.push(pullIpfix(r));
    return { type: 'ipfix_flow_stats_reply', stats, more };
  },
  encode(w, m) {
    for (const s of m.stats) putIpfix(w, s);
  },
  parts: (m) => m.stats.map((s) => (w) => putIpfix(w, s)),
};

export const NICIRA: MessageCodecs = {
  set_packet_in_format: setPacketInFormat,
  set_flow_format: setFlowFormat,
  flow_mod_table_id: flowModTableId,
  set_controller_id: setControllerId,
  flow_age: emptyCodec({ type: 'flow_age' }),
  ct_flush_zone: ctFlushZone,
  ct_flush: CT_FLUSH,
  ipfix_bridge_stats_request: emptyCodec({ type: 'ipfix_bridge_stats_request' }),
  ipfix_bridge_stats_reply: ipfixBridge,
  ipfix_flow_stats_request: emptyCodec({ type: 'ipfix_flow_stats_request' }),
  ipfix_flow_stats_reply: ipfixFlow,
  nxt_tlv_table_mod: tlvTableMod,
  nxt_tlv_table_request: emptyCodec({ type: 'nxt_tlv_table_request' }),
  nxt_tlv_table_reply: tlvTableReply,
};
