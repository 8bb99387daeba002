import {
  ARENA_METERS,
  METER__SIZE,
  METER_BAND__SIZE,
  METER_BAND_BYTES,
  METER_BAND_PACKETS,
  METER_BAND_RATE,
  METER_BAND_SIZE,
  METER_BAND_SPENT,
  METER_BYTES,
  METER_KBPS,
  METER_NBANDS,
  METER_PACKETS,
  METERS_MAX,
} from '../../gen/arena.ts';
import type { DpMeterConfig, DpMeterStats } from '../dpif.ts';
import { MAX_BANDS } from '../meters.ts';
import type { Arena } from './arena.ts';
import type { ArenaHeap } from './heap.ts';
import type { Rcu } from './rcu.ts';

interface Meter {
  readonly at: number;
  readonly size: number;
  /** For each band of the configuration, which record has it: those are sorted by rate. */
  readonly places: readonly number[];
}

export interface ArenaMetersDeps {
  arena: Arena;
  heap: ArenaHeap;
  rcu: Rcu;
  nowMs(): number;
}

/** The meters of a datapath, where the fast path debits and counts them (src/fastpath/meter.ts). Control thread only. */
export class ArenaMeters {
  readonly #deps: ArenaMetersDeps;
  readonly #meters = new Map<number, Meter>();

  constructor(deps: ArenaMetersDeps) {
    this.#deps = deps;
  }

  /** See `Dpif.meterSet`. A meter that is set again starts with full buckets, and with no packet counted. */
  set(id: number, config: DpMeterConfig): boolean {
    if (id < 0 || id >= METERS_MAX || config.bands.length > MAX_BANDS) return false;
    const size = METER__SIZE + config.bands.length * METER_BAND__SIZE;
    const at = this.#deps.heap.alloc(size);
    if (at === undefined) return false;
    const sorted = config.bands.map((_, i) => i).sort((a, b) => config.bands[b]!.rate - config.bands[a]!.rate);
    this.#write(at, size, config, sorted);
    const before = this.#meters.get(id);
    this.#meters.set(id, { at, size, places: config.bands.map((_, i) => sorted.indexOf(i)) });
    this.#deps.arena.publish(ARENA_METERS + id * 4, at);
    if (before) this.#retire(before);
    return true;
  }

  #write(at: number, size: number, { kbps, bands }: DpMeterConfig, sorted: readonly number[]): void {
    const { arena } = this.#deps;
    arena.u8.fill(0, at, at + size);
    arena.set(at + METER_KBPS, kbps ? 1 : 0);
    arena.set(at + METER_NBANDS, bands.length);
    sorted.forEach((i, place) => {
      const { rate, burst } = bands[i]!;
      const bucket = BigInt(burst || rate) * 1000n;
      const band = bandAt(at, place);
      arena.set(band + METER_BAND_RATE, rate);
      arena.u64[(band + METER_BAND_SIZE) >> 3] = bucket;
      arena.u64[(band + METER_BAND_SPENT) >> 3] = BigInt(this.#deps.nowMs()) * BigInt(rate) - bucket;
    });
  }

  #retire({ at, size }: Meter): void {
    this.#deps.rcu.retire(() => this.#deps.heap.free(at, size));
  }

  get(id: number): DpMeterStats | undefined {
    const meter = this.#meters.get(id);
    if (!meter) return undefined;
    const bands = meter.places.map((place) => ({
      packets: this.#count(bandAt(meter.at, place) + METER_BAND_PACKETS),
      bytes: this.#count(bandAt(meter.at, place) + METER_BAND_BYTES),
    }));
    return { packets: this.#count(meter.at + METER_PACKETS), bytes: this.#count(meter.at + METER_BYTES), bands };
  }

  #count(at: number): bigint {
    return Atomics.load(this.#deps.arena.u64, at >> 3);
  }

  delete(id: number): DpMeterStats | undefined {
    const stats = this.get(id);
    const meter = this.#meters.get(id);
    if (!meter) return undefined;
    this.#meters.delete(id);
    this.#deps.arena.publish(ARENA_METERS + id * 4, 0);
    this.#retire(meter);
    return stats;
  }

  /** Takes the tokens of one packet of this thread, as the fast path does for its own. False: it is to be dropped. */
  run(id: number, size: number): boolean {
    const meter = this.#meters.get(id);
    if (!meter) return true;
    const { arena } = this.#deps;
    this.#add(meter.at + METER_PACKETS, meter.at + METER_BYTES, size);
    const cost = arena.get(meter.at + METER_KBPS) ? BigInt(size) * 8n : 1000n;
    let exceeded: number | undefined;
    for (let place = 0; place < meter.places.length; place++) {
      const band = bandAt(meter.at, place);
      if (!this.#debit(band, cost)) exceeded ??= band;
    }
    if (exceeded === undefined) return true;
    this.#add(exceeded + METER_BAND_PACKETS, exceeded + METER_BAND_BYTES, size);
    return false;
  }

  #add(packets: number, bytes: number, size: number): void {
    Atomics.add(this.#deps.arena.u64, packets >> 3, 1n);
    Atomics.add(this.#deps.arena.u64, bytes >> 3, BigInt(size));
  }

  #debit(band: number, cost: bigint): boolean {
    const { arena } = this.#deps;
    const now = BigInt(this.#deps.nowMs()) * BigInt(arena.get(band + METER_BAND_RATE));
    const bucket = arena.u64[(band + METER_BAND_SIZE) >> 3]!;
    const at = (band + METER_BAND_SPENT) >> 3;
    for (;;) {
      const spent = Atomics.load(arena.u64, at);
      const refilled = BigInt.asIntN(64, now - spent);
      const tokens = refilled < bucket ? refilled : bucket;
      if (tokens < cost) return false;
      const next = BigInt.asUintN(64, now - (tokens - cost));
      if (Atomics.compareExchange(arena.u64, at, spent, next) === spent) return true;
    }
  }
}

const bandAt = (meter: number, place: number) => meter + METER__SIZE + place * METER_BAND__SIZE;
