/** Time, injected so that tests can hold and warp it. All of the switch's timers run on the monotonic clock. */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds of the monotonic clock, fractions allowed. */
  nowMs(): number;
  /** Milliseconds since 1970, for what is shown to people. */
  wallMs(): number;
  /** Calls `cb` once, `ms` from now. The timer does not keep the process alive. */
  after(ms: number, cb: () => void): Timer;
}

/** The machine's clocks. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(ms, cb) {
    const handle = setTimeout(cb, ms);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
};

interface FakeTimer extends Timer {
  dueMs: number;
  cb: () => void;
}

/** A clock that stands still until `warp`. */
export class FakeClock implements Clock {
  #nowMs: number;
  readonly #wallOffsetMs: number;
  readonly #timers = new Set<FakeTimer>();

  constructor(startMs = 1_000_000, wallMs = 1_700_000_000_000) {
    this.#nowMs = startMs;
    this.#wallOffsetMs = wallMs - startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#nowMs + this.#wallOffsetMs;
  }

  after(ms: number, cb: () => void): Timer {
    const timer: FakeTimer = { dueMs: this.#nowMs + Math.max(ms, 0), cb, cancel: () => this.#timers.delete(timer) };
    this.#timers.add(timer);
    return timer;
  }

  /** Moves on by `ms`, firing the timers that fall due on the way in their order. */
  warp(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      let next: FakeTimer | undefined;
      for (const t of this.#timers) if (t.dueMs <= endMs && (!next || t.dueMs < next.dueMs)) next = t;
      if (!next) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.cb();
    }
    this.#nowMs = endMs;
  }
}
