/**
 * Datapath classifier: tuple space search over the subtables of a packet's input port, in the order that the control thread ranks them. The control
 * thread writes the tables; a reader sees a bucket's entry when its flow index is stored, last.
 */
import {
  ARENA_HEADER,
  BUCKET_FLOWS,
  BUCKET_HASHES,
  BUCKET_NEXT,
  BUCKET_WAYS,
  BUCKET__SIZE,
  FLOW_DEAD,
  FLOW_KEY,
  FLOW_SUBTABLE,
  HEADER_HASH_SEED,
  KEY_IN_PORT,
  KEY_RECIRC_ID,
  PKT_KEY,
  PKT_LONG,
  PORT_DPCLS,
  PORT_DPCLS_RECIRC,
  PORTS_MAX,
  SUBTABLE_BUCKET_MASK,
  SUBTABLE_BUCKETS,
  SUBTABLE_LONG,
  SUBTABLE_MASKS,
  SUBTABLE_NWORDS,
  SUBTABLE_WORDS,
  THREAD_MASKED,
} from './gen/arena';
import { lengthenKey } from './extract';
import { finish, mix } from './hash';
import { flowAt, portAt, thread } from './thread';

/** Subtables that the last search looked at. */
export let searched: u32 = 0;

// @ts-ignore: decorator
@inline
function maskedWord(subtable: u32, key: u32, i: u32): u64 {
  const word: u32 = load<u8>(subtable + i, SUBTABLE_WORDS);
  return load<u64>(key + word * 8) & load<u64>(subtable + i * 8, SUBTABLE_MASKS);
}

/**
 * Hash of the packet's key under the subtable's mask; `flowHash` gives the same for a flow. Two chains run beside each other. The masked words
 * stay in THREAD_MASKED.
 */
// @ts-ignore: decorator
@inline
function hashMasked(subtable: u32, key: u32): u32 {
  const n = load<u32>(subtable, SUBTABLE_NWORDS);
  let a = load<u64>(ARENA_HEADER + HEADER_HASH_SEED);
  let b: u64 = 0;
  let i: u32 = 0;
  for (; i + 1 < n; i += 2) {
    const even = maskedWord(subtable, key, i);
    const odd = maskedWord(subtable, key, i + 1);
    store<u64>(thread + i * 8, even, THREAD_MASKED);
    store<u64>(thread + i * 8 + 8, odd, THREAD_MASKED);
    a = mix(a, even);
    b = mix(b, odd);
  }
  if (i < n) {
    const last = maskedWord(subtable, key, i);
    store<u64>(thread + i * 8, last, THREAD_MASKED);
    a = mix(a, last);
  }
  return finish(a ^ rotl<u64>(b, 29));
}

/** True when the flow has the words that `hashMasked` left in THREAD_MASKED. */
// @ts-ignore: decorator
@inline
function equalHashed(flow: u32, n: u32): bool {
  let diff: u64 = 0;
  for (let i: u32 = 0; i < n; i++) diff |= load<u64>(flow + i * 8, FLOW_KEY) ^ load<u64>(thread + i * 8, THREAD_MASKED);
  return diff == 0;
}

// @ts-ignore: decorator
@inline
function equalMasked(flow: u32, subtable: u32, key: u32): bool {
  const n = load<u32>(subtable, SUBTABLE_NWORDS);
  for (let i: u32 = 0; i < n; i++) {
    if (load<u64>(flow + i * 8, FLOW_KEY) != maskedWord(subtable, key, i)) return false;
  }
  return true;
}

/** True when the megaflow lives and matches the packet. */
// @ts-ignore: decorator
@inline
export function flowMatches(flow: u32, pkt: u32): bool {
  const record = flowAt(flow);
  if (atomic.load<u32>(record, FLOW_DEAD)) return false;
  const subtable = load<u32>(record, FLOW_SUBTABLE);
  if (load<u32>(subtable, SUBTABLE_LONG)) lengthenKey(pkt);
  return equalMasked(record, subtable, pkt + PKT_KEY);
}

function searchSubtable(subtable: u32, pkt: u32): u32 {
  if (load<u32>(subtable, SUBTABLE_LONG)) lengthenKey(pkt);
  const key = pkt + PKT_KEY;
  const hash = hashMasked(subtable, key);
  const n = load<u32>(subtable, SUBTABLE_NWORDS);
  let bucket = load<u32>(subtable, SUBTABLE_BUCKETS) + (hash & load<u32>(subtable, SUBTABLE_BUCKET_MASK)) * BUCKET__SIZE;
  do {
    for (let way: u32 = 0; way < BUCKET_WAYS; way++) {
      if (load<u32>(bucket + way * 4, BUCKET_HASHES) != hash) continue;
      const flow = atomic.load<u32>(bucket + way * 4, BUCKET_FLOWS);
      if (flow == 0) continue;
      const record = flowAt(flow);
      if (!load<u32>(record, FLOW_DEAD) && equalHashed(record, n)) return flow;
    }
    bucket = load<u32>(bucket, BUCKET_NEXT);
  } while (bucket);
  return 0;
}

/** The subtables that a packet may match: those of its port, packets that were recirculated apart. Ports out of range share the last record. */
// @ts-ignore: decorator
@inline
function listFor(pkt: u32): u32 {
  const port = portAt(min(load<u32>(pkt + PKT_KEY, KEY_IN_PORT), PORTS_MAX - 1));
  if (load<u32>(pkt + PKT_KEY, KEY_RECIRC_ID)) return atomic.load<u32>(port, PORT_DPCLS_RECIRC);
  return atomic.load<u32>(port, PORT_DPCLS);
}

/** Flow index of the megaflow that matches the packet, or 0. */
export function dpclsLookup(pkt: u32): u32 {
  searched = 0;
  const list = listFor(pkt);
  if (!list) return 0;
  const count = load<u32>(list);
  for (let i: u32 = 1; i <= count; i++) {
    searched++;
    const flow = searchSubtable(load<u32>(list + i * 4), pkt);
    if (flow) return flow;
  }
  return 0;
}

/** Hash of a megaflow's masked words: what `hashMasked` gives for every packet that it matches. For the control thread. */
export function flowHash(flow: u32): u32 {
  const record = flowAt(flow);
  const n = load<u32>(load<u32>(record, FLOW_SUBTABLE), SUBTABLE_NWORDS);
  let a = load<u64>(ARENA_HEADER + HEADER_HASH_SEED);
  let b: u64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const word = load<u64>(record + i * 8, FLOW_KEY);
    if (i & 1) b = mix(b, word);
    else a = mix(a, word);
  }
  return finish(a ^ rotl<u64>(b, 29));
}
