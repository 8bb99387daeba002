import { mf } from '../../openflow/field.ts';
import { cloneMatch, type Match } from '../../openflow/match.ts';
import type { TlvMap } from '../../openflow/messages-nicira.ts';
import { matchedTunMetadata, matchSetTunMetadata, TunTable } from '../../openflow/tun-metadata.ts';

/**
 * Tunnel metadata of flows that were read without their switch's TLV table: each has its fields as wide as its own text made them. To
 * compare flows, all are laid out anew with the widest that any of them has.
 */

/** A layout with every field that the matches use; undefined when they use none, or more than there is room for. */
export function commonLayout(matches: readonly Match[]): TunTable | undefined {
  const sizes = new Map<number, number>();
  for (const m of matches) {
    for (const { index, value } of matchedTunMetadata(m))
      sizes.set(index, Math.max(sizes.get(index) ?? 0, value.length));
  }
  if (sizes.size === 0) return undefined;
  // Which option a field is mapped to does not matter here: only that there is one for each.
  const maps: TlvMap[] = [...sizes].map(([index, size]) => ({
    optionClass: 0,
    optionType: index,
    optionLen: Math.max(4, (size + 3) & ~3),
    index,
  }));
  const table = TunTable.EMPTY.mod('add', maps);
  return typeof table === 'string' ? undefined : table;
}

/** The same match in another layout. */
export function remapTunMetadata(match: Match, table: TunTable): Match {
  const fields = matchedTunMetadata(match);
  if (fields.length === 0) return match;
  const out = cloneMatch(match);
  for (const flow of [out.flow, out.wc]) {
    flow.tunMetadata = new Uint8Array(flow.tunMetadata.length);
    flow.tunMetadataPresent = 0n;
    flow.tunTable = table;
  }
  for (const { index, value, mask, masked } of fields) {
    const f = mf(`tun_metadata${index}`);
    const wide = (bytes: Uint8Array, fill: number) => {
      const all = new Uint8Array(f.nBytes).fill(fill, 0, f.nBytes - bytes.length);
      all.set(bytes, f.nBytes - bytes.length);
      return all;
    };
    matchSetTunMetadata(out, f, wide(value, 0), masked ? wide(mask, 0) : undefined);
  }
  return out;
}
