/**
 * Reads as much of a WebAssembly binary as the rules of the fast path need: no active data segment (it would rewrite the arena at
 * every instantiation), no `memory.grow` (the arena's pages are mapped by hand), no GC type. Source: WebAssembly core
 * specification 3.0, chapter "Binary Format".
 */

/** What a module holds that the fast path forbids; see `violations()` for what is a fault. */
export interface WasmFacts {
  nActiveData: number;
  nPassiveData: number;
  /** `memory.init` instructions. */
  nMemoryInit: number;
  /** A start function runs at every instantiation. */
  hasStart: boolean;
  /** `memory.grow` instructions in function bodies. */
  nMemoryGrow: number;
  /** Struct, array and continuation types, recursion groups and GC instructions. */
  nGc: number;
  nFunctions: number;
}

const MAGIC = 0x6d736100;
const SECTION = { type: 1, start: 8, code: 10, data: 11 } as const;
const TYPE = { func: 0x60 } as const;

/** A position in the bytes, with the readers of the format's integers. */
class Cursor {
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get done(): boolean {
    return this.at >= this.end;
  }

  byte(): number {
    if (this.at >= this.end) throw new Error(`wasm: truncated at offset ${this.at}`);
    return this.bytes[this.at++];
  }

  /** LEB128, at most 64 bits; the value of a 64-bit one is inexact above 2^53, which only constants use. */
  u32(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if ((byte & 0x80) === 0) return value;
      if (shift >= 63) throw new Error(`wasm: LEB128 too long at offset ${this.at}`);
    }
  }

  skip(size: number): void {
    this.at += size;
    if (this.at > this.end) throw new Error(`wasm: truncated at offset ${this.at}`);
  }

  sub(size: number): Cursor {
    const start = this.at;
    this.skip(size);
    return new Cursor(this.bytes, start, start + size);
  }

  times(body: () => void): void {
    for (let n = this.u32(); n > 0; n -= 1) body();
  }
}

/** Walks a module. Throws on anything that it does not know, so that an unread instruction never counts as clean. */
export function inspectWasm(bytes: Uint8Array): WasmFacts {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 8 || view.getUint32(0, true) !== MAGIC || view.getUint32(4, true) !== 1)
    throw new Error('wasm: not a module');
  const facts: WasmFacts = {
    nActiveData: 0,
    nPassiveData: 0,
    nMemoryInit: 0,
    hasStart: false,
    nMemoryGrow: 0,
    nGc: 0,
    nFunctions: 0,
  };
  const module = new Cursor(bytes, 8, bytes.length);
  while (!module.done) {
    const id = module.byte();
    const section = module.sub(module.u32());
    if (id === SECTION.start) facts.hasStart = true;
    if (id === SECTION.type) readTypes(section, facts);
    else if (id === SECTION.code) readCode(section, facts);
    else if (id === SECTION.data) readData(section, facts);
  }
  return facts;
}

/** The rules of the fast path that `facts` breaks, as sentences. */
export function violations(facts: WasmFacts): string[] {
  const broken: string[] = [];
  if (facts.nActiveData > 0) broken.push(`${facts.nActiveData} active data segments`);
  if (facts.hasStart && facts.nMemoryInit > 0) broken.push('a start function, and memory.init that it could run');
  if (facts.nMemoryGrow > 0) broken.push(`${facts.nMemoryGrow} memory.grow instructions`);
  if (facts.nGc > 0) broken.push(`${facts.nGc} GC types or instructions`);
  return broken;
}

function readTypes(section: Cursor, facts: WasmFacts): void {
  section.times(() => {
    if (section.done) return;
    if (section.byte() === TYPE.func) {
      for (let i = 0; i < 2; i += 1) section.times(() => readValType(section));
    } else {
      facts.nGc += 1;
      section.skip(section.end - section.at);
    }
  });
}

/** A value or block type: `ref null ht` and `ref ht` carry a heap type, the others are one LEB128 (a block may name a type index). */
function readValType(cursor: Cursor): void {
  const type = cursor.u32();
  if (type === 0x63 || type === 0x64) cursor.u32();
}

function readData(section: Cursor, facts: WasmFacts): void {
  section.times(() => {
    const mode = section.u32();
    if (mode === 1) facts.nPassiveData += 1;
    else facts.nActiveData += 1;
    if (mode === 2) section.u32();
    if (mode !== 1) readExpression(section, facts);
    section.skip(section.u32());
  });
}

