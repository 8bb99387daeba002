import { FIELDS, type MatchField } from '../../protocols/fields.ts';
import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { Flow, FlowWildcards, Match } from '../flow/flow.ts';
import type { TunLayout, TunLoc } from '../flow/tun-layout.ts';
import type { TlvMap, TlvTableCommand } from './messages-nicira.ts';

/**
 * tun_metadata0…63: options of a tunnel's header (Geneve), as a bridge's TLV table (NXT_TLV_TABLE_MOD) maps them to fields. The table
 * gives each mapped field a place in the Flow's 256 bytes; a match that is read without a table (a client's) lays its fields out one
 * after the other. Rules of a bridge and packets of it use the same table, so their bytes compare.
 */

export const TUN_METADATA_NUM_OPTS = 64;
export const TUN_METADATA_TOT_OPT_SIZE = 256;

const FIRST = FIELDS.findIndex((f) => f.name === 'tun_metadata0');

export function isTunMetadata(f: MatchField): boolean {
  return f.id >= FIRST && f.id < FIRST + TUN_METADATA_NUM_OPTS;
}

/** n of tun_metadata<n>. */
export const tunMetadataIndex = (f: MatchField): number => f.id - FIRST;

interface TunEntry extends TunLoc {
  readonly optionClass: number;
  readonly optionType: number;
  /** The field with the width that the option has. */
  readonly field: MatchField;
}

/** A bridge's mapping; immutable, `mod` makes the next one. */
export class TunTable implements TunLayout {
  readonly #entries: readonly (TunEntry | undefined)[];

  private constructor(entries: readonly (TunEntry | undefined)[]) {
    this.#entries = entries;
  }

  static readonly EMPTY = new TunTable(new Array(TUN_METADATA_NUM_OPTS).fill(undefined));

  loc(index: number): TunLoc | undefined {
    return this.#entries[index];
  }

  /** The field with its option's width; undefined: not mapped. */
  field(f: MatchField): MatchField | undefined {
    return this.#entries[tunMetadataIndex(f)]?.field;
  }

  /** The index that an option is mapped to. */
  indexOf(optionClass: number, optionType: number): number | undefined {
    const at = this.#entries.findIndex((e) => e?.optionClass === optionClass && e.optionType === optionType);
    return at < 0 ? undefined : at;
  }

  /** What NXT_TLV_TABLE_REPLY lists, by rising index. */
  mappings(): TlvMap[] {
    return this.#entries.flatMap((e, index) =>
      e ? [{ optionClass: e.optionClass, optionType: e.optionType, optionLen: e.len, index }] : [],
    );
  }

  /**
   * The table after NXT_TLV_TABLE_MOD, or why there is none. `inUse` has a bit for each index that actions of a rule refer to
   * (`tlvBitmap`): those can't be taken away.
   */
  mod(command: TlvTableCommand, mappings: readonly TlvMap[], inUse = 0n): TunTable | OfErrorName {
    switch (command) {
      case 'add':
        return this.#add(mappings);
      case 'delete':
        return this.#delete(mappings, inUse);
      case 'clear':
        return inUse ? 'NXTTMFC_INVALID_TLV_DEL' : TunTable.EMPTY;
    }
  }

  #add(mappings: readonly TlvMap[]): TunTable | OfErrorName {
    const entries = [...this.#entries];
    for (const m of mappings) {
      if (m.index >= TUN_METADATA_NUM_OPTS) return 'NXTTMFC_BAD_FIELD_IDX';
      if (entries[m.index]) return 'NXTTMFC_ALREADY_MAPPED';
      if (entries.some((e) => e?.optionClass === m.optionClass && e.optionType === m.optionType))
        return 'NXTTMFC_DUP_ENTRY';
      const chunks = allocate(entries, m.optionLen);
      if (!chunks) return 'NXTTMFC_TABLE_FULL';
      entries[m.index] = {
        optionClass: m.optionClass,
        optionType: m.optionType,
        len: m.optionLen,
        chunks,
        field: { ...FIELDS[FIRST + m.index], nBytes: m.optionLen, nBits: m.optionLen * 8, mapped: true },
      };
    }
    return new TunTable(entries);
  }

  #delete(mappings: readonly TlvMap[], inUse: bigint): TunTable | OfErrorName {
    if (mappings.some((m) => m.index >= TUN_METADATA_NUM_OPTS)) return 'NXTTMFC_BAD_FIELD_IDX';
    const gone = new Set(mappings.map((m) => m.index));
    for (const index of gone)
      if (this.#entries[index] && (inUse >> BigInt(index)) & 1n) return 'NXTTMFC_INVALID_TLV_DEL';
    return new TunTable(this.#entries.map((e, i) => (gone.has(i) ? undefined : e)));
  }
}

