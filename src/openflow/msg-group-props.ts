import { FIELDS } from '../../protocols/fields.ts';
import { vlogModule } from '../base/vlog.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { fieldMaskOk } from './field.ts';
import { badProp, putExpProp } from './message-prop.ts';
import type { GroupField, GroupProps } from './messages-group.ts';
import { newOxmEntry, putOxm, readOxmHeader } from './oxm.ts';

/** Netronome's property: how a select group picks its bucket. */

const log = vlogModule('ofp_group');
const NTR_VENDOR_ID = 0x154d;
const NTRT_SELECTION_METHOD = 1;
/** With its NUL. */
const MAX_METHOD_LEN = 16;
const METHODS: readonly string[] = ['hash', 'dp_hash'];

/** Reads the property behind the experimenter's header. Throws OFPBPC_*, OFPBMC_*. */
export function pullGroupFields(r: Reader): GroupProps {
  const left = r.left + 12;
  if (left < 40) badProp(log, false, 'OFPBPC_BAD_LEN', `ntr selection method property length ${left} is not valid`);
  r.skip(4);
  const name = r.sub(MAX_METHOD_LEN);
  const selectionMethod = name.string(MAX_METHOD_LEN);
  if (selectionMethod.length === MAX_METHOD_LEN)
    badProp(log, false, 'OFPBPC_BAD_VALUE', 'ntr selection method is not null terminated');
  if (!METHODS.includes(selectionMethod)) {
    const text = `ntr selection method '${selectionMethod}' is not supported`;
    badProp(log, false, 'OFPBPC_BAD_VALUE', text);
  }
  const selectionMethodParam = r.readU64();
  if (r.left && selectionMethod !== 'hash') {
    const text = `ntr selection method ${selectionMethod} does not support fields`;
    badProp(log, false, 'OFPBPC_BAD_VALUE', text);
  }
  return { selectionMethod, selectionMethodParam, fields: pullFieldArray(r) };
}

const entry = newOxmEntry();

/** OXM entries whose values are masks; each field once. */
function pullFieldArray(r: Reader): GroupField[] {
  r.error = 'OFPBMC_BAD_LEN';
  const found: GroupField[] = [];
  while (r.left > 0) {
    readOxmHeader(r, entry);
    const { field, hasMask, length } = entry;
    const mask = r.bytes(length);
    if (hasMask) throw new OfDecodeError('OFPBMC_BAD_MASK');
    if (!field) throw new OfDecodeError('OFPBMC_BAD_FIELD');
    if (found.some((f) => f.field === field)) throw new OfDecodeError('OFPBMC_DUP_FIELD', field.name);
    if (!fieldMaskOk(field, mask)) throw new OfDecodeError('OFPBMC_BAD_MASK', field.name);
    found.push({ field, mask });
  }
  return found.sort((a, b) => a.field.id - b.field.id);
}

/** Appends the property, if there is a selection method. */
export function putSelectionMethod(w: Writer, p: GroupProps, version: number): void {
  if (!p.selectionMethod) return;
  putExpProp(w, NTR_VENDOR_ID, NTRT_SELECTION_METHOD, () => {
    w.putZeros(4);
    w.putString(p.selectionMethod, MAX_METHOD_LEN);
    w.putU64(p.selectionMethodParam);
    const masks = new Map(p.fields.map((f) => [f.field, f.mask]));
    for (const f of FIELDS) {
      const mask = masks.get(f);
      if (mask) putOxm(w, f, version, mask);
    }
  });
}
