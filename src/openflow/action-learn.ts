import {
  NX_LEARN_DST,
  NX_LEARN_DST_MASK,
  NX_LEARN_F_DELETE_LEARNED,
  NX_LEARN_F_SEND_FLOW_REM,
  NX_LEARN_F_WRITE_RESULT,
  NX_LEARN_N_BITS_MASK,
  NX_LEARN_SRC_IMMEDIATE,
  NXAST,
} from '../../protocols/openflow-actions.ts';
import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import { nxmWord, pullFieldHeader, pullNxmField, putNicira } from './action-wire.ts';
import type { LearnSpec, OfpactOf, Subfield } from './actions.ts';
import { hex, hexBytes } from './address-text.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { isAllOnes } from './field.ts';
import {
  FlowTextError,
  formatField,
  formatSubfield,
  parseField,
  parseMove,
  parseSubfield,
  subfieldOrError,
} from './field-text.ts';
import { parseKeyValues } from './key-value.ts';
import { catchallMatch, type Match } from './match.ts';
import { atoi, parseIntString, strtoull } from './number-text.ts';
import { putOxmHeader } from './oxm.ts';
import { formatTable, type PortNames, parseTable } from './port.ts';
import { checkDst, checkSrc, fitsBits, matchSetSubfield } from './subfield.ts';

/** `learn` (NXAST_LEARN, NXAST_LEARN2): bytes, text, consistency. */

type Learn = OfpactOf<'learn'>;

const OFP_DEFAULT_PRIORITY = 0x8000;
const NO_TABLE = 0xff;
const DST_TYPES = ['match', 'load', 'output'] as const;

/** Bytes that an immediate of so many bits takes in a specification. */
const immediateBytes = (nBits: number): number => 2 * Math.ceil(nBits / 16);

function pullSubfield(r: Reader, nBits: number): Subfield {
  const field = pullNxmField(r);
  return { field, ofs: r.readU16(), nBits };
}

function pullSpec(r: Reader, header: number): LearnSpec {
  const nBits = header & NX_LEARN_N_BITS_MASK;
  const immediate = (header & NX_LEARN_SRC_IMMEDIATE) !== 0;
  const dstType = DST_TYPES[(header & NX_LEARN_DST_MASK) >> 11];
  if (!dstType || (dstType === 'output' && immediate)) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
  const wanted = (immediate ? immediateBytes(nBits) : 6) + (dstType === 'output' ? 0 : 6);
  if (r.left < wanted) throw new OfDecodeError('OFPBAC_BAD_LEN');
  const src = immediate
    ? r.bytes(immediateBytes(nBits)).slice(-Math.ceil(nBits / 8) || undefined)
    : pullSubfield(r, nBits);
  const spec: LearnSpec = { src, dstType, nBits };
  if (dstType !== 'output') spec.dst = pullSubfield(r, nBits);
  return spec;
}

function pullSpecs(r: Reader): LearnSpec[] {
  const specs: LearnSpec[] = [];
  while (r.left > 0) {
    const header = r.readU16();
    if (!header) break;
    specs.push(pullSpec(r, header));
  }
  if (!r.zeros(r.left)) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
  return specs;
}

/** What both forms begin with. */
function pullHead(r: Reader): Omit<Learn, 'specs'> {
  const [idleTimeout, hardTimeout, priority] = [r.readU16(), r.readU16(), r.readU16()];
  const cookie = r.readU64();
  const flags = r.readU16();
  const tableId = r.readU8();
  if (r.readU8() !== 0) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
  const [finIdleTimeout, finHardTimeout] = [r.readU16(), r.readU16()];
  if (tableId === NO_TABLE) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
  return {
    type: 'learn',
    idleTimeout,
    hardTimeout,
    priority,
    tableId,
    cookie,
    flags,
    finIdleTimeout,
    finHardTimeout,
    limit: 0,
  };
}

export function decodeLearn(r: Reader): Learn {
  const head = pullHead(r);
  if (head.flags & ~(NX_LEARN_F_SEND_FLOW_REM | NX_LEARN_F_DELETE_LEARNED))
    throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
  return { ...head, specs: pullSpecs(r) };
}

