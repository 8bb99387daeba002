import type { MatchField } from '../../protocols/fields.ts';
import { NX_VENDOR_ID, ONF_VENDOR_ID } from '../../protocols/openflow.ts';
import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { newOxmEntry, oxmHeaderOf, readOxmHeader } from './oxm.ts';

/** What the bytes of actions have in common: their frame, and the ways to name a field. */

/** Appends an action of `type`, whose body `put` writes; pads it to a multiple of 8 and fills in its length. */
export function putAction(w: Writer, type: number, put?: () => void): void {
  const start = w.length;
  w.putU16(type);
  w.putU16(0);
  put?.();
  w.padTo(8, start);
  w.setU16(start + 2, w.length - start);
}

/** Appends an experimenter's action; the body starts at byte 10. */
function putVendor(w: Writer, vendor: number, subtype: number, put?: () => void): void {
  putAction(w, 0xffff, () => {
    w.putU32(vendor);
    w.putU16(subtype);
    put?.();
  });
}

export const putNicira = (w: Writer, subtype: number, put?: () => void): void =>
  putVendor(w, NX_VENDOR_ID, subtype, put);
export const putOnf = (w: Writer, subtype: number, put?: () => void): void => putVendor(w, ONF_VENDOR_ID, subtype, put);

/** `ofs_nbits`: offset in the upper 10 bits, number of bits less one in the lower 6. */
export const encodeOfsNbits = (ofs: number, nBits: number): number => (ofs << 6) | (nBits - 1);
export function decodeOfsNbits(word: number): { ofs: number; nBits: number } {
  return { ofs: word >> 6, nBits: (word & 0x3f) + 1 };
}

/** The field's NXM header where only 4 bytes can be written; 0 when it is an experimenter's. */
export function nxmWord(f: MatchField): number {
  const h = oxmHeaderOf(f, 0);
  if (!h || h.experimenter) return 0;
  return ((h.oxmClass << 16) | (h.number << 9) | (f.nBytes & 0xff)) >>> 0;
}

const entry = newOxmEntry();

/** With a bridge's TLV table, tunnel metadata has its option's width, and must be mapped. */
export function mappedField(r: Reader, f: MatchField): MatchField {
  if (!f.variableLength || !r.tunTable) return f;
  const mapped = r.tunTable.field(f);
  if (!mapped) throw new OfDecodeError('NXFMFC_INVALID_TLV_FIELD', f.name);
  return mapped;
}

/** Reads a field's header, which may be an experimenter's, without a value. */
export function pullFieldHeader(r: Reader): MatchField {
  r.error = 'OFPBMC_BAD_LEN';
  readOxmHeader(r, entry);
  if (!entry.field) throw new OfDecodeError('OFPBMC_BAD_FIELD');
  if (entry.hasMask) throw new OfDecodeError('OFPBMC_BAD_MASK');
  return mappedField(r, entry.field);
}

/** Reads a field's header of 4 bytes. */
export function pullNxmField(r: Reader): MatchField {
  const at = r.pos;
  readOxmHeader(r, entry);
  const { field } = entry;
  if (!field || r.pos - at !== 4) throw new OfDecodeError('OFPBAC_BAD_SET_TYPE');
  return mappedField(r, field);
}

/** What is left of an action must be zero. */
export function mustBeZero(r: Reader, error: OfErrorName = 'NXBRC_MUST_BE_ZERO'): void {
  if (!r.zeros(r.left)) throw new OfDecodeError(error);
}

/** Throws what a check returned. */
export function throwError(error: OfErrorName | undefined): void {
  if (error) throw new OfDecodeError(error);
}
