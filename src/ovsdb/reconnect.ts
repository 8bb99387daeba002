const MIN_PAUSE_MS = 1000;

/** Decides when to try again to connect, and logs what happens, as Open vSwitch's reconnect library does: pauses double from a second up to a
 *  limit; a connection that lasted longer than the last pause begins anew; at the limit it falls silent. */
export class Reconnect {
  maxMs: number;
  private readonly log: (level: 'info' | 'warn', text: string) => void;
  private pauseMs = 0;
  private connectedAt = 0;

  constructor(maxMs: number, log: (level: 'info' | 'warn', text: string) => void) {
    this.maxMs = maxMs;
    this.log = log;
  }

  private get isSilent(): boolean {
    return this.pauseMs >= this.maxMs;
  }

  connecting(name: string): void {
    if (!this.isSilent) this.log('info', `${name}: connecting...`);
  }

  connected(name: string): void {
    this.connectedAt = performance.now();
    this.log('info', `${name}: connected`);
  }

  /** An attempt failed. Returns the pause before the next. */
  failed(name: string, why: string): number {
    if (!this.isSilent) this.log('info', `${name}: connection attempt failed (${why})`);
    return this.next(name);
  }

  /** A connection ended; `why` null: the peer closed it in order. Returns the pause before the next attempt. */
  disconnected(name: string, why: string | null): number {
    if (why === null) this.log('info', `${name}: connection closed by peer`);
    else this.log('warn', `${name}: connection dropped (${why})`);
    if (performance.now() - this.connectedAt >= this.pauseMs) this.pauseMs = 0;
    return this.next(name);
  }

  /** The next pause is a short one again. */
  reset(): void {
    this.pauseMs = 0;
  }

  private next(name: string): number {
    const { maxMs } = this;
    if (this.pauseMs === 0) {
      this.pauseMs = Math.min(MIN_PAUSE_MS, maxMs);
    } else if (this.pauseMs < maxMs / 2) {
      this.pauseMs *= 2;
      this.log('info', `${name}: waiting ${this.pauseMs / 1000} seconds before reconnect`);
    } else {
      if (!this.isSilent)
        this.log('info', `${name}: continuing to reconnect in the background but suppressing further logging`);
      this.pauseMs = maxMs;
    }
    return this.pauseMs;
  }
}
