import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { emptyCodec, type MessageCodec, type MessageCodecs } from './message-codec.ts';
import type { TlvMap, TlvTableCommand } from './messages-nicira.ts';

/** Nicira's messages about tunnel options and conntrack. */

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

export const NICIRA: MessageCodecs = {
  nxt_tlv_table_mod: tlvTableMod,
  nxt_tlv_table_request: emptyCodec({ type: 'nxt_tlv_table_request' }),
  nxt_tlv_table_reply: tlvTableReply,
};
