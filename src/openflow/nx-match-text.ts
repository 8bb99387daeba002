import { FIELDS, type MatchField, type OxmHeader } from '../../protocols/fields.ts';
import { Reader, Writer } from './buffer.ts';
import { FlowTextError } from './field-text.ts';

/**
 * NXM and OXM matches as rows of `NXM_OF_IP_SRC_W(c0a80000/ffff0000)`: what is on the wire, nothing interpreted. `<any>` is the empty
 * match. A field without a name is its header in hexadecimal digits (reading), or `class:number` (printing).
 */

const EXPERIMENTER = 0xffff;
const COOKIE = 'NXM_NX_COOKIE';
const NX_CLASS = 1;
const COOKIE_NUMBER = 30;

interface Header {
  oxmClass: number;
  number: number;
  hasMask: boolean;
  /** Bytes that follow the first four. */
  length: number;
  experimenter: number;
}

const keyOf = (h: Pick<Header, 'oxmClass' | 'number' | 'experimenter'>): string =>
  `${h.oxmClass}:${h.number}:${h.experimenter}`;

interface Named {
  field: MatchField;
  header: OxmHeader;
}
const byName = new Map<string, Named>();
const byKey = new Map<string, Named>();
for (const field of FIELDS) {
  for (const header of field.headers) {
    byName.set(header.name, { field, header });
    byKey.set(keyOf(header), { field, header });
  }
}

/** Bytes of the experimenter's id in the length. */
const extra = (h: Header): number => (h.oxmClass === EXPERIMENTER ? 4 : 0);
/** mpls_ttl has the same class and number, and another length. */
const isCookie = (h: Header): boolean =>
  h.oxmClass === NX_CLASS && h.number === COOKIE_NUMBER && h.length === (h.hasMask ? 16 : 8);
/** Bytes of a value. */
const width = (h: Header): number => (h.hasMask ? (h.length - extra(h)) >> 1 : h.length - extra(h));

function nameOf(h: Header): string {
  const known = isCookie(h) ? COOKIE : byKey.get(keyOf(h))?.header.name;
  return known === undefined ? `${h.oxmClass}:${h.number}` : `${known}${h.hasMask ? '_W' : ''}`;
}

function splitHeader(word: number, experimenter: number): Header {
  return {
    oxmClass: word >>> 16,
    number: (word >>> 9) & 0x7f,
    hasMask: (word & 0x100) !== 0,
    length: word & 0xff,
    experimenter,
  };
}

/** The next entry, undefined when what is left is none. */
function pullEntry(r: Reader): string | undefined {
  if (r.left < 4) return undefined;
  const word = r.peekU32();
  const experimental = word >>> 16 === EXPERIMENTER;
  if (r.left < (experimental ? 8 : 4)) return undefined;
  const h = splitHeader(word, experimental ? r.view.getUint32(r.pos + 4) : 0);
  const size = h.length - extra(h);
  if (size < 0) return undefined;
  r.skip(4 + extra(h));
  if (size > r.left) return undefined;
  const n = width(h);
  const value = r.bytes(n);
  const mask = h.hasMask ? r.bytes(n) : undefined;
  r.skip(size - (h.hasMask ? 2 : 1) * n);
  if (mask && value.some((b, i) => b & ~mask[i])) return undefined;
  const digits = (b: Uint8Array) => Buffer.from(b).toString('hex');
  return `${nameOf(h)}(${digits(value)}${mask ? `/${digits(mask)}` : ''})`;
}

/** The entries of a match without its header; what can't be read is counted at the end. */
export function nxMatchToString(bytes: Uint8Array): string {
  if (bytes.length === 0) return '<any>';
  const r = new Reader(bytes);
  const out: string[] = [];
  while (r.left > 0) {
    const entry = pullEntry(r);
    if (entry === undefined) break;
    out.push(entry);
  }
  if (r.left > 0) out.push(`<${r.left} invalid bytes>`);
  return out.join(', ');
}

/** A match with the header of OpenFlow 1.2+; `bytes` may go on after it. */
export function oxmMatchToString(bytes: Uint8Array, length: number): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (length < 4 || bytes.length < length) return `<match too short: ${length}>`;
  const type = view.getUint16(0);
  if (type !== 1) return `<bad match type field: ${type}>`;
  const said = view.getUint16(2);
  if (said < 4) return `<match length field too short: ${said}>`;
  if (said !== length) return `<match length field incorrect: ${said} != ${length}>`;
  return nxMatchToString(bytes.subarray(4, length));
}

