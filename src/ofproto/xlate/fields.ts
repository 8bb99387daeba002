import type { Flow } from '../../flow/flow.ts';
import type { OfpactOf, Subfield } from '../../openflow/actions.ts';
import { getField, type MatchField, maskFieldBits, mf, setField, setFieldMasked } from '../../openflow/field.ts';
import { isFieldPrereqOk, isIpAny } from '../../openflow/field-prereq.ts';
import { formatField, formatSubfield } from '../../openflow/field-text.ts';
import { copyBits, setBits } from '../../openflow/subfield.ts';
import { deleteTunMetadata } from '../../openflow/tun-metadata.ts';
import type { XlateCtx } from './context.ts';

/** set_field, load, move, and what else reads and writes fields by name. */

const L3_FIELDS = new Set(
  ['nw_src', 'nw_dst', 'ipv6_src', 'ipv6_dst', 'ipv6_label', 'nw_tos', 'nw_ecn', 'nw_ttl'].map(mf),
);
const ARP_FIELDS = new Set(['arp_op', 'arp_sha', 'arp_tha', 'arp_spa', 'arp_tpa'].map(mf));

const IPV6_LABEL = mf('ipv6_label');
const LABEL_MASK = 0xfffff;

/** A write to a network header depends on the protocol: a packet of another protocol has another header. */
function maskL3Prereqs({ flow, wc }: XlateCtx, field: MatchField): void {
  if ((isIpAny(flow) && L3_FIELDS.has(field)) || (flow.dlType === 0x0806 && ARP_FIELDS.has(field))) wc.nwProto = 0xff;
}

export function setFieldAction(ctx: XlateCtx, a: OfpactOf<'set_field'>): void {
  const { flow, wc } = ctx;
  if (!isFieldPrereqOk(flow, a.field, wc)) {
    ctx.report('warn', `unmet prerequisites for ${a.field.name}, set_field ignored`);
    return;
  }
  maskL3Prereqs(ctx, a.field);
  maskFieldBits(wc, a.field, a.mask);
  // The flow label's word has bits that are none of it.
  if (a.field === IPV6_LABEL) wc.ipv6Label &= LABEL_MASK;
  setFieldMasked(flow, a.field, a.value, a.mask);
}

/** Ones in the bits of a subfield, in the shape of its field's value. */
function subfieldMask(sf: Subfield): Uint8Array {
  const mask = new Uint8Array(sf.field.nBytes);
  setBits(mask, sf.ofs, sf.nBits);
  return mask;
}

/** The bits of a subfield, right-aligned in as few bytes as hold them. */
export function readSubfield(flow: Flow, sf: Subfield): Uint8Array {
  const out = new Uint8Array(Math.ceil(sf.nBits / 8));
  copyBits(getField(flow, sf.field), sf.ofs, out, 0, sf.nBits);
  return out;
}

/** Writes the low bits of `bits` into a subfield. */
export function writeSubfield(flow: Flow, sf: Subfield, bits: Uint8Array): void {
  const value = getField(flow, sf.field);
  copyBits(bits, 0, value, sf.ofs, sf.nBits);
  setField(flow, sf.field, value);
}

export function maskSubfield(ctx: XlateCtx, sf: Subfield): void {
  maskFieldBits(ctx.wc, sf.field, subfieldMask(sf));
}

/** A subfield's value as a number; of more than 53 bits only the size is right. */
export function subfieldNumber(flow: Flow, sf: Subfield): number {
  let n = 0;
  for (const byte of readSubfield(flow, sf)) n = n * 256 + byte;
  return n;
}

/** Writes a number of at most 32 bits, and says so. */
export function loadSubfield(ctx: XlateCtx, sf: Subfield, n: number): void {
  maskSubfield(ctx, sf);
  writeSubfield(ctx.flow, sf, Uint8Array.of(n >>> 24, n >>> 16, n >>> 8, n));
  reportSubfield(ctx, sf);
}

export function regMove(ctx: XlateCtx, a: OfpactOf<'reg_move'>): void {
  const { flow, wc } = ctx;
  if (isFieldPrereqOk(flow, a.dst.field, wc) && isFieldPrereqOk(flow, a.src.field, wc)) {
    maskSubfield(ctx, a.src);
    maskSubfield(ctx, a.dst);
    writeSubfield(flow, a.dst, readSubfield(flow, a.src));
  }
  reportSubfield(ctx, a.dst);
}

export function stackPush(ctx: XlateCtx, sf: Subfield): void {
  maskSubfield(ctx, sf);
  ctx.stack.push(readSubfield(ctx.flow, sf));
}

export function stackPop(ctx: XlateCtx, sf: Subfield): void {
  const bits = ctx.stack.pop();
  if (!bits) {
    ctx.reportError('stack underflow');
    return;
  }
  maskSubfield(ctx, sf);
  writeSubfield(ctx.flow, sf, bits);
  reportSubfield(ctx, sf);
}

export function deleteField(ctx: XlateCtx, { field }: OfpactOf<'delete_field'>): void {
  deleteTunMetadata(ctx.flow, field);
  ctx.report('detail', `delete ${field.name}`);
}

function reportSubfield(ctx: XlateCtx, sf: Subfield): void {
  if (!ctx.trace) return;
  ctx.report('detail', `${formatSubfield(sf)} is now ${subfieldText(ctx.flow, sf)}`);
}

function subfieldText(flow: Flow, sf: Subfield): string {
  if (sf.ofs === 0 && sf.nBits >= sf.field.nBits) return formatField(sf.field, getField(flow, sf.field));
  const digits = Buffer.from(readSubfield(flow, sf)).toString('hex');
  const significant = digits.replace(/^0+/, '');
  return significant ? `0x${significant}` : '0';
}
