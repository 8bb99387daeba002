import type { Flow, FlowWildcards } from '../../flow/flow.ts';
import { packetWildcards } from '../../openflow/flow-format.ts';

/** Whether every bit of `bits` is in `wide`. */
export function covers(wide: Flow, bits: Flow): boolean {
  for (let i = 0; i < wide.u32.length; i++) if (bits.u32[i]! & ~wide.u32[i]!) return false;
  return true;
}

/** `covers` of one mask by many: the words that it has bits in are found once. */
export function coveredBy(bits: Flow): (wide: Flow) => boolean {
  const words: number[] = [];
  for (let i = 0; i < bits.u32.length; i++) if (bits.u32[i] !== 0) words.push(i);
  return (wide) => {
    for (const i of words) if (bits.u32[i]! & ~wide.u32[i]!) return false;
    return true;
  };
}

/** Number of bits that a mask looks at. */
export function bitsOf(mask: FlowWildcards): number {
  let n = 0;
  for (let word of mask.u32) for (; word !== 0; word &= word - 1) n++;
  return n;
}

/** Everything that a packet with this key has, and what `mask` looks at besides. */
export function wholePacket(key: Flow, mask: FlowWildcards): FlowWildcards {
  const whole = packetWildcards(key);
  whole.inPort = 0xffffffff;
  whole.recircId = 0xffffffff;
  whole.orWith(mask);
  return whole;
}
