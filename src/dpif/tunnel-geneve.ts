import type { Flow } from '../flow/flow.ts';
import type { FlowFields } from '../gen/flow.ts';
import { type GeneveOption, TUNNEL_F_RAW } from './dpif.ts';
import type { MaskedGeneveOption } from './odp-tunnel-text.ts';

/** Geneve options in a datapath's key: as they were in the packet, for only a bridge knows what they mean (RFC 8926 section 3.5). */

/** Longest options that a header can hold: a 6-bit number of words. */
export const GENEVE_OPTIONS_MAX = 252;

/** Options of a key, as they are; empty when it has none. */
export function rawGeneve(key: FlowFields): Uint8Array {
  if (!(key.tunFlags & TUNNEL_F_RAW)) return new Uint8Array(0);
  return key.tunMetadata.slice(0, Math.min(Number(key.tunMetadataPresent), GENEVE_OPTIONS_MAX));
}

export function setRawGeneve(key: FlowFields, options: Uint8Array): void {
  key.tunMetadata.fill(0);
  key.tunMetadata.set(options);
  key.tunMetadataPresent = BigInt(options.length);
  key.tunFlags |= TUNNEL_F_RAW;
}

/** The options one by one; what is cut short ends them. */
export function splitGeneve(raw: Uint8Array): GeneveOption[] {
  const options: GeneveOption[] = [];
  for (let at = 0; at + 4 <= raw.length; ) {
    const size = (raw[at + 3] & 0x1f) * 4;
    if (at + 4 + size > raw.length) break;
    options.push({
      optClass: (raw[at] << 8) | raw[at + 1],
      type: raw[at + 2],
      data: raw.slice(at + 4, at + 4 + size),
    });
    at += 4 + size;
  }
  return options;
}

export function joinGeneve(options: readonly GeneveOption[]): Uint8Array {
  return Uint8Array.from(
    options.flatMap(({ optClass, type, data }) => [optClass >> 8, optClass & 0xff, type, data.length / 4, ...data]),
  );
}

/** Options of a key and what of them is matched, for its text. */
export function geneveOfKey(key: FlowFields, mask: FlowFields | undefined): MaskedGeneveOption[] {
  const options = splitGeneve(rawGeneve(key));
  if (!mask) return options.map((option) => ({ key: option }));
  let at = 0;
  return options.map((option) => {
    const bits = mask.tunMetadata.slice(at, at + 4 + option.data.length);
    at += bits.length;
    return { key: option, mask: { optClass: (bits[0] << 8) | bits[1], type: bits[2], data: bits.slice(4) } };
  });
}

/** Puts options that were read from text into a key and its mask. */
export function putGeneve(options: readonly MaskedGeneveOption[], key: Flow, mask: Flow): void {
  setRawGeneve(key, joinGeneve(options.map((o) => o.key)));
  const bits = options.flatMap(({ key: k, mask: m }) => {
    const data = m?.data ?? new Uint8Array(k.data.length).fill(0xff);
    const head = m ? [m.optClass >> 8, m.optClass & 0xff, m.type] : [0xff, 0xff, 0xff];
    return [...head, 0x1f, ...data];
  });
  mask.tunMetadata.set(bits);
  mask.tunMetadataPresent = 0xffn;
}