function readCode(section: Cursor, facts: WasmFacts): void {
  section.times(() => {
    const body = section.sub(section.u32());
    facts.nFunctions += 1;
    body.times(() => {
      body.u32();
      readValType(body);
    });
    while (!body.done) readInstruction(body, facts);
  });
}

/** A constant expression: up to the `end` at its own depth, and constants do not nest. */
function readExpression(cursor: Cursor, facts: WasmFacts): void {
  while (readInstruction(cursor, facts) !== OP.end);
}

const OP = {
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  tryTable: 0x1f,
  end: 0x0b,
  brTable: 0x0e,
  selectTyped: 0x1c,
  memoryGrow: 0x40,
  i32Const: 0x41,
  i64Const: 0x42,
  f32Const: 0x43,
  f64Const: 0x44,
  gc: 0xfb,
  misc: 0xfc,
  simd: 0xfd,
  atomic: 0xfe,
} as const;

/** How many LEB128 immediates the one-byte instructions have that are no special case. */
const IMMEDIATES = new Map<number, number>([
  ...[0x08, 0x0c, 0x0d, 0x10, 0x12, 0x14, 0x15, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26].map((op) => [op, 1] as const),
  ...[0x11, 0x13].map((op) => [op, 2] as const),
  ...[0x3f, OP.memoryGrow, OP.i32Const, OP.i64Const, 0xd0, 0xd2].map((op) => [op, 1] as const),
  ...[0x00, 0x01, 0x05, 0x0a, OP.end, 0x0f, 0x1a, 0x1b, 0xd1].map((op) => [op, 0] as const),
  ...range(0x45, 0xc4).map((op) => [op, 0] as const),
]);

/** Skips one instruction and returns its first byte. */
function readInstruction(cursor: Cursor, facts: WasmFacts): number {
  const op = cursor.byte();
  const immediates = IMMEDIATES.get(op);
  if (op === OP.memoryGrow) facts.nMemoryGrow += 1;
  if (immediates !== undefined) skipLebs(cursor, immediates);
  else if (op >= 0x28 && op <= 0x3e) readMemarg(cursor);
  else readSpecial(cursor, op, facts);
  return op;
}

function readSpecial(cursor: Cursor, op: number, facts: WasmFacts): void {
  switch (op) {
    case OP.block:
    case OP.loop:
    case OP.if:
      readValType(cursor);
      break;
    case OP.brTable:
      cursor.times(() => cursor.u32());
      cursor.u32();
      break;
    case OP.selectTyped:
      cursor.times(() => readValType(cursor));
      break;
    case OP.f32Const:
      cursor.skip(4);
      break;
    case OP.f64Const:
      cursor.skip(8);
      break;
    case OP.misc:
      readMisc(cursor, facts);
      break;
    case OP.simd:
      readSimd(cursor);
      break;
    case OP.atomic:
      if (cursor.u32() === 3) cursor.skip(1);
      else readMemarg(cursor);
      break;
    case OP.gc:
      facts.nGc += 1;
      cursor.skip(cursor.end - cursor.at);
      break;
    default:
      throw new Error(`wasm: unknown instruction 0x${op.toString(16)} at offset ${cursor.at - 1}`);
  }
}

/** Multi-memory: bit 6 of the alignment says that a memory index follows. */
function readMemarg(cursor: Cursor): void {
  const alignment = cursor.u32();
  if ((alignment & 0x40) !== 0) cursor.u32();
  cursor.u32();
}

/** Saturating conversions (0–7) have no immediate; the bulk instructions one or two indices. */
function readMisc(cursor: Cursor, facts: WasmFacts): void {
  const sub = cursor.u32();
  const immediates = [0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 1, 2, 1, 2, 1, 1, 1];
  if (sub >= immediates.length) throw new Error(`wasm: unknown instruction 0xfc ${sub}`);
  if (sub === 8) facts.nMemoryInit += 1;
  skipLebs(cursor, immediates[sub]);
}

/** Loads and stores (0–11, 92, 93), v128.const and i8x16.shuffle (12, 13), lanes (21–34), lane loads and stores (84–91). */
function readSimd(cursor: Cursor): void {
  const sub = cursor.u32();
  if (sub <= 11 || sub === 92 || sub === 93) readMemarg(cursor);
  else if (sub === 12 || sub === 13) cursor.skip(16);
  else if (sub >= 21 && sub <= 34) cursor.skip(1);
  else if (sub >= 84 && sub <= 91) {
    readMemarg(cursor);
    cursor.skip(1);
  }
}

function skipLebs(cursor: Cursor, n: number): void {
  for (let i = 0; i < n; i += 1) cursor.u32();
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
