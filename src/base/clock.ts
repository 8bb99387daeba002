import type { UnixctlRegistry } from './unixctl-registry.ts';

/** Time as one object, so that tests and `time/warp` can own it. Whatever waits for protocol time uses a clock's timers, never setTimeout. */
export interface Clock {
  /** Milliseconds on a clock that never goes back; its origin is arbitrary. Integer. */
  monotonicMs(): number;
  /** Milliseconds since 1970. */
  wallMs(): number;
  /** Calls back once, `ms` from now on the monotonic clock. Does not keep the process alive. */
  after(ms: number, callback: () => void): ClockTimer;
  /** Calls back every `ms`. */
  every(ms: number, callback: () => void): ClockTimer;
}

export interface ClockTimer {
  cancel(): void;
}

interface Pending {
  due: number;
  callback: () => void;
  handle: NodeJS.Timeout | undefined;
}

/** Real time, until `stop` freezes it; then it moves by `warp` only (Open vSwitch's time/stop and time/warp). */
export class WarpClock implements Clock {
  #warped = 0;
  #stoppedAt: number | undefined;
  readonly #pending = new Set<Pending>();

  monotonicMs(): number {
    return (this.#stoppedAt ?? Math.trunc(performance.now())) + this.#warped;
  }

  wallMs(): number {
    const drift = this.#stoppedAt === undefined ? 0 : this.#stoppedAt - Math.trunc(performance.now());
    return Date.now() + drift + this.#warped;
  }

  after(ms: number, callback: () => void): ClockTimer {
    const timer: Pending = { due: this.monotonicMs() + ms, callback, handle: undefined };
    this.#pending.add(timer);
    this.#arm(timer);
    return { cancel: () => this.#cancel(timer) };
  }

  every(ms: number, callback: () => void): ClockTimer {
    let current: ClockTimer;
    const next = () => {
      current = this.after(ms, () => {
        next();
        callback();
      });
    };
    next();
    return { cancel: () => current.cancel() };
  }

  /** Freezes time. */
  stop(): void {
    if (this.#stoppedAt !== undefined) return;
    this.#stoppedAt = Math.trunc(performance.now());
    for (const timer of this.#pending) clearTimeout(timer.handle);
  }

  /** Moves time on by `ms` and runs what became due, in order of its time. */
  warp(ms: number): void {
    this.#warped += ms;
    const due = [...this.#pending].filter((t) => t.due <= this.monotonicMs()).sort((a, b) => a.due - b.due);
    for (const timer of due) if (this.#pending.has(timer)) this.#fire(timer);
    if (this.#stoppedAt === undefined) for (const timer of this.#pending) this.#arm(timer);
  }

  #arm(timer: Pending): void {
    if (this.#stoppedAt !== undefined) return;
    clearTimeout(timer.handle);
    timer.handle = setTimeout(() => this.#expire(timer), Math.max(0, timer.due - this.monotonicMs()));
    timer.handle.unref();
  }

  /** Node's timers may come a millisecond early. */
  #expire(timer: Pending): void {
    if (timer.due > this.monotonicMs()) this.#arm(timer);
    else this.#fire(timer);
  }

  #fire(timer: Pending): void {
    this.#cancel(timer);
    timer.callback();
  }

  #cancel(timer: Pending): void {
    clearTimeout(timer.handle);
    this.#pending.delete(timer);
  }
}

/** Registers `time/stop` and `time/warp [LARGE] MSECS`, which advances by MSECS at a time until LARGE is reached. */
export function registerTimeCommands(unixctl: UnixctlRegistry, clock: WarpClock): void {
  unixctl.register('time/stop', '', 0, 0, () => {
    clock.stop();
    return '';
  });
  unixctl.register('time/warp', '[large_msecs] msecs', 1, 2, async (args) => {
    const total = Number(args[0]);
    const step = Number(args[1] ?? args[0]);
    if (!Number.isInteger(total) || !Number.isInteger(step) || total <= 0 || step <= 0) return 'invalid MSECS';
    for (let left = total; left > 0; left -= step) {
      clock.warp(Math.min(step, left));
      await new Promise((resolve) => setImmediate(resolve));
    }
    return 'warped';
  });
}
