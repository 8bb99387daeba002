import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { Dpif, DpMeterConfig } from '../dpif/dpif.ts';
import type { Ofpact } from '../openflow/actions.ts';
import {
  type MeterConfig,
  type MeterFeatures,
  type MeterMod,
  type MeterStats,
  MF_BURST,
  MF_KBPS,
  MF_PKTPS,
  MF_STATS,
  OFPM_ALL,
  OFPM_CONTROLLER,
  OFPM_MAX,
  OFPM_SLOWPATH,
} from '../openflow/messages-meter.ts';
import type { FlowTables } from './flow-tables.ts';
import type { Rule } from './rule.ts';

/** The meters of one bridge (OpenFlow 1.3 section 5.7), over those of the datapath. */

/** The datapath's meter numbers, shared by its bridges. */
export class MeterIds {
  readonly #used = new Set<number>();
  /** All numbers below are used. */
  #low = 0;
  readonly #dpif: Dpif;

  constructor(dpif: Dpif) {
    this.#dpif = dpif;
  }

  /** The lowest free number; undefined when there is none. */
  allocate(): number | undefined {
    const { maxMeters } = this.#dpif.meterFeatures();
    let id = this.#low;
    while (this.#used.has(id)) id++;
    this.#low = id;
    if (id >= maxMeters) return undefined;
    this.#used.add(id);
    return id;
  }

  free(id: number): void {
    this.#used.delete(id);
    this.#low = Math.min(this.#low, id);
  }
}

export class Meter {
  readonly id: number;
  /** Its number in the datapath. */
  readonly providerId: number;
  readonly createdMs: number;
  config: MeterConfig;
  /** Flows whose actions name it. */
  readonly rules = new Set<Rule>();

  constructor(id: number, providerId: number, createdMs: number, config: MeterConfig) {
    this.id = id;
    this.providerId = providerId;
    this.createdMs = createdMs;
    this.config = config;
  }
}

const dpConfig = (c: MeterConfig): DpMeterConfig => ({
  kbps: (c.flags & MF_KBPS) !== 0,
  burst: (c.flags & MF_BURST) !== 0,
  bands: c.bands.map((b) => ({ rate: b.rate, burst: b.burstSize })),
});

const ALL_FLAGS = MF_KBPS | MF_PKTPS | MF_BURST | MF_STATS;
/** Bit of the band type "drop". */
const BAND_DROP = 1 << 1;

export class MeterTable {
  readonly #meters = new Map<number, Meter>();
  readonly #dpif: Dpif;
  readonly #ids: MeterIds;
  readonly #nowMs: () => number;

  constructor(dpif: Dpif, ids: MeterIds, nowMs: () => number) {
    this.#dpif = dpif;
    this.#ids = ids;
    this.#nowMs = nowMs;
  }

  get(id: number): Meter | undefined {
    return this.#meters.get(id);
  }