export function decodeLearn2(r: Reader): Learn {
  const head = pullHead(r);
  const limit = r.readU32();
  const resultOfs = r.readU16();
  if (r.readU16() !== 0) throw new OfDecodeError('NXBAC_MUST_BE_ZERO');
  const known = NX_LEARN_F_SEND_FLOW_REM | NX_LEARN_F_DELETE_LEARNED | NX_LEARN_F_WRITE_RESULT;
  if (head.flags & ~known) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
  const a: Learn = { ...head, limit, specs: [], raw: NXAST.LEARN2 };
  if (head.flags & NX_LEARN_F_WRITE_RESULT) {
    const field = pullFieldHeader(r);
    if (!field.writable) throw new OfDecodeError('OFPBAC_BAD_SET_ARGUMENT');
    a.resultDst = { field, ofs: resultOfs, nBits: 1 };
  } else if (resultOfs) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
  a.specs = pullSpecs(r);
  return a;
}

function putSpec(w: Writer, spec: LearnSpec): void {
  const immediate = spec.src instanceof Uint8Array;
  w.putU16(spec.nBits | NX_LEARN_DST[spec.dstType] | (immediate ? NX_LEARN_SRC_IMMEDIATE : 0));
  if (spec.src instanceof Uint8Array) {
    w.putZeros(immediateBytes(spec.nBits) - spec.src.length);
    w.putBytes(spec.src);
  } else putSubfield(w, spec.src);
  if (spec.dst) putSubfield(w, spec.dst);
}

function putSubfield(w: Writer, sf: Subfield): void {
  w.putU32(nxmWord(sf.field));
  w.putU16(sf.ofs);
}

export function encodeLearn(w: Writer, a: Learn): void {
  const two = a.raw === NXAST.LEARN2 || a.limit !== 0 || (a.flags & NX_LEARN_F_WRITE_RESULT) !== 0;
  putNicira(w, two ? NXAST.LEARN2 : NXAST.LEARN, () => {
    w.putU16(a.idleTimeout);
    w.putU16(a.hardTimeout);
    w.putU16(a.priority);
    w.putU64(a.cookie);
    w.putU16(a.flags);
    w.putU8(a.tableId);
    w.putU8(0);
    w.putU16(a.finIdleTimeout);
    w.putU16(a.finHardTimeout);
    if (two) {
      w.putU32(a.limit);
      w.putU16(a.resultDst?.ofs ?? 0);
      w.putU16(0);
      if (a.resultDst) putOxmHeader(w, a.resultDst.field, 0, false);
    }
    for (const spec of a.specs) putSpec(w, spec);
  });
}

function formatSpec(spec: LearnSpec, names: PortNames | undefined): string {
  const { src, dst } = spec;
  if (src instanceof Uint8Array) return formatImmediate(spec, src, names);
  if (spec.dstType === 'output' || !dst) return `output:${formatSubfield(src)}`;
  if (spec.dstType === 'load') return `load:${formatSubfield(src)}->${formatSubfield(dst)}`;
  const same = src.field === dst.field && src.ofs === dst.ofs;
  return formatSubfield(dst) + (same ? '' : `=${formatSubfield(src)}`);
}

function formatImmediate(spec: LearnSpec, src: Uint8Array, names: PortNames | undefined): string {
  const dst = spec.dst as Subfield;
  const bytes = hexBytes(src);
  if (spec.dstType === 'load') return `load:${bytes}->${formatSubfield(dst)}`;
  if (dst.ofs !== 0 || dst.nBits !== dst.field.nBits) return `${formatSubfield(dst)}=${bytes}`;
  const value = new Uint8Array(dst.field.nBytes);
  value.set(src, value.length - src.length);
  return `${dst.field.name}=${formatField(dst.field, value, undefined, names)}`;
}