/** Space for `len` bytes, in words of 4: the first hole that is large enough, or the largest ones there are. */
function allocate(
  entries: readonly (TunEntry | undefined)[],
  len: number,
): { offset: number; len: number }[] | undefined {
  const used = new Array<boolean>(TUN_METADATA_TOT_OPT_SIZE / 4).fill(false);
  for (const e of entries) for (const c of e?.chunks ?? []) used.fill(true, c.offset / 4, (c.offset + c.len) / 4);
  const chunks: { offset: number; len: number }[] = [];
  for (let left = len / 4; left > 0; ) {
    const hole = findHole(used, left);
    if (!hole) return undefined;
    used.fill(true, hole.start, hole.start + hole.size);
    chunks.push({ offset: hole.start * 4, len: hole.size * 4 });
    left -= hole.size;
  }
  return chunks;
}

function findHole(used: readonly boolean[], want: number): { start: number; size: number } | undefined {
  let best: { start: number; size: number } | undefined;
  for (let start = used.indexOf(false); start >= 0; start = used.indexOf(false, start)) {
    let size = 0;
    while (size < want && start + size < used.length && !used[start + size]) size++;
    if (size === want) return { start, size };
    if (size > (best?.size ?? 0)) best = { start, size };
    start += size;
  }
  return best;
}

/** The layout of one match that was read without a table: fields one after the other. */
class TunAllocation implements TunLayout {
  readonly #locs: (TunLoc | undefined)[] = [];
  #used = 0;

  loc(index: number): TunLoc | undefined {
    return this.#locs[index];
  }

