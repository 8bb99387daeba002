/**
 * How many frames each port may send now: a token bucket a port, and over all ports a window of frames in flight. Pure: time and
 * counts come from the caller.
 */

export interface PacerPort {
  /** Frames a second; Infinity: as fast as the ring takes them. */
  pps: number;
  active: boolean;
}

/** A bucket holds what falls due in this time, so that a stall is not followed by a flood. */
const BUCKET_MS = 10;
/** Frames are sent in portions of what falls due in this time, up to a burst. */
const PORTION_MS = 0.5;
/** With nothing received for so long, frames in flight are taken for lost and the window opens again. */
const LOST_AFTER_MS = 500;
const UNPACED_CREDIT = 1 << 20;

export class Pacer {
  readonly #tokens: number[];
  readonly #ports: PacerPort[];
  readonly #burst: number;
  readonly #window: number;
  #lastMs = Number.NaN;
  #inFlight = 0;
  #lastReceived = 0;
  #lastProgressMs = Number.NaN;
  #writtenOff = 0;

  /** `window` 0: none. */
  constructor(nPorts: number, burst: number, window = 0) {
    this.#ports = Array.from({ length: nPorts }, () => ({ pps: Number.POSITIVE_INFINITY, active: false }));
    this.#tokens = new Array<number>(nPorts).fill(0);
    this.#burst = burst;
    this.#window = window;
  }

  set(port: number, config: PacerPort): void {
    this.#ports[port] = config;
    this.#tokens[port] = 0;
  }

  /** Frames that were counted as lost to keep the window going. */
  get writtenOff(): number {
    return this.#writtenOff;
  }

  /** Takes note of the time and of all frames sent and received so far. */
  advance(nowMs: number, sent: number, received: number): void {
    const passedMs = Number.isNaN(this.#lastMs) ? 0 : nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    for (const [i, port] of this.#ports.entries()) {
      if (!port.active || port.pps === Number.POSITIVE_INFINITY) continue;
      const cap = Math.max(this.#burst, (port.pps * BUCKET_MS) / 1000);
      this.#tokens[i] = Math.min(cap, this.#tokens[i]! + (port.pps * passedMs) / 1000);
    }
    this.#inFlight = Math.max(0, sent - received - this.#writtenOff);
    if (received !== this.#lastReceived || this.#inFlight === 0 || Number.isNaN(this.#lastProgressMs)) {
      this.#lastProgressMs = nowMs;
    } else if (this.#window > 0 && this.#inFlight >= this.#window && nowMs - this.#lastProgressMs > LOST_AFTER_MS) {
      this.#writtenOff += this.#inFlight;
      this.#inFlight = 0;
      this.#lastProgressMs = nowMs;
    }
    this.#lastReceived = received;
  }

  #portion(port: PacerPort): number {
    return Math.max(1, Math.min(this.#burst, Math.floor((port.pps * PORTION_MS) / 1000)));
  }

  /** Frames that `port` may send now. Less than a portion is kept until it is one. */
  credit(port: number): number {
    const config = this.#ports[port]!;
    if (!config.active) return 0;
    const open = this.#window === 0 ? UNPACED_CREDIT : Math.max(0, this.#window - this.#inFlight);
    if (config.pps === Number.POSITIVE_INFINITY) return this.#share(open);
    const tokens = Math.floor(this.#tokens[port]!);
    return tokens < this.#portion(config) ? 0 : Math.min(tokens, this.#share(open));
  }

  /** The window is shared by the ports that send. */
  #share(open: number): number {
    if (this.#window === 0) return open;
    const nActive = this.#ports.filter((p) => p.active).length;
    return Math.ceil(open / nActive);
  }

  spent(port: number, frames: number): void {
    this.#tokens[port] = Math.max(0, this.#tokens[port]! - frames);
  }

  /** Milliseconds until some port has a portion; 0: now; Infinity: none sends. */
  waitMs(): number {
    let wait = Number.POSITIVE_INFINITY;
    for (const [i, port] of this.#ports.entries()) {
      if (!port.active) continue;
      if (port.pps === Number.POSITIVE_INFINITY) return 0;
      const missing = this.#portion(port) - this.#tokens[i]!;
      wait = Math.min(wait, Math.max(0, (missing * 1000) / port.pps));
    }
    return wait;
  }
}