  /** By rising number. */
  all(): Meter[] {
    return [...this.#meters.values()].sort((a, b) => a.id - b.id);
  }

  /** The datapath's number of a meter. */
  providerId(id: number): number | undefined {
    return this.#meters.get(id)?.providerId;
  }

  /** Undefined when all meters of the list are there. */
  check(actions: Iterable<Ofpact>): OfErrorName | undefined {
    for (const a of actions) if (a.type === 'meter' && !this.#meters.has(a.meterId)) return 'OFPMMFC_INVALID_METER';
    return undefined;
  }

  ruleIn(rule: Rule): void {
    for (const a of rule.actions) if (a.type === 'meter') this.#meters.get(a.meterId)?.rules.add(rule);
  }

  ruleOut(rule: Rule): void {
    for (const a of rule.actions) if (a.type === 'meter') this.#meters.get(a.meterId)?.rules.delete(rule);
  }

  features(): MeterFeatures {
    const { maxMeters, maxBands } = this.#dpif.meterFeatures();
    return {
      maxMeters,
      bandTypes: BAND_DROP,
      capabilities: ALL_FLAGS,
      maxBands,
      maxColor: 0,
    };
  }

  /** Applies a meter-mod; nothing may be staged in `tables`. */
  mod(m: MeterMod, tables: FlowTables): OfErrorName | undefined {
    if (m.command === 'delete') {
      if (m.meterId === OFPM_ALL) for (const meter of this.all()) this.#delete(meter, tables);
      else {
        const meter = this.#meters.get(m.meterId);
        if (meter) this.#delete(meter, tables);
      }
      return undefined;
    }
    const { maxMeters, maxBands } = this.#dpif.meterFeatures();
    const virtual = m.meterId === OFPM_SLOWPATH || m.meterId === OFPM_CONTROLLER;
    if (maxMeters === 0 || m.meterId === 0 || (m.meterId > OFPM_MAX && !virtual)) return 'OFPMMFC_INVALID_METER';
    if (m.bands.length > maxBands) return 'OFPMMFC_OUT_OF_BANDS';
    return m.command === 'add' ? this.#add(m) : this.#modify(m);
  }

  /** What no datapath can do. */
  #unsupported(m: MeterMod): OfErrorName | undefined {
    if (!(m.flags & (MF_KBPS | MF_PKTPS))) return 'OFPMMFC_BAD_FLAGS';
    if (m.bands.length === 0) return 'OFPMMFC_OUT_OF_BANDS';
    if (m.bands.some((b) => b.rate === 0)) return 'OFPMMFC_BAD_RATE';
    if (m.flags & ~ALL_FLAGS) return 'OFPMMFC_BAD_FLAGS';
    return m.bands.some((b) => b.type !== 'drop') ? 'OFPMMFC_BAD_BAND' : undefined;
  }

  #add(m: MeterMod): OfErrorName | undefined {
    if (this.#meters.has(m.meterId)) return 'OFPMMFC_METER_EXISTS';
    const providerId = this.#ids.allocate();
    if (providerId === undefined) return 'OFPMMFC_OUT_OF_METERS';
    const error = this.#unsupported(m);
    if (error || !this.#dpif.meterSet(providerId, dpConfig(m))) {
      this.#ids.free(providerId);
      return error ?? 'OFPMMFC_UNKNOWN';
    }
    this.#meters.set(m.meterId, new Meter(m.meterId, providerId, this.#nowMs(), configOf(m)));
    return undefined;
  }

  #modify(m: MeterMod): OfErrorName | undefined {
    const meter = this.#meters.get(m.meterId);
    if (!meter) return 'OFPMMFC_UNKNOWN_METER';
    const error = this.#unsupported(m);
    if (error) return error;
    if (!this.#dpif.meterSet(meter.providerId, dpConfig(m))) return 'OFPMMFC_UNKNOWN';
    meter.config = configOf(m);
    return undefined;
  }

  #delete(meter: Meter, tables: FlowTables): void {
    this.#meters.delete(meter.id);
    tables.removeAll([...meter.rules], 'meter_delete');
    this.#dpif.meterDel(meter.providerId);
    this.#ids.free(meter.providerId);
  }

  /** Deletes all, with the flows that use them. */
  flush(tables: FlowTables): void {
    for (const meter of this.all()) this.#delete(meter, tables);
  }

  stats(meter: Meter): MeterStats {
    const dp = this.#dpif.meterGet(meter.providerId);
    const ms = Math.max(0, this.#nowMs() - meter.createdMs);
    return {
      meterId: meter.id,
      flowCount: meter.rules.size,
      packetInCount: dp?.packets ?? 0n,
      byteInCount: dp?.bytes ?? 0n,
      durationSec: Math.floor(ms / 1000),
      durationNsec: Math.round((ms % 1000) * 1e6),
      bands: (dp?.bands ?? []).map((b) => ({ packetCount: b.packets, byteCount: b.bytes })),
    };
  }
}

/** A band without a burst has that of its rate. */
const configOf = (m: MeterMod): MeterConfig => ({
  meterId: m.meterId,
  flags: m.flags,
  bands: m.bands.map((b) => ({ ...b, burstSize: b.burstSize || b.rate })),
});