  /** An error's text when there is no room. */
  add(index: number, name: string, len: number, masked: boolean): string | undefined {
    if (this.#used + len > TUN_METADATA_TOT_OPT_SIZE)
      return `field ${name} exceeds maximum size for tunnel metadata (used ${this.#used + len}, max ${TUN_METADATA_TOT_OPT_SIZE})`;
    this.#locs[index] = { len, chunks: [{ offset: this.#used, len }], masked };
    this.#used += len;
    return undefined;
  }
}

const bitOf = (index: number): bigint => 1n << BigInt(index);

export function isTunMetadataPresent(flow: Flow, index: number): boolean {
  return (flow.tunMetadataPresent & bitOf(index)) !== 0n;
}

/** Takes the option away, as delete_field does. */
export function deleteTunMetadata(flow: Flow, f: MatchField): void {
  flow.tunMetadataPresent &= ~bitOf(tunMetadataIndex(f));
}

function copyOut(flow: Flow, loc: TunLoc): Uint8Array {
  const out = new Uint8Array(loc.len);
  const src = flow.tunMetadata;
  let at = 0;
  for (const c of loc.chunks) {
    out.set(src.subarray(c.offset, c.offset + c.len), at);
    at += c.len;
  }
  return out;
}

function copyIn(flow: Flow, loc: TunLoc, index: number, bytes: Uint8Array): void {
  const dst = flow.tunMetadata;
  let at = 0;
  for (const c of loc.chunks) {
    dst.set(bytes.subarray(at, at + c.len), c.offset);
    at += c.len;
  }
  flow.tunMetadataPresent |= bitOf(index);
}

/** The field's value, right-aligned in `f.nBytes`; zero when it is not mapped. */
export function readTunMetadata(flow: Flow, f: MatchField): Uint8Array {
  const value = new Uint8Array(f.nBytes);
  const loc = flow.tunTable?.loc(tunMetadataIndex(f));
  if (loc && loc.len <= value.length) value.set(copyOut(flow, loc), value.length - loc.len);
  return value;
}

/** Sets the field in a packet's flow; nothing when it is not mapped. */
export function writeTunMetadata(flow: Flow, f: MatchField, value: Uint8Array): void {
  const index = tunMetadataIndex(f);
  const loc = flow.tunTable?.loc(index);
  if (loc && loc.len <= value.length) copyIn(flow, loc, index, value.subarray(value.length - loc.len));
}

/** Bytes of a value without its leading zeros: what a field of variable length has on the wire. */
export function significantLength(value: Uint8Array): number {
  const at = value.findIndex((b) => b !== 0);
  return at < 0 ? 0 : value.length - at;
}

/** Puts the field into a match. Returns what is wrong, in Open vSwitch's words. */
export function matchSetTunMetadata(
  m: Match,
  f: MatchField,
  value: Uint8Array,
  mask: Uint8Array | undefined,
): string | undefined {
  const index = tunMetadataIndex(f);
  const masked = mask?.some((b) => b !== 0xff) ?? false;
  let layout = m.flow.tunTable;
  if (!layout) {
    layout = new TunAllocation();
    m.flow.tunTable = m.wc.tunTable = layout;
  }
  if (layout instanceof TunAllocation) {
    if (isTunMetadataPresent(m.wc, index)) return `field ${f.name} set multiple times`;
    const len = f.mapped ? f.nBytes : Math.max(significantLength(value), masked && mask ? significantLength(mask) : 0);
    const error = layout.add(index, f.name, len, masked);
    if (error) return error;
  }
  const loc = layout.loc(index);
  if (!loc) return undefined;
  const skip = value.length - loc.len;
  const bits = mask?.subarray(skip) ?? new Uint8Array(loc.len).fill(0xff);
  copyIn(
    m.flow,
    loc,
    index,
    value.subarray(skip).map((b, i) => b & bits[i]),
  );
  copyIn(m.wc, loc, index, bits);
  return undefined;
}

/** One field of a match, as it is written and printed. */
export interface MatchedTunMetadata {
  index: number;
  /** The match wants the option absent. */
  absent: boolean;
  value: Uint8Array;
  mask: Uint8Array;
  masked: boolean;
}

/** The tunnel metadata that a match looks at, by rising index. */
export function matchedTunMetadata(m: Match): MatchedTunMetadata[] {
  const out: MatchedTunMetadata[] = [];
  const layout = m.flow.tunTable ?? m.wc.tunTable;
  let present = layout ? m.wc.tunMetadataPresent : 0n;
  for (let index = 0; present; index++, present >>= 1n) {
    const loc = present & 1n ? layout?.loc(index) : undefined;
    if (!loc) continue;
    const mask = copyOut(m.wc, loc);
    out.push({
      index,
      absent: !isTunMetadataPresent(m.flow, index),
      value: copyOut(m.flow, loc),
      mask,
      masked: loc.masked ?? (loc.len === 0 || mask.some((b) => b !== 0xff)),
    });
  }
  return out;
}

/** Writes the metadata of a packet into a match of its own layout, exactly: for a packet-in. */
export function tunMetadataToMatch(flow: Flow, m: Match): void {
  let present = flow.tunMetadataPresent;
  for (let index = 0; present; index++, present >>= 1n) {
    const loc = present & 1n ? flow.tunTable?.loc(index) : undefined;
    if (!loc) continue;
    const f: MatchField = { ...FIELDS[FIRST + index], nBytes: loc.len, nBits: loc.len * 8, mapped: true };
    matchSetTunMetadata(m, f, copyOut(flow, loc), undefined);
  }
}

const GENEVE_CRITICAL = 0x80;

/** Options of a Geneve header as the flow's fields (RFC 8926 section 3.5). False: malformed, or a critical option is unknown. */
export function readGeneveOptions(table: TunTable, options: Uint8Array, flow: Flow): boolean {
  flow.tunTable = table;
  flow.tunMetadataPresent = 0n;
  for (let at = 0; at < options.length; ) {
    if (at + 4 > options.length) return false;
    const optionClass = (options[at] << 8) | options[at + 1];
    const type = options[at + 2];
    const len = (options[at + 3] & 0x1f) * 4;
    if (at + 4 + len > options.length) return false;
    const index = table.indexOf(optionClass, type);
    const loc = index === undefined ? undefined : table.loc(index);
    if (index !== undefined && loc) {
      if (loc.len !== len) return false;
      copyIn(flow, loc, index, options.subarray(at + 4, at + 4 + len));
    } else if (type & GENEVE_CRITICAL) return false;
    at += 4 + len;
  }
  return true;
}

/** The Geneve options of a flow, by rising index. `critical`: one of them must be understood by the receiver. */
export function geneveOptions(flow: Flow): { options: Uint8Array; critical: boolean } {
  const table = flow.tunTable;
  const parts: number[] = [];
  let critical = false;
  if (table instanceof TunTable) {
    for (const { index, optionClass, optionType, optionLen } of table.mappings()) {
      if (!isTunMetadataPresent(flow, index)) continue;
      parts.push(optionClass >> 8, optionClass & 0xff, optionType, optionLen / 4);
      parts.push(...copyOut(flow, table.loc(index) as TunLoc));
      critical ||= (optionType & GENEVE_CRITICAL) !== 0;
    }
  }
  return { options: Uint8Array.from(parts), critical };
}

/** The mask that goes with the options of a packet: ones in their headers, the matched bits in those that are mapped. */
export function geneveOptionsMask(wc: FlowWildcards, options: Uint8Array): Uint8Array {
  const out = new Uint8Array(options.length);
  const table = wc.tunTable;
  for (let at = 0; at + 4 <= options.length; ) {
    const len = (options[at + 3] & 0x1f) * 4;
    const index =
      table instanceof TunTable ? table.indexOf((options[at] << 8) | options[at + 1], options[at + 2]) : undefined;
    out.set([0xff, 0xff, 0xff, 0x1f], at);
    const loc = index === undefined ? undefined : table?.loc(index);
    if (loc?.len === len) out.set(copyOut(wc, loc), at + 4);
    at += 4 + len;
  }
  return out;
}
