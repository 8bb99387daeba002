import type { Clock, ClockTimer } from '../base/clock.ts';
import { COVERAGE_RUN_INTERVAL_MS, coverage } from '../base/coverage.ts';
import { programVersion } from '../base/program.ts';
import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import type { Idl, IdlSnapshot, IdlTxn, MonitorColumns } from '../ovsdb/idl.ts';
import { Bridges, type SwitchDeps } from './bridges.ts';
import { CONFIG_COLUMNS, readConfig, type StringMap, type WantedConfig } from './config.ts';
import { applyPlan, destroyBridges, followMtu, noticeVanished } from './config-apply.ts';
import { planReconfigure } from './config-plan.ts';
import { readBool, readUint } from './datapath-config.ts';
import { IGNORED_COLUMNS, IgnoredSettings } from './ignored.ts';
import {
  STATUS_COLUMNS,
  writeFirstStatistics,
  writeStatistics,
  writeStatus,
  writeSwitch,
  writeSystemStatistics,
} from './status.ts';

/** Keeps the switch as the database wants it and the database informed. Control thread only. */

const log = vlogModule('bridge');
const contendedLimit = new VlogRateLimit(1, 1);
const seldomLimit = new VlogRateLimit(1, 1);

/** The lock that only one vswitchd of a database has. */
export const VSWITCHD_LOCK = 'ovs_vswitchd';

const MIN_STATS_INTERVAL_MS = 5000;
/** Changes of links are gathered for so long. */
const STATUS_DELAY_MS = 100;

/** What to monitor: the configuration, and quietly what is written here. */
export function monitorColumns(): Record<string, MonitorColumns> {
  const tables: Record<string, MonitorColumns> = {};
  const quiet: Readonly<Record<string, readonly string[]>> = STATUS_COLUMNS;
  const ignored: Readonly<Record<string, readonly string[]>> = IGNORED_COLUMNS;
  for (const [table, columns] of Object.entries(CONFIG_COLUMNS)) {
    const all = [...columns, ...(ignored[table] ?? []), ...(quiet[table] ?? [])];
    tables[table] = { columns: all, quiet: quiet[table] ?? [] };
  }
  return tables;
}

export class Vswitchd {
  readonly state: Bridges;
  readonly #idl: Idl;
  readonly #deps: SwitchDeps;
  readonly #clock: Clock;
  readonly #timers: ClockTimer[] = [];
  /** Called once, when the first configuration is in force. */
  readonly #onReady: () => void;
  readonly #ignored = new IgnoredSettings();
  #ready = false;
  /** other_config:flow-restore-wait, until it is false for the first time: flows are being put back, packets wait. */
  #restoreWait = true;
  #stopped = false;
  #work: Promise<void> = Promise.resolve();
  #reconfigureQueued = false;
  #statusQueued = false;
  #statsIntervalMs = MIN_STATS_INTERVAL_MS;
  #statsTimer: ClockTimer | undefined;
  #unlisten: (() => void) | undefined;

  constructor(idl: Idl, deps: SwitchDeps, clock: Clock, onReady: () => void) {
    this.#idl = idl;
    this.#deps = deps;
    this.#clock = clock;
    this.#onReady = onReady;
    this.state = new Bridges(deps.rundir);
    this.state.onNetdevChange = () => this.#queueStatus();
  }

  /** Begins to follow the database. */
  start(): void {
    this.#idl.onChange(() => this.#queueReconfigure());
    this.#idl.onState(() => this.#lockChanged());
    this.#timers.push(this.#clock.every(COVERAGE_RUN_INTERVAL_MS, () => coverage.run()));
    this.#armStatistics();
    this.#unlisten = this.#deps.onHostInterfaces?.(() => this.#queueReconfigure());
    this.#idl.start();
  }

