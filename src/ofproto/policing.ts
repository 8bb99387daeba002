import type { Dpif, DpMeterConfig } from '../dpif/dpif.ts';
import type { PolicingConfig } from './config.ts';
import type { MeterIds } from './meters.ts';

/**
 * Limits on what may come in by a port (Interface.ingress_policing_*): one meter of the datapath for bits, one for packets. Packets above the
 * limit end before any table sees them.
 */

const DEFAULT_BURST_KBITS = 8000;
const DEFAULT_BURST_KPKTS = 16;

function meters({ kbps, kbits, kpps, kpkts }: PolicingConfig): DpMeterConfig[] {
  const all: DpMeterConfig[] = [];
  if (kbps) all.push({ kbps: true, burst: true, bands: [{ rate: kbps, burst: kbits || DEFAULT_BURST_KBITS }] });
  if (kpps) {
    const burst = 1000 * (kpkts || DEFAULT_BURST_KPKTS);
    all.push({ kbps: false, burst: true, bands: [{ rate: 1000 * kpps, burst }] });
  }
  return all;
}

export class Policing {
  readonly #dpif: Dpif;
  readonly #ids: MeterIds;
  readonly #ports = new Map<object, { key: string; ids: number[] }>();

  constructor(dpif: Dpif, ids: MeterIds) {
    this.#dpif = dpif;
    this.#ids = ids;
  }

  /** Meters that packets from `port` have to pass, in order; undefined when there is no limit. */
  metersOf(port: object): readonly number[] | undefined {
    return this.#ports.get(port)?.ids;
  }

  /** True when packets are to be treated otherwise from now on; `full` when the datapath has no meters left. */
  set(port: object, config: PolicingConfig | undefined): boolean | 'full' {
    const key = JSON.stringify(config);
    const old = this.#ports.get(port);
    if (old?.key === key) return false;
    this.#release(old?.ids ?? []);
    this.#ports.delete(port);
    if (!config) return old !== undefined;
    const ids: number[] = [];
    for (const meter of meters(config)) {
      const id = this.#ids.allocate();
      if (id === undefined) {
        this.#release(ids);
        return 'full';
      }
      this.#dpif.meterSet(id, meter);
      ids.push(id);
    }
    this.#ports.set(port, { key: key!, ids });
    return true;
  }

  #release(ids: readonly number[]): void {
    for (const id of ids) {
      this.#dpif.meterDel(id);
      this.#ids.free(id);
    }
  }
}
