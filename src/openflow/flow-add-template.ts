import type { MatchField } from '../../protocols/fields.ts';
import { type MaskShape, type MatchValues, shapeOf } from '../flow/mask-shape.ts';
import { Reader } from './buffer.ts';
import { bytePlace } from './field.ts';
import { cloneMatch, type Match } from './match.ts';
import { newOxmEntry, readOxmHeader } from './oxm.ts';

/**
 * What the matches of many flow-mods have in common. Controllers send flows by the thousand that differ in addresses and ports alone: with
 * the same OXM fields, masks, and protocols a match is right if one is, and its mask is the same. So a match that was decoded once, by
 * `nx-match.ts`, makes a template; what fits it is read by copying the bytes that may differ.
 *
 * A byte of the match is free when it belongs to the value of a field of which every value is good, and on which no other field's
 * prerequisites hang; under a mask, its bits in the mask are. All other bytes must be those of the template.
 */

/** Fields on whose values prerequisites hang, or the way in which others are read. */
const DECIDING: ReadonlySet<string> = new Set([
  'packet_type',
  'eth_type',
  'ip_frag',
  'nw_proto',
  'ct_state',
  'ct_nw_proto',
]);
const PORTS: ReadonlySet<string> = new Set(['in_port_oxm', 'actset_output']);

/** Where each value byte of the field goes in a flow, if any value is good; in that of a port the lower two bytes, up to 0xfeff. */
function freePlace(f: MatchField): number | undefined {
  if (DECIDING.has(f.name) || f.prereq === 'icmp6' || f.variableLength) return undefined;
  return bytePlace(f);
}

const OFPXMT_OXM_HEADER = 4;
const LITTLE = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

export class MatchTemplate {
  /** Of the match, as its header says it: without padding. */
  readonly length: number;
  readonly shape: MaskShape;
  /** A match like those that fit, for what looks at the bytes that are not free. */
  readonly sample: Match;
  /** The bytes of a match that fits, free bits zero, and which bits are not free. */
  readonly #bytes: Uint8Array;
  readonly #fixed: Uint8Array;
  /** Where ports are whose upper half is zero. */
  readonly #ports: number[] = [];
  /** The values with free bits zero; and for each free byte, by turns: its place in the match, the value that it is part of, its shift there. */
  readonly #values: number[];
  readonly #free: Int32Array;

  /** `match` is what `u8`, an `ofp_match` of type OFPMT_OXM, was decoded to. */
  constructor(u8: Uint8Array, match: Match) {
    this.length = u8.length;
    this.sample = cloneMatch(match);
    this.shape = shapeOf(match.wc);
    this.#bytes = u8.slice();
    this.#fixed = new Uint8Array(u8.length).fill(0xff);
    const r = new Reader(u8, OFPXMT_OXM_HEADER);
    const entry = newOxmEntry();
    const free: number[] = [];
    while (r.left > 0) {
      readOxmHeader(r, entry);
      const at = r.take(entry.length);
      if (entry.field) this.#freeField(entry.field, at, entry.hasMask ? at + entry.length / 2 : undefined, free);
    }
    this.#free = Int32Array.from(free);
    this.#values = [...this.shape.valuesOf(match.flow)];
    for (let i = 0; i < free.length; i += 3) this.#values[free[i + 1]] &= ~(0xff << free[i + 2]);
  }

  #freeField(f: MatchField, valueAt: number, maskAt: number | undefined, free: number[]): void {
    const start = freePlace(f);
    if (start === undefined) return;
    const u8 = this.#bytes;
    let i = 0;
    if (PORTS.has(f.name)) {
      if (u8[valueAt] || u8[valueAt + 1]) return;
      i = 2;
      this.#ports.push(valueAt + 2);
    }
    for (; i < f.nBytes; i++) {
      const at = valueAt + i;
      const word = this.shape.words.indexOf((start + i) >> 2);
      if (word < 0) continue;
      const byte = (start + i) & 3;
      free.push(at, word, 8 * (LITTLE ? byte : 3 - byte));
      this.#fixed[at] = maskAt === undefined ? 0 : ~u8[maskAt + i];
      u8[at] = 0;
    }
  }

  /** Whether the match at `at` of `u8`, which has as many bytes, is right and has this template's mask. */
  fits(u8: Uint8Array, at: number): boolean {
    const bytes = this.#bytes;
    const fixed = this.#fixed;
    for (let i = 0; i < bytes.length; i++) if ((u8[at + i] ^ bytes[i]) & fixed[i]) return false;
    for (const port of this.#ports) if (u8[at + port] === 0xff) return false;
    return true;
  }

  /** The values, under `shape`, of a match that fits. */
  valuesAt(u8: Uint8Array, at: number): MatchValues {
    const values = this.#values.slice();
    const free = this.#free;
    for (let i = 0; i < free.length; i += 3) values[free[i + 1]] |= u8[at + free[i]] << free[i + 2];
    return values;
  }
}