  /** Takes the bridges down (`cleanup`: with the internal ports that the host sees) and lets go of the database. Resolves when nothing runs any more. */
  async stop(cleanup = false): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers) timer.cancel();
    this.#statsTimer?.cancel();
    this.#unlisten?.();
    await this.#work;
    await destroyBridges(this.state, this.#deps, cleanup);
    this.#idl.stop();
  }

  /** Resolves when what was asked for so far has been done. */
  async settled(): Promise<void> {
    await this.#work;
  }

  #lockChanged(): void {
    if (this.#idl.isLockContended) {
      log.errRl(
        contendedLimit,
        `another ovs-vswitchd process is running, disabling this process (pid ${process.pid}) until it goes away`,
      );
      this.#enqueue(() => destroyBridges(this.state, this.#deps));
    }
    this.#queueReconfigure();
  }

  #mayRun(): boolean {
    return !this.#stopped && this.#idl.hasLock && this.#idl.hasEverConnected;
  }

  /** One thing after the other: a change that comes in during another waits for it, and many become one. */
  #enqueue(work: () => Promise<void>): void {
    this.#work = this.#work.then(work).catch((e: unknown) => {
      log.err(`internal error: ${e instanceof Error ? e.stack : String(e)}`);
    });
  }

  #queueReconfigure(): void {
    if (this.#reconfigureQueued || !this.#mayRun()) return;
    this.#reconfigureQueued = true;
    this.#enqueue(async () => {
      this.#reconfigureQueued = false;
      if (this.#mayRun()) await this.#reconfigure();
    });
  }

  async #reconfigure(): Promise<void> {
    const snapshot = this.#idl.snapshot();
    const wanted = this.#heldBack(readConfig(snapshot));
    for (const { module, level, text, seldom } of wanted.complaints)
      if (seldom) vlogModule(module)[`${level}Rl`](seldomLimit, text);
      else vlogModule(module)[level](text);
    this.#deps.initialize(wanted.otherConfig);
    this.#ignored.tell(snapshot);
    this.#rememberPorts(snapshot);
    await noticeVanished(this.state);
    await applyPlan(planReconfigure(this.state, wanted), this.state, this.#deps);
    for (const backend of this.#deps.backends()) backend.setFlowRestoreWait(this.#restoreWait);
    await this.#write((txn, now) => {
      writeSwitch(txn, now, wanted, this.#deps);
      writeStatus(txn, now, this.state, this.#deps);
      writeFirstStatistics(txn, now, this.state);
    });
    this.#setStatsInterval(wanted.otherConfig);
    this.#becomeReady(wanted);
  }

  /** While flows are restored, no controller may interfere. */
  #heldBack(wanted: WantedConfig): WantedConfig {
    this.#restoreWait &&= readBool(wanted.otherConfig, 'flow-restore-wait');
    if (!this.#restoreWait) return wanted;
    const bridges = [...wanted.bridges].map(([name, bridge]) => [name, { ...bridge, controllers: [] }] as const);
    return { ...wanted, bridges: new Map(bridges) };
  }

  #becomeReady(_wanted: WantedConfig): void {
    if (this.#ready) return;
    this.#ready = true;
    this.#onReady();
    log.info(programVersion());
  }

  /** An interface that comes back gets the port number that it had. */
  #rememberPorts(snapshot: IdlSnapshot): void {
    this.state.ofportHints.clear();
    for (const [uuid, row] of snapshot.table('Interface')) {
      if (typeof row.ofport === 'number' && row.ofport > 0 && row.ofport < 0xff00) {
        this.state.ofportHints.set(uuid, row.ofport);
      }
    }
  }

  #queueStatus(): void {
    if (this.#statusQueued || !this.#ready || this.#stopped) return;
    this.#statusQueued = true;
    this.#clock.after(STATUS_DELAY_MS, () => {
      this.#enqueue(async () => {
        this.#statusQueued = false;
        followMtu(this.state);
        if (this.#mayRun()) await this.#write((txn, now) => writeStatus(txn, now, this.state, this.#deps));
      });
    });
  }

  #setStatsInterval(otherConfig: StringMap): void {
    const interval = Math.max(
      readUint(otherConfig, 'stats-update-interval', MIN_STATS_INTERVAL_MS),
      MIN_STATS_INTERVAL_MS,
    );
    if (interval === this.#statsIntervalMs && this.#statsTimer) return;
    this.#statsIntervalMs = interval;
    this.#armStatistics();
  }

  #armStatistics(): void {
    this.#statsTimer?.cancel();
    this.#statsTimer = this.#clock.every(this.#statsIntervalMs, () => {
      this.#enqueue(async () => {
        if (!this.#ready || !this.#mayRun()) return;
        await this.#write((txn, now) => {
          writeStatus(txn, now, this.state, this.#deps);
          writeStatistics(txn, now, this.state);
          writeSystemStatistics(txn, now);
        });
      });
    });
  }

  /** Commits what `fill` puts in; once more when the database moved meanwhile. What then fails comes again with the next update. */
  async #write(fill: (txn: IdlTxn, snapshot: IdlSnapshot) => void): Promise<void> {
    for (let tries = 0; tries < 3; tries++) {
      const txn = this.#idl.txn();
      fill(txn, this.#idl.snapshot());
      const { status, error } = await txn.commit();
      if (status === 'error') log.warn(`transaction error: ${error}`);
      if (status !== 'try again' || !this.#mayRun()) return;
    }
  }
}