export function formatLearn(a: Learn, names: PortNames | undefined): string {
  const out = [`table=${formatTable(a.tableId, names)}`];
  if (a.idleTimeout) out.push(`idle_timeout=${a.idleTimeout}`);
  if (a.hardTimeout) out.push(`hard_timeout=${a.hardTimeout}`);
  if (a.finIdleTimeout) out.push(`fin_idle_timeout=${a.finIdleTimeout}`);
  if (a.finHardTimeout) out.push(`fin_hard_timeout=${a.finHardTimeout}`);
  if (a.priority !== OFP_DEFAULT_PRIORITY) out.push(`priority=${a.priority}`);
  if (a.flags & NX_LEARN_F_SEND_FLOW_REM) out.push('send_flow_rem');
  if (a.flags & NX_LEARN_F_DELETE_LEARNED) out.push('delete_learned');
  if (a.cookie) out.push(`cookie=${hex(a.cookie)}`);
  if (a.limit) out.push(`limit=${a.limit}`);
  if (a.resultDst) out.push(`result_dst=${formatSubfield(a.resultDst)}`);
  for (const spec of a.specs) out.push(formatSpec(spec, names));
  return `learn(${out.join(',')})`;
}

function mustHaveNxm(sf: Subfield, whole: string, name: string): void {
  if (!nxmWord(sf.field)) throw new FlowTextError(`${whole}: experimenter OXM field '${name}' not supported`);
}

/** The low `nBits` of a value, in as few bytes as hold them. */
const lowBytes = (value: Uint8Array, nBits: number): Uint8Array => value.slice(value.length - Math.ceil(nBits / 8));

function parseImmediate(dst: Subfield, orig: string, value: string, names: PortNames | undefined): Uint8Array {
  const { field, nBits } = dst;
  if (dst.ofs === 0 && nBits === field.nBits) {
    const parsed = parseField(field, value, names);
    if (!isAllOnes(parsed.mask)) throw new FlowTextError(`${value}: wildcards not allowed here`);
    return parsed.value;
  }
  const parsed = parseIntString(value, field.nBytes);
  if (typeof parsed === 'string' || parsed.tail) throw new FlowTextError(`${orig}: cannot parse integer value`);
  if (!fitsBits(parsed.value, nBits))
    throw new FlowTextError(`${orig}: value ${formatField(field, parsed.value)} does not fit into ${nBits} bits`);
  return parsed.value;
}

/** `field`, `field=field` or `field=value`: a criterion of the new flow. */
function parseMatchSpec(
  dst: Subfield,
  orig: string,
  name: string,
  value: string,
  names: PortNames | undefined,
): LearnSpec {
  mustHaveNxm(dst, orig, name);
  const { nBits } = dst;
  if (value === '') return { src: dst, dstType: 'match', dst, nBits };
  const src = subfieldOrError(value);
  if (typeof src === 'string') {
    try {
      return { src: lowBytes(parseImmediate(dst, orig, value, names), nBits), dstType: 'match', dst, nBits };
    } catch (e) {
      if (!(e instanceof FlowTextError)) throw e;
      throw new FlowTextError(
        `${orig}: ${name} value ${value} cannot be parsed as a subfield (${src}) or an immediate value (${e.message})`,
      );
    }
  }
  if (src.nBits !== nBits)
    throw new FlowTextError(`${orig}: bit widths of ${name} (${src.nBits}) and ${value} (${nBits}) differ`);
  return { src, dstType: 'match', dst, nBits };
}

function parseLoadSpec(name: string, value: string): LearnSpec {
  const arrow = value.indexOf('->');
  if (arrow === 0) throw new FlowTextError(`${name}: missing source before \`->' in \`${value}'`);
  if (arrow < 0) throw new FlowTextError(`${name}: missing \`->' in \`${value}'`);
  const parsed = parseIntString(value, 128);
  if (typeof parsed === 'string') {
    const move = parseMove(value);
    return { src: move.src, dstType: 'load', dst: move.dst, nBits: move.src.nBits };
  }
  if (parsed.tail !== value.slice(arrow)) throw new FlowTextError(`${name}: garbage before \`->' in \`${value}'`);
  const dstName = value.slice(arrow + 2);
  const dst = parseSubfield(dstName);
  mustHaveNxm(dst, value, dstName);
  if (!fitsBits(parsed.value, dst.nBits))
    throw new FlowTextError(`${value}: value does not fit into ${dst.nBits} bits`);
  return { src: lowBytes(parsed.value, dst.nBits), dstType: 'load', dst, nBits: dst.nBits };
}

