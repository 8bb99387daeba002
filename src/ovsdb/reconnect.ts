/** When to try again to connect (as Open vSwitch's reconnect(5) library does): at once at first, then after a pause that doubles from a
 *  second up to a limit, and is short again once a connection has lasted. */
export class Backoff {
  maxMs: number;
  private pauseMs = 0;

  constructor(maxMs: number) {
    this.maxMs = maxMs;
  }

  /** The pause before the next attempt. */
  next(): number {
    this.pauseMs = Math.min(this.maxMs, this.pauseMs === 0 ? 1000 : this.pauseMs * 2);
    return this.pauseMs;
  }

  /** A connection was of use. */
  reset(): void {
    this.pauseMs = 0;
  }
}
