import { Flow, type FlowWildcards } from '../../flow/flow.ts';
import { KEY__SIZE } from '../../gen/arena.ts';
import { FLOW_MEMBERS, type FlowMemberName } from '../../gen/flow.ts';
import { FLOW_KEY_MEMBERS } from '../../gen/flow-key.ts';

/** Of the bytes of a member that a key has. A number of which it has fewer bytes is a small one. */
function flowOffset(name: (typeof FLOW_KEY_MEMBERS)[number]['name'], size: number): number {
  const member = FLOW_MEMBERS[name];
  return name === 'tun_metadata_present' ? member.offset + member.size - size : member.offset;
}

/** Where each member of the fast path's key lies in a Flow. `native`: little-endian in the key. */
const PLACES = FLOW_KEY_MEMBERS.map(({ name, offset, size }) => ({
  key: offset,
  flow: flowOffset(name, size),
  size,
  native: name === 'in_port' || name === 'recirc_id',
}));

/** Where each byte of the key comes from in a Flow: pairs of key offset and Flow offset. */
const BYTES = Uint16Array.from(
  PLACES.flatMap(({ key, flow, size, native }) =>
    Array.from({ length: size }, (_, i) => [key + i, native ? flow + size - 1 - i : flow + i]).flat(),
  ),
);

/** Writes a flow, or a mask, into the KEY__SIZE bytes of a fast path key. Members that no packet can carry are left out. */
export function flowToKey(flow: Flow | FlowWildcards, key: Uint8Array): void {
  const from = flow.u8;
  key.fill(0, 0, KEY__SIZE);
  for (let i = 0; i < BYTES.length; i += 2) key[BYTES[i]!] = from[BYTES[i + 1]!]!;
}

/** Stretches of a Flow that a key has no room for. */
export const OUTSIDE_KEY: readonly { name: FlowMemberName; at: number; end: number }[] = (
  Object.keys(FLOW_MEMBERS) as FlowMemberName[]
).flatMap((name) => {
  const { offset, size } = FLOW_MEMBERS[name];
  const inKey = FLOW_KEY_MEMBERS.find((member) => member.name === name);
  if (!inKey) return [{ name, at: offset, end: offset + size }];
  const from = flowOffset(inKey.name, inKey.size);
  return [
    { name, at: offset, end: from },
    { name, at: from + inKey.size, end: offset + size },
  ].filter(({ at, end }) => at < end);
});

/** The Flow of a key; `long` is false when only the short words of `key` are written. */
export function keyToFlow(key: Uint8Array, long: boolean, shortSize: number): Flow {
  const flow = new Flow();
  for (const place of PLACES) {
    if (!long && place.key >= shortSize) continue;
    for (let i = 0; i < place.size; i++) {
      flow.u8[place.flow + (place.native ? place.size - 1 - i : i)] = key[place.key + i]!;
    }
  }
  return flow;
}
