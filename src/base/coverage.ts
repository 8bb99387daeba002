import { UnixctlError, type UnixctlRegistry } from './unixctl-registry.ts';

/** Named event counters with rates, as Open vSwitch's `coverage/show`. */

/** Rates are taken over windows of this length. */
export const COVERAGE_RUN_INTERVAL_MS = 5000;
/** Windows in a minute, minutes in an hour. */
const MIN_AVG_LEN = 12;
const HR_AVG_LEN = 60;

export class CoverageCounter {
  readonly name: string;
  total = 0;
  #last = 0;
  readonly #minute = new Float64Array(MIN_AVG_LEN);
  readonly #hour = new Float64Array(HR_AVG_LEN);

  constructor(name: string) {
    this.name = name;
  }

  inc(): void {
    this.total++;
  }

  add(n: number): void {
    this.total += n;
  }

  /** Closes the window number `index` (from 0). */
  tick(index: number): void {
    const delta = this.total - this.#last;
    this.#last = this.total;
    this.#minute[index % MIN_AVG_LEN] = delta;
    const minute = Math.trunc(index / MIN_AVG_LEN) % HR_AVG_LEN;
    this.#hour[minute] = (index % MIN_AVG_LEN === 0 ? 0 : this.#hour[minute]!) + delta;
  }

  /** Events a second over the last window, minute and hour, `windows` windows having been closed. */
  rates(windows: number): [number, number, number] {
    const sum = (a: Float64Array) => a.reduce((x, y) => x + y, 0);
    const last = windows === 0 ? 0 : this.#minute[(windows - 1) % MIN_AVG_LEN]!;
    return [(last * 1000) / COVERAGE_RUN_INTERVAL_MS, sum(this.#minute) / 60, sum(this.#hour) / 3600];
  }
}

export class Coverage {
  readonly #counters = new Map<string, CoverageCounter>();
  readonly #sources: (() => Iterable<readonly [string, number]>)[] = [];
  #windows = 0;

  /** The counter of that name, made at its first mention. */
  counter(name: string): CoverageCounter {
    let counter = this.#counters.get(name);
    if (!counter) {
      counter = new CoverageCounter(name);
      this.#counters.set(name, counter);
    }
    return counter;
  }

  /** Totals that are counted elsewhere: `read` gives them by name whenever somebody looks. Names of several sources must differ. */
  addSource(read: () => Iterable<readonly [name: string, total: number]>): void {
    this.#sources.push(read);
  }

  #refresh(): void {
    for (const read of this.#sources) for (const [name, total] of read()) this.counter(name).total = total;
  }

  /** To be called every COVERAGE_RUN_INTERVAL_MS. */
  run(): void {
    this.#refresh();
    for (const counter of this.#counters.values()) counter.tick(this.#windows);
    this.#windows++;
  }

  /** Identifies which counters were hit, and their order by total (FNV-1a over the names). */
  #hash(): number {
    const hit = [...this.#counters.values()].filter((c) => c.total > 0);
    hit.sort((a, b) => b.total - a.total || (a.name < b.name ? -1 : 1));
    let hash = 0x811c9dc5;
    for (const byte of Buffer.from(hit.map((c) => c.name).join('\0'))) hash = Math.imul(hash ^ byte, 0x01000193);
    return hash >>> 0;
  }

  /** The text of `coverage/show`. */
  show(): string {
    this.#refresh();
    const lines = [
      `Event coverage, avg rate over last: ${COVERAGE_RUN_INTERVAL_MS / 1000} seconds, last minute, last hour,  ` +
        `hash=${this.#hash().toString(16).padStart(8, '0')}:`,
    ];
    const counters = [...this.#counters.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    const hit = counters.filter((c) => c.total > 0);
    for (const c of hit) {
      const [last, minute, hour] = c.rates(this.#windows);
      const rates = `${last.toFixed(1).padStart(5)}/sec ${minute.toFixed(3).padStart(9)}/sec ${hour.toFixed(4).padStart(13)}/sec`;
      lines.push(`${c.name.padEnd(24)} ${rates}   total: ${c.total}`);
    }
    lines.push(`${counters.length - hit.length} events never hit`);
    return `${lines.join('\n')}\n`;
  }

  registerCommands(unixctl: UnixctlRegistry): void {
    unixctl.register('coverage/show', '', 0, 0, () => this.show());
    unixctl.register('coverage/read-counter', 'COUNTER', 1, 1, (args) => {
      this.#refresh();
      const counter = this.#counters.get(args[0]!);
      if (!counter) throw new UnixctlError('No such counter');
      return `${counter.total}\n`;
    });
  }
}

/** This process's counters. */
export const coverage = new Coverage();

export const coverageCounter = (name: string): CoverageCounter => coverage.counter(name);