function headerFromName(name: string): Header | undefined {
  const plain = name.replace(/_W$/, '');
  const masked = plain !== name;
  const known = byName.get(name) ?? (masked ? byName.get(plain) : undefined);
  if (known && (!masked || byName.has(name) || known.field.maskable)) {
    const { oxmClass, number, experimenter } = known.header;
    const hasMask = masked && !byName.has(name);
    const length = known.field.nBytes * (hasMask ? 2 : 1) + (oxmClass === EXPERIMENTER ? 4 : 0);
    return { oxmClass, number, experimenter, hasMask, length: length & 0xff };
  }
  if (plain === COOKIE)
    return { oxmClass: NX_CLASS, number: COOKIE_NUMBER, experimenter: 0, hasMask: masked, length: masked ? 16 : 8 };
  if (!/^([0-9a-fA-F]{8}){1,2}$/.test(name)) return undefined;
  const word = Number.parseInt(name.slice(0, 8), 16);
  const experimental = word >>> 16 === EXPERIMENTER;
  if (name.length === 16 && !experimental) return undefined;
  return splitHeader(word, name.length === 16 ? Number.parseInt(name.slice(8), 16) : 0);
}

/** Reads hexadecimal digits from `at`, two a byte, with white space between bytes. */
function pullHex(s: string, at: number): { bytes: number[]; end: number } {
  const bytes: number[] = [];
  for (;;) {
    const m = /^[ \t\r\n]*(?:0[xX])?([0-9a-fA-F]{2})/.exec(s.slice(at, at + 16));
    if (!m) return { bytes, end: at };
    bytes.push(Number.parseInt(m[1], 16));
    at += m[0].length;
  }
}

function putHeader(w: Writer, h: Header): void {
  w.putU32(((h.oxmClass << 16) | (h.number << 9) | (h.hasMask ? 0x100 : 0) | h.length) >>> 0);
  if (h.oxmClass === EXPERIMENTER) w.putU32(h.experimenter);
}

/** The length of the header for a value of `n` bytes; a field of variable length may have a shorter one than it says. */
function fitLength(h: Header, n: number): void {
  if (n === width(h)) return;
  const field = byKey.get(keyOf(h))?.field;
  if (!field?.variableLength) throw new FlowTextError(`expected to read ${width(h)} bytes but got ${n}`);
  if (n > field.nBytes) throw new FlowTextError(`expected to read at most ${field.nBytes} bytes but got ${n}`);
  h.length = (h.hasMask ? n * 2 : n) + extra(h);
}

/** Appends the entries of `s`, without a header or padding. Throws FlowTextError. */
export function putNxMatchText(w: Writer, s: string): void {
  if (s === '<any>') return;
  const blanks = (at: number, set: RegExp) => at + (set.exec(s.slice(at))?.[0].length ?? 0);
  for (let at = blanks(0, /^[, ]*/); at < s.length; at = blanks(at, /^[, ]*/)) {
    const open = s.indexOf('(', at);
    if (open < 0) throw new FlowTextError(`${s}: missing ( at end of nx_match`);
    const name = s.slice(at, open);
    const h = headerFromName(name);
    if (!h) throw new FlowTextError(`${s}: unknown field \`${name}'`);
    const value = pullHex(s, open + 1);
    fitLength(h, value.bytes.length);
    putHeader(w, h);
    w.putBytes(Uint8Array.from(value.bytes));
    at = blanks(value.end, /^ */);
    if (h.hasMask) {
      if (s[at] !== '/') throw new FlowTextError(`${s}: missing / in masked field ${name}`);
      const mask = pullHex(s, at + 1);
      if (mask.bytes.length !== width(h))
        throw new FlowTextError(`${s.slice(mask.end, mask.end + 2)}: hex digits expected`);
      w.putBytes(Uint8Array.from(mask.bytes));
      at = blanks(mask.end, /^ */);
    }
    if (s[at] !== ')') throw new FlowTextError(`${s}: missing ) following field ${name}`);
    at++;
  }
}

/** Bytes of an NXM match, padded to a multiple of 8, and its length without the padding. */
export function nxMatchFromString(s: string): { bytes: Uint8Array; length: number } {
  const w = new Writer();
  putNxMatchText(w, s);
  const length = w.length;
  w.padTo(8);
  return { bytes: w.done(), length };
}

/** Bytes of an OXM match with its header, padded to a multiple of 8, and its length without the padding. */
export function oxmMatchFromString(s: string): { bytes: Uint8Array; length: number } {
  const w = new Writer();
  w.putU16(1);
  w.putU16(0);
  putNxMatchText(w, s);
  const length = w.length;
  w.setU16(2, length);
  w.padTo(8);
  return { bytes: w.done(), length };
}
