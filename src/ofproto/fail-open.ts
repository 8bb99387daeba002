import type { Clock } from '../base/clock.ts';
import { catchallMatch } from '../openflow/match.ts';
import type { FailMode, Logger } from './config.ts';
import type { Connmgr } from './connmgr.ts';
import type { FlowTables } from './flow-tables.ts';
import type { Rule } from './rule.ts';

/**
 * Standalone mode: when no controller has been there for three probe intervals, the bridge switches by itself until one is back and has shown
 * that it takes the bridge.
 */

export interface FailOpenHost {
  readonly connmgr: Connmgr;
  readonly flowTables: FlowTables;
  flush(): void;
}

export class FailOpen {
  readonly #host: FailOpenHost;
  readonly #rule: Rule;
  readonly #log: Logger;
  readonly #clock: Clock;
  mode: FailMode = 'standalone';
  #sinceMs = 0;
  #open = false;

  /** `rule`: matches everything above every priority of OpenFlow. */
  constructor(host: FailOpenHost, rule: Rule, log: Logger, clock: Clock) {
    this.#host = host;
    this.#rule = rule;
    this.#log = log;
    this.#clock = clock;
  }

  /** A controller came or went, or time has passed. */
  run(): void {
    const { connmgr } = this.#host;
    const active = this.mode === 'standalone' && connmgr.hasControllers;
    const forMs = connmgr.disconnectedForMs();
    const probeMs = connmgr.maxProbeIntervalMs() || 15_000;
    if (!this.#open && active && !connmgr.anyConnected && forMs >= 3 * probeMs) this.#enter(forMs);
    else if (this.#open && (!active || connmgr.anyAdmitted)) this.#leave();
  }

  /** All flows have been deleted. */
  flushed(): void {
    if (this.#open) this.#host.flowTables.addHidden(this.#rule, catchallMatch());
  }

  #enter(forMs: number): void {
    this.#open = true;
    this.#sinceMs = this.#clock.monotonicMs();
    const seconds = Math.floor(forMs / 1000);
    this.#log.warn(
      "Could not connect to controller (or switch failed controller's post-connection admission control policy) " +
        `for ${seconds} seconds, failing open`,
    );
    this.#host.flush();
    this.#host.flowTables.addHidden(this.#rule, catchallMatch());
  }

  #leave(): void {
    this.#open = false;
    const seconds = Math.floor((this.#clock.monotonicMs() - this.#sinceMs) / 1000);
    this.#log.warn(`No longer in fail-open mode, after ${seconds} seconds`);
    this.#host.flowTables.removeHidden(this.#rule);
  }
}
