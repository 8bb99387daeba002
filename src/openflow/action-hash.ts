import { BUNDLE_MAX_MEMBERS, NX_BD_ALG, NX_HASH_FIELDS, NX_MP_ALG, NXAST } from '../../protocols/openflow-actions.ts';
import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import { ofpPort } from '../base/types.ts';
import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import { checkOutputPort } from './action-port.ts';
import { decodeOfsNbits, encodeOfsNbits, nxmWord, pullNxmField, putNicira, throwError } from './action-wire.ts';
import type { OfpactOf, Subfield } from './actions.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { mf, portFromOfp10 } from './field.ts';
import { formatSubfield, parseSubfield } from './field-text.ts';
import type { Match } from './match.ts';
import { atoi, FlowTextError, Tokens } from './number-text.ts';
import { actionWarn } from './openflow-log.ts';
import { formatPort, type PortNames, parsePort } from './port.ts';
import { checkDst } from './subfield.ts';

/** `bundle`, `bundle_load` and `multipath`: choices by a hash of the packet's headers. */

type Bundle = OfpactOf<'bundle'>;
type Multipath = OfpactOf<'multipath'>;

const OFPP_NONE = 0xffffffff;
const OFPP_CONTROLLER = 0xfffffffd;

const log = vlogModule('bundle');
const limit = new VlogRateLimit(1, 5);
const decodeLimit = new VlogRateLimit(1, 5);
const actionsLog = vlogModule('ofp_actions');
const bundleWarn = (text: string): void => actionsLog.warnRl(decodeLimit, text);

const memberType = nxmWord(mf('in_port'));

interface BundleHead {
  algorithm: number;
  fields: number;
  basis: number;
  member: number;
  nMembers: number;
}

/** Logs what is not supported. */
function headError(h: BundleHead, reserved: boolean): OfErrorName | undefined {
  const wrong =
    h.fields >= NX_HASH_FIELDS.length
      ? `unsupported fields ${h.fields}`
      : h.nMembers > BUNDLE_MAX_MEMBERS
        ? 'too many members'
        : h.algorithm >= NX_BD_ALG.length
          ? `unsupported algorithm ${h.algorithm}`
          : h.member !== memberType
            ? `unsupported member type ${h.member}`
            : reserved
              ? 'reserved field is nonzero'
              : undefined;
  if (wrong === undefined) return undefined;
  bundleWarn(wrong);
  return 'OFPBAC_BAD_ARGUMENT';
}

function pullDst(r: Reader, load: boolean): Subfield | undefined {
  const word = r.readU16();
  if (load) {
    const dst = { field: pullNxmField(r), ...decodeOfsNbits(word) };
    if (dst.nBits >= 16) return dst;
    bundleWarn('bundle_load action requires at least 16 bit destination.');
    throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
  }
  if (word === 0 && r.readU32() === 0) return undefined;
  bundleWarn('bundle action has nonzero reserved fields');
  throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
}

export function decodeBundle(r: Reader, load: boolean): Bundle {
  const [algorithm, fields, basis, member, nMembers] = [
    r.readU16(),
    r.readU16(),
    r.readU16(),
    r.readU32(),
    r.readU16(),
  ];
  const dst = pullDst(r, load);
  const reserved = !r.zeros(4);
  if (r.left < nMembers * 2) {
    bundleWarn(
      `Nicira action ${load ? 'bundle_load' : 'bundle'} only has ${r.left} bytes allocated for members.  ${nMembers * 2} bytes are required for ${nMembers} members.`,
    );
    throw new OfDecodeError('OFPBAC_BAD_LEN');
  }
  throwError(headError({ algorithm, fields, basis, member, nMembers }, reserved));
  const members = Array.from({ length: nMembers }, () => ofpPort(portFromOfp10(r.readU16())));
  const a: Bundle = { type: 'bundle', algorithm: NX_BD_ALG[algorithm], fields, basis, members };
  if (dst) a.dst = dst;
  throwError(checkBundle(a, undefined, undefined));
  return a;
}

export function encodeBundle(w: Writer, a: Bundle): void {
  putNicira(w, a.dst ? NXAST.BUNDLE_LOAD : NXAST.BUNDLE, () => {
    w.putU16(NX_BD_ALG.indexOf(a.algorithm));
    w.putU16(a.fields);
    w.putU16(a.basis);
    w.putU32(memberType);
    w.putU16(a.members.length);
    w.putU16(a.dst ? encodeOfsNbits(a.dst.ofs, a.dst.nBits) : 0);
    w.putU32(a.dst ? nxmWord(a.dst.field) : 0);
    w.putZeros(4);
    for (const m of a.members) w.putU16(m & 0xffff);
  });
}

const fieldsName = (fields: number): string => NX_HASH_FIELDS[fields] ?? '<unknown>';

export function formatBundle(a: Bundle, names: PortNames | undefined): string {
  const dst = a.dst ? `${formatSubfield(a.dst)},` : '';
  const members = a.members.map((m) => formatPort(m, names)).join(',');
  return `bundle${a.dst ? '_load' : ''}(${fieldsName(a.fields)},${a.basis},${a.algorithm},ofport,${dst}members:${members})`;
}

function indexOfName(list: readonly string[], name: string): number {
  return list.indexOf(name.toLowerCase());
}

function parseFields(s: string, name: string): number {
  const fields = indexOfName(NX_HASH_FIELDS, name);
  if (fields < 0) throw new FlowTextError(`${s}: unknown fields \`${name}'`);
  return fields;
}

function parseHashDst(s: string, name: string): Subfield {
  const dst = parseSubfield(name);
  if (!nxmWord(dst.field)) throw new FlowTextError(`${s}: experimenter OXM field '${name}' not supported`);
  return dst;
}

