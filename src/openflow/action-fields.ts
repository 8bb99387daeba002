import type { MatchField } from '../../protocols/fields.ts';
import type { Ofpact } from './actions.ts';
import { isTunMetadata, tunMetadataIndex } from './tun-metadata.ts';

/** The fields that an action names, those of the actions inside it too. */
export function actionFields(a: Ofpact): MatchField[] {
  switch (a.type) {
    case 'set_field':
    case 'delete_field':
      return [a.field];
    case 'reg_move':
      return [a.src.field, a.dst.field];
    case 'output_reg':
      return [a.src.field];
    case 'stack_push':
    case 'stack_pop':
      return [a.subfield.field];
    case 'bundle':
      return a.dst ? [a.dst.field] : [];
    case 'multipath':
    case 'check_pkt_larger':
      return [a.dst.field];
    case 'learn':
      return [
        ...(a.resultDst ? [a.resultDst.field] : []),
        ...a.specs.flatMap(({ src, dst }) => [
          ...(src instanceof Uint8Array ? [] : [src.field]),
          ...(dst ? [dst.field] : []),
        ]),
      ];
    case 'ct':
      return [...(typeof a.zone === 'number' ? [] : [a.zone.field]), ...a.actions.flatMap(actionFields)];
    case 'clone':
    case 'write_actions':
      return a.actions.flatMap(actionFields);
    default:
      return [];
  }
}

/** A bit for each tun_metadata<n> that the actions name: what a TLV table must keep for them. */
export function tlvBitmap(actions: readonly Ofpact[]): bigint {
  let bitmap = 0n;
  for (const a of actions)
    for (const f of actionFields(a)) if (isTunMetadata(f)) bitmap |= 1n << BigInt(tunMetadataIndex(f));
  return bitmap;
}