function parseSpec(orig: string, name: string, value: string, names: PortNames | undefined): LearnSpec {
  const dst = subfieldOrError(name);
  if (typeof dst !== 'string') return parseMatchSpec(dst, orig, name, value, names);
  if (name === 'load') return parseLoadSpec(name, value);
  if (name !== 'output') throw new FlowTextError(`${orig}: unknown keyword ${name}`);
  const src = parseSubfield(value);
  return { src, dstType: 'output', nBits: src.nBits };
}

function parseLearnTable(orig: string, value: string, names: PortNames | undefined): number {
  const table = parseTable(value, names);
  if (table === undefined) throw new FlowTextError(`unknown table "${value}"`);
  if (table === NO_TABLE) throw new FlowTextError(`${orig}: table id 255 not valid for \`learn' action`);
  return table;
}

function parseResultDst(value: string): Subfield {
  const dst = parseSubfield(value);
  if (!dst.field.writable) throw new FlowTextError(`${value} is read-only`);
  if (dst.nBits !== 1) throw new FlowTextError("result_dst in 'learn' action must be a single bit");
  return dst;
}

type Setting = (a: Learn, value: string, orig: string, names: PortNames | undefined) => void;
const u16 = (s: string): number => atoi(s) & 0xffff;

/** What is no specification. */
const SETTINGS: Readonly<Record<string, Setting>> = {
  table: (a, v, orig, names) => {
    a.tableId = parseLearnTable(orig, v, names);
  },
  priority: (a, v) => {
    a.priority = u16(v);
  },
  idle_timeout: (a, v) => {
    a.idleTimeout = u16(v);
  },
  hard_timeout: (a, v) => {
    a.hardTimeout = u16(v);
  },
  fin_idle_timeout: (a, v) => {
    a.finIdleTimeout = u16(v);
  },
  fin_hard_timeout: (a, v) => {
    a.finHardTimeout = u16(v);
  },
  cookie: (a, v) => {
    a.cookie = strtoull(v);
  },
  send_flow_rem: (a) => {
    a.flags |= NX_LEARN_F_SEND_FLOW_REM;
  },
  delete_learned: (a) => {
    a.flags |= NX_LEARN_F_DELETE_LEARNED;
  },
  limit: (a, v) => {
    a.limit = atoi(v) >>> 0;
  },
  result_dst: (a, v) => {
    a.resultDst = parseResultDst(v);
    a.flags |= NX_LEARN_F_WRITE_RESULT;
  },
};

export function parseLearn(s: string, names: PortNames | undefined): Learn {
  const a: Learn = {
    type: 'learn',
    idleTimeout: 0,
    hardTimeout: 0,
    priority: OFP_DEFAULT_PRIORITY,
    tableId: 1,
    cookie: 0n,
    flags: 0,
    finIdleTimeout: 0,
    finHardTimeout: 0,
    limit: 0,
    specs: [],
  };
  for (const { key, value } of parseKeyValues(s)) {
    const setting = Object.hasOwn(SETTINGS, key) ? SETTINGS[key] : undefined;
    if (setting) setting(a, value, s, names);
    else a.specs.push(parseSpec(s, key, value, names));
  }
  return a;
}

/** What is wrong with learning from packets of `m`. */
export function checkLearn(a: Learn, m: Match): OfErrorName | undefined {
  const learned = catchallMatch();
  for (const spec of a.specs) {
    const error = checkSpec(spec, m, learned);
    if (error) return error;
  }
  return undefined;
}

/** `learned` collects what the new flow is known to match, for the prerequisites of what follows. */
function checkSpec({ src, dst, dstType }: LearnSpec, m: Match, learned: Match): OfErrorName | undefined {
  const error = src instanceof Uint8Array ? undefined : checkSrc(src, m);
  if (error || dstType === 'output' || !dst) return error;
  if (dstType === 'load') return checkDst(dst, learned);
  const dstError = checkSrc(dst, learned);
  if (dstError || !(src instanceof Uint8Array)) return dstError;
  matchSetSubfield(learned, dst, src);
  return undefined;
}
