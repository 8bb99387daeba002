import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { Subfield } from './actions.ts';
import { getField, matchSetField } from './field.ts';
import { isMatchPrereqOk } from './field-prereq.ts';
import type { Match } from './match.ts';
import { metaFlowWarn } from './openflow-log.ts';

/** Parts of fields: whether they make sense, and their bits. */

function check(sf: Subfield, m: Match | undefined, kind: string): OfErrorName | undefined {
  const { field, ofs, nBits } = sf;
  if (nBits === 0) {
    metaFlowWarn(() => `zero bit ${kind} field ${field.name}`);
    return 'OFPBAC_BAD_SET_LEN';
  }
  if (ofs >= field.nBits) {
    metaFlowWarn(() => `bit offset ${ofs} exceeds ${field.nBits}-bit width of ${kind} field ${field.name}`);
    return 'OFPBAC_BAD_SET_LEN';
  }
  if (ofs + nBits > field.nBits) {
    metaFlowWarn(
      () => `bit offset ${ofs} and width ${nBits} exceeds ${field.nBits}-bit width of ${kind} field ${field.name}`,
    );
    return 'OFPBAC_BAD_SET_LEN';
  }
  if (m && !isMatchPrereqOk(m, field)) {
    metaFlowWarn(() => `${kind} field ${field.name} lacks correct prerequisites`);
    return 'OFPBAC_MATCH_INCONSISTENT';
  }
  return undefined;
}

/** What is wrong with reading `sf` from packets of `m` (absent: any packets). */
export function checkSrc(sf: Subfield, m?: Match): OfErrorName | undefined {
  return check(sf, m, 'source');
}

/** What is wrong with writing `sf` in packets of `m` (absent: any packets). */
export function checkDst(sf: Subfield, m?: Match): OfErrorName | undefined {
  const error = check(sf, m, 'destination');
  if (error || sf.field.writable) return error;
  metaFlowWarn(() => `destination field ${sf.field.name} is not writable`);
  return 'OFPBAC_BAD_SET_ARGUMENT';
}

const bitOf = (b: Uint8Array, bit: number): number =>
  bit < b.length * 8 ? (b[b.length - 1 - (bit >> 3)] >> (bit & 7)) & 1 : 0;

/** Copies `nBits` bits; bit 0 is the least significant of the last byte. */
export function copyBits(src: Uint8Array, srcOfs: number, dst: Uint8Array, dstOfs: number, nBits: number): void {
  for (let i = 0; i < nBits; i++) {
    const at = dst.length - 1 - ((dstOfs + i) >> 3);
    const bit = 1 << ((dstOfs + i) & 7);
    dst[at] = bitOf(src, srcOfs + i) ? dst[at] | bit : dst[at] & ~bit;
  }
}

/** Sets `nBits` bits from `ofs`. */
export function setBits(dst: Uint8Array, ofs: number, nBits: number): void {
  for (let i = ofs; i < ofs + nBits; i++) dst[dst.length - 1 - (i >> 3)] |= 1 << (i & 7);
}

/** True when no bit above the lowest `nBits` is set. */
export function fitsBits(b: Uint8Array, nBits: number): boolean {
  for (let i = nBits; i < b.length * 8; i++) if (bitOf(b, i)) return false;
  return true;
}

/** Bits `ofs`… of `b` as a number. */
export function bitsOf(b: Uint8Array, ofs: number, nBits: number): bigint {
  let n = 0n;
  for (const byte of b) n = (n << 8n) | BigInt(byte);
  return (n >> BigInt(ofs)) & ((1n << BigInt(nBits)) - 1n);
}

/** Adds the low bits of `bits` as the subfield's value to what a match wants. Returns matchSetField's error. */
export function matchSetSubfield(m: Match, sf: Subfield, bits: Uint8Array): string | undefined {
  const value = getField(m.flow, sf.field);
  const mask = getField(m.wc, sf.field);
  copyBits(bits, 0, value, sf.ofs, sf.nBits);
  setBits(mask, sf.ofs, sf.nBits);
  return matchSetField(m, sf.field, value, mask.every((b) => b === 0xff) ? undefined : mask);
}
