/**
 * Meters: token buckets that all threads share. A bucket is one word, which refills and is debited by one exchange for a whole group: it keeps what would
 * be there had nothing been spent and nothing run over, less what is there, so that time alone refills it. `src/dpif/meters.ts` is the reference.
 */
import {
  ARENA_METERS,
  DROP_METER,
  METER__SIZE,
  METER_BAND__SIZE,
  METER_BAND_PACKETS,
  METER_BAND_RATE,
  METER_BAND_SIZE,
  METER_BAND_SPENT,
  METER_BYTES,
  METER_KBPS,
  METER_NBANDS,
  METER_PACKETS,
  METERS_MAX,
  PKT_LEN,
  PKT_NEXT,
  THREAD_NOW_MS,
} from './gen/arena';
import { drop, thread } from './thread';

const MILLI_PACKET: u64 = 1000;
/** How far the clock of a thread may be behind another's: each reads it once in a few milliseconds. What is further back has gone round. */
const CLOCKS_APART_MS: u64 = 60_000;

/** Tokens of a bucket, when `now` would be there had nothing been spent. */
// @ts-ignore: decorator
@inline
function tokensOf(now: u64, spent: u64, rate: u64, size: u64): u64 {
  if (spent - now <= CLOCKS_APART_MS * rate) return 0;
  return min<u64>(now - spent, size);
}

// @ts-ignore: decorator
@inline
function cost(pkt: u32, kbps: u32): u64 {
  return kbps ? <u64>load<u32>(pkt, PKT_LEN) * 8 : MILLI_PACKET;
}

/** Takes the tokens of the packets, each that has enough of them left. Returns the others, a bit each. */
function debit(band: u32, head: u32, kbps: u32): u32 {
  const rate: u64 = load<u32>(band, METER_BAND_RATE);
  const size = load<u64>(band, METER_BAND_SIZE);
  const now = <u64>load<f64>(thread, THREAD_NOW_MS) * rate;
  let spent: u64;
  let tokens: u64;
  let left: u64;
  let exceeding: u32;
  do {
    spent = atomic.load<u64>(band, METER_BAND_SPENT);
    tokens = tokensOf(now, spent, rate, size);
    left = tokens;
    exceeding = 0;
    let bit: u32 = 1;
    for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) {
      const wanted = cost(pkt, kbps);
      if (left >= wanted) left -= wanted;
      else exceeding |= bit;
      bit <<= 1;
    }
  } while (left != tokens && atomic.cmpxchg<u64>(band, spent, now - left, METER_BAND_SPENT) != spent);
  return exceeding;
}

/** Adds the chosen packets to two counters that all threads share: PACKETS at `counters`, BYTES behind it. */
function count(counters: u32, head: u32, chosen: u32): void {
  let bytes: u64 = 0;
  let bit: u32 = 1;
  for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) {
    if (chosen & bit) bytes += load<u32>(pkt, PKT_LEN);
    bit <<= 1;
  }
  atomic.add<u64>(counters, popcnt<u32>(chosen));
  atomic.add<u64>(counters, bytes, METER_BYTES - METER_PACKETS);
}

// @ts-ignore: decorator
@inline
function allOf(head: u32): u32 {
  let all: u32 = 0;
  for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) all = (all << 1) | 1;
  return all;
}

/** Drops the chosen packets; returns the first of the others. */
function dropChosen(head: u32, chosen: u32): u32 {
  let first: u32 = 0;
  let last: u32 = 0;
  let left = chosen;
  for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) {
    if (!(left & 1)) {
      if (last) store<u32>(last, pkt, PKT_NEXT);
      else first = pkt;
      last = pkt;
    }
    left >>= 1;
  }
  if (last) store<u32>(last, 0, PKT_NEXT);
  drop(DROP_METER, popcnt<u32>(chosen));
  return first;
}

/**
 * Drops what is above the meter's rates of a group of up to 32 packets, each by the band of the highest rate that it exceeds. Returns the first of the
 * packets that are left. A meter that is not there lets everything pass.
 */
export function meterGroup(head: u32, id: u32): u32 {
  const meter = id < METERS_MAX ? atomic.load<u32>(ARENA_METERS + id * 4) : 0;
  if (!meter) return head;
  const kbps = load<u32>(meter, METER_KBPS);
  const nBands = load<u32>(meter, METER_NBANDS);
  count(meter + METER_PACKETS, head, allOf(head));
  let dropped: u32 = 0;
  for (let i: u32 = 0; i < nBands; i++) {
    const band = meter + METER__SIZE + i * METER_BAND__SIZE;
    const exceeding = debit(band, head, kbps) & ~dropped;
    if (exceeding) count(band + METER_BAND_PACKETS, head, exceeding);
    dropped |= exceeding;
  }
  return dropped ? dropChosen(head, dropped) : head;
}