function parseMembers(tokens: Tokens, names: PortNames | undefined) {
  const members: Bundle['members'] = [];
  while (members.length < BUNDLE_MAX_MEMBERS) {
    const word = tokens.next(', []');
    if (word === undefined) break;
    const port = parsePort(word, names);
    if (port === undefined) throw new FlowTextError(`${word}: bad port number`);
    members.push(port);
  }
  return members;
}

/** `load`: bundle_load, with the field that takes the port. */
export function parseBundle(s: string, load: boolean, names: PortNames | undefined): Bundle {
  const tokens = new Tokens(s);
  const words = Array.from({ length: load ? 5 : 4 }, () => tokens.next(', ') ?? '');
  const [fields, basis, algorithm, type, dst] = words;
  const delimiter = tokens.next(': ');
  if (delimiter === undefined) throw new FlowTextError(`${s}: not enough arguments to bundle action`);
  if (!/^(members|slaves)$/i.test(delimiter))
    throw new FlowTextError(`${s}: missing member delimiter, expected \`members', got \`${delimiter}'`);
  const members = parseMembers(tokens, names);
  const fieldsNumber = parseFields(s, fields);
  const alg = indexOfName(NX_BD_ALG, algorithm);
  if (alg < 0) throw new FlowTextError(`${s}: unknown algorithm \`${algorithm}'`);
  if (type.toLowerCase() !== 'ofport') throw new FlowTextError(`${s}: unknown member_type \`${type}'`);
  const a: Bundle = {
    type: 'bundle',
    algorithm: NX_BD_ALG[alg],
    fields: fieldsNumber,
    basis: atoi(basis) & 0xffff,
    members,
  };
  if (load) a.dst = parseHashDst(s, dst);
  return a;
}

export function checkBundle(a: Bundle, m: Match | undefined, maxPorts: number | undefined): OfErrorName | undefined {
  const error = a.dst && checkDst(a.dst, m);
  if (error) return error;
  for (const port of a.members) {
    const portError = port === OFPP_NONE ? undefined : checkOutputPort(port, maxPorts);
    if (portError) {
      log.warnRl(limit, `invalid member ${port}`);
      return portError;
    }
    if (port === OFPP_CONTROLLER) {
      log.warnRl(limit, 'unsupported controller member');
      return 'OFPBAC_BAD_OUT_PORT';
    }
  }
  return undefined;
}

/** Bits that hold numbers below `n`. */
const bitsFor = (n: number): number => (n <= 1 ? 0 : 32 - Math.clz32(n - 1));

export function decodeMultipath(r: Reader): Multipath {
  const [fields, basis] = [r.readU16(), r.readU16()];
  r.skip(2);
  const [algorithm, maxLink, arg] = [r.readU16(), r.readU16(), r.readU32()];
  r.skip(2);
  const bits = decodeOfsNbits(r.readU16());
  const dst = { field: pullNxmField(r), ...bits };
  const least = bitsFor(maxLink + 1);
  const wrong =
    fields >= NX_HASH_FIELDS.length
      ? `unsupported fields ${fields}`
      : algorithm >= NX_MP_ALG.length
        ? `unsupported algorithm ${algorithm}`
        : dst.nBits < least
          ? `multipath action requires at least ${least} bits for ${maxLink + 1} links`
          : undefined;
  if (wrong !== undefined) {
    actionWarn(wrong);
    throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
  }
  throwError(checkDst(dst));
  return { type: 'multipath', fields, basis, algorithm: NX_MP_ALG[algorithm], maxLink, arg, dst };
}

export function encodeMultipath(w: Writer, a: Multipath): void {
  putNicira(w, NXAST.MULTIPATH, () => {
    w.putU16(a.fields);
    w.putU16(a.basis);
    w.putZeros(2);
    w.putU16(NX_MP_ALG.indexOf(a.algorithm));
    w.putU16(a.maxLink);
    w.putU32(a.arg);
    w.putZeros(2);
    w.putU16(encodeOfsNbits(a.dst.ofs, a.dst.nBits));
    w.putU32(nxmWord(a.dst.field));
  });
}

export function formatMultipath(a: Multipath): string {
  return `multipath(${fieldsName(a.fields)},${a.basis},${a.algorithm},${a.maxLink + 1},${a.arg},${formatSubfield(a.dst)})`;
}

export function parseMultipath(s: string): Multipath {
  const tokens = new Tokens(s);
  const words = Array.from({ length: 6 }, () => tokens.next(', '));
  const [fields, basis, algorithm, links, arg, dstName] = words.map((w) => w ?? '');
  if (words[5] === undefined) throw new FlowTextError(`${s}: not enough arguments to multipath action`);
  const fieldsNumber = parseFields(s, fields);
  const alg = indexOfName(NX_MP_ALG, algorithm);
  if (alg < 0) throw new FlowTextError(`${s}: unknown algorithm \`${algorithm}'`);
  const nLinks = atoi(links);
  if (nLinks < 1 || nLinks > 65536) throw new FlowTextError(`${s}: n_links ${nLinks} is not in valid range 1 to 65536`);
  const dst = parseHashDst(s, dstName);
  if (dst.nBits < 16 && nLinks > 1 << dst.nBits)
    throw new FlowTextError(
      `${s}: ${dst.nBits}-bit destination field has ${1 << dst.nBits} possible values, less than specified n_links ${nLinks}`,
    );
  return {
    type: 'multipath',
    fields: fieldsNumber,
    basis: atoi(basis) & 0xffff,
    algorithm: NX_MP_ALG[alg],
    maxLink: nLinks - 1,
    arg: atoi(arg) >>> 0,
    dst,
  };
}
