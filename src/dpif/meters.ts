import type { DpMeterConfig, DpMeterStats } from './dpif.ts';

/** Numbers of meters, and bands of one, as dpif-netdev reports them. */
export const MAX_METERS = 1 << 18;
export const MAX_BANDS = 8;

interface Band {
  /** Per second; kbit or packets. */
  readonly rate: number;
  /** What the bucket holds at most, in thousandths: bits or milli-packets. */
  readonly size: number;
  bucket: number;
  packets: bigint;
  bytes: bigint;
}

interface Meter {
  readonly kbps: boolean;
  readonly bands: Band[];
  packets: bigint;
  bytes: bigint;
  usedMs: number;
}

/** Token buckets of a datapath (RFC 2698's idea with one rate): a packet is dropped by the band of the highest rate that it exceeds. */
export class Meters {
  readonly #meters = new Map<number, Meter>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** See `Dpif.meterSet`. */
  set(id: number, config: DpMeterConfig): boolean {
    if (id < 0 || id >= MAX_METERS || config.bands.length > MAX_BANDS) return false;
    const bands = config.bands.map(({ rate, burst }) => {
      const size = (burst || rate) * 1000;
      return { rate, size, bucket: size, packets: 0n, bytes: 0n };
    });
    this.#meters.set(id, { kbps: config.kbps, bands, packets: 0n, bytes: 0n, usedMs: this.#nowMs() });
    return true;
  }

  get(id: number): DpMeterStats | undefined {
    const meter = this.#meters.get(id);
    if (!meter) return undefined;
    const bands = meter.bands.map(({ packets, bytes }) => ({ packets, bytes }));
    return { packets: meter.packets, bytes: meter.bytes, bands };
  }

  delete(id: number): DpMeterStats | undefined {
    const stats = this.get(id);
    this.#meters.delete(id);
    return stats;
  }

  /** Takes one packet's tokens. False: it is to be dropped. A meter that is not there lets everything pass. */
  run(id: number, size: number): boolean {
    const meter = this.#meters.get(id);
    if (!meter) return true;
    this.#refill(meter);
    meter.packets++;
    meter.bytes += BigInt(size);
    const cost = meter.kbps ? size * 8 : 1000;
    let exceeded: Band | undefined;
    for (const band of meter.bands) {
      if (band.bucket >= cost) band.bucket -= cost;
      else if (!exceeded || band.rate > exceeded.rate) exceeded = band;
    }
    if (!exceeded) return true;
    exceeded.packets++;
    exceeded.bytes += BigInt(size);
    return false;
  }

  /** A rate of n a second is n thousandths a millisecond; kbit/s are bits a millisecond. */
  #refill(meter: Meter): void {
    const now = this.#nowMs();
    const delta = Math.max(0, now - meter.usedMs);
    meter.usedMs = now;
    for (const band of meter.bands) band.bucket = Math.min(band.size, band.bucket + delta * band.rate);
  }
}
