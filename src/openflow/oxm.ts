import { FIELDS, type MatchField, type OxmHeader } from '../../protocols/fields.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { nxMatchWarn } from './openflow-log.ts';
import { significantLength } from './tun-metadata.ts';

/**
 * NXM and OXM headers (ovs-fields(7), OpenFlow 1.3 section 7.2.3.2): class (16 bits), field (7), has-mask (1), length (8); class 0xffff
 * is followed by a 32-bit experimenter id, which the length counts.
 */

const EXPERIMENTER = 0xffff;

/** Lookup key of a header: exact as a double. */
function mfKey(oxmClass: number, number: number, experimenter: number): number {
  return (experimenter * 0x10000 + oxmClass) * 128 + number;
}

const byKey = new Map<number, MatchField>();
for (const f of FIELDS) for (const h of f.headers) byKey.set(mfKey(h.oxmClass, h.number, h.experimenter), f);
const byOxmName = new Map<string, MatchField>();
for (const f of FIELDS) for (const h of f.headers) byOxmName.set(h.name, f);

/** The field of an NXM or OXM name (`NXM_OF_ETH_SRC`). */
export function fieldByOxmName(name: string): MatchField | undefined {
  return byOxmName.get(name);
}

/** What a header says. `field` undefined: unknown, or its length is wrong. `length`: bytes of the payload. */
export interface OxmEntry {
  field: MatchField | undefined;
  hasMask: boolean;
  length: number;
  /** It is known, but with another length. */
  badLength: boolean;
  /** The header itself, and the experimenter behind it (0: none). */
  word: number;
  experimenter: number;
}

/** Reads one header. The result is reused by the next call. */
export function readOxmHeader(r: Reader, entry: OxmEntry): void {
  const word = r.readU32();
  const oxmClass = word >>> 16;
  const number = (word >>> 9) & 0x7f;
  entry.hasMask = (word & 0x100) !== 0;
  entry.length = word & 0xff;
  entry.word = word;
  let experimenter = 0;
  if (oxmClass === EXPERIMENTER) {
    experimenter = r.readU32();
    if (entry.length < 4) {
      entry.experimenter = experimenter;
      nxMatchWarn(() => `OXM header ${headerText(entry)} has invalid length ${entry.length} (minimum is 8)`);
      throw new OfDecodeError('OFPBMC_BAD_LEN');
    }
    entry.length -= 4;
  }
  entry.experimenter = experimenter;
  const f = byKey.get(mfKey(oxmClass, number, experimenter));
  const width = entry.hasMask ? entry.length / 2 : entry.length;
  entry.badLength = f !== undefined && !f.variableLength && width !== f.nBytes;
  entry.field = f && !entry.badLength ? f : undefined;
}

/** Field 30 of class 1 is mpls_ttl too: the length tells them apart. */
/** An entry for `readOxmHeader` to fill. */
export function newOxmEntry(): OxmEntry {
  return { field: undefined, hasMask: false, length: 0, badLength: false, word: 0, experimenter: 0 };
}

/** `vendor:class:field:hasmask:length`, as the log names a header. */
export function headerText({ word, experimenter }: OxmEntry): string {
  const vendor = experimenter ? `0x${experimenter.toString(16)}` : '0';
  return `${vendor}:${word >>> 16}:${(word >>> 9) & 0x7f}:${(word >>> 8) & 1}:${word & 0xff}`;
}

/** Throws when the `width` bytes at `at` have a bit that the mask behind them has not. */
export function checkMaskCovers(u8: Uint8Array, at: number, width: number, entry: OxmEntry): void {
  for (let i = at; i < at + width; i++) {
    if (!(u8[i] & ~u8[i + width])) continue;
    nxMatchWarn(
      () => `Rejecting NXM/OXM entry ${headerText(entry)} with 1-bits in value for bits wildcarded by the mask.`,
    );
    throw new OfDecodeError('OFPBMC_BAD_WILDCARDS');
  }
}

export const isCookieHeader = (word: number): boolean => word === 0x0001_3c08 || word === 0x0001_3d10;

/** The header that writes `f` in wire version `version`; 0 prefers NXM. Undefined: the field has none. */
export function oxmHeaderOf(f: MatchField, version: number): OxmHeader | undefined {
  let best: OxmHeader | undefined = f.headers[0];
  for (const h of f.headers) if (version >= h.version) best = h;
  return best;
}

/** Per wire version (0 = NXM) and field id: the first word of an exact header, 0 when there is none; and its experimenter. */
const WORDS: Uint32Array[] = [];
const EXPERIMENTERS: Uint32Array[] = [];
for (let version = 0; version <= 6; version++) {
  WORDS.push(new Uint32Array(FIELDS.length));
  EXPERIMENTERS.push(new Uint32Array(FIELDS.length));
  for (const f of FIELDS) {
    const h = oxmHeaderOf(f, version);
    if (!h) continue;
    const length = f.nBytes + (h.experimenter ? 4 : 0);
    WORDS[version][f.id] = ((h.oxmClass << 16) | (h.number << 9) | (length & 0xff)) >>> 0;
    EXPERIMENTERS[version][f.id] = h.experimenter;
  }
}

/**
 * Appends the header alone, for a value of `nBytes` (tunnel metadata has any width). Throws when the field has no header in any version.
 */
export function putOxmHeader(w: Writer, f: MatchField, version: number, hasMask: boolean, nBytes = f.nBytes): void {
  const word = WORDS[version][f.id];
  if (word === 0 && f.headers.length === 0) throw new Error(`${f.name} can't be written in NXM or OXM`);
  const experimenter = EXPERIMENTERS[version][f.id];
  const length = (experimenter ? 4 : 0) + (hasMask ? 2 * nBytes : nBytes);
  w.putU32(((word & ~0x1ff) | (hasMask ? 0x100 : 0) | (length & 0xff)) >>> 0);
  if (experimenter) w.putU32(experimenter);
}

/** Appends header, value and mask; an all-ones mask is `undefined`. */
export function putOxm(w: Writer, f: MatchField, version: number, value: Uint8Array, mask?: Uint8Array): void {
  if (f.variableLength) {
    const n = Math.max(significantLength(value), mask ? significantLength(mask) : 0);
    putOxmBytes(w, f, version, value.subarray(value.length - n), mask?.subarray(mask.length - n));
  } else putOxmBytes(w, f, version, value, mask);
}

/** The same with all the bytes that are given, for tunnel metadata whose width is known. */
export function putOxmBytes(w: Writer, f: MatchField, version: number, value: Uint8Array, mask?: Uint8Array): void {
  putOxmHeader(w, f, version, mask !== undefined, value.length);
  w.putBytes(value);
  if (mask) w.putBytes(mask);
}
