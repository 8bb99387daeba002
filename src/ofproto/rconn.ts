import type { Socket } from 'node:net';
import type { Clock, ClockTimer } from '../base/clock.ts';
import type { ControllerConfig, Logger, TlsConfig } from './config.ts';
import { connectTarget, type Target } from './vconn.ts';

/** A connection to a controller that comes back: exponential backoff between attempts. */

export interface RconnEvents {
  /** A new socket; the events of the last one are over. */
  connected(socket: Socket): void;
  tls(): TlsConfig | undefined;
}

export class Rconn {
  readonly config: ControllerConfig;
  readonly #target: Target;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #events: RconnEvents;
  #backoffMs = 0;
  #timer: ClockTimer | undefined;
  #closed = false;
  state: 'BACKOFF' | 'CONNECTING' | 'ACTIVE' | 'IDLE' | 'VOID' = 'VOID';
  lastError = '';
  connectedMs = 0;
  disconnectedMs: number;

  constructor(config: ControllerConfig, target: Target, clock: Clock, log: Logger, events: RconnEvents) {
    this.config = config;
    this.#target = target;
    this.#clock = clock;
    this.#log = log;
    this.#events = events;
    this.disconnectedMs = clock.monotonicMs();
    this.#connect();
  }

  get isConnected(): boolean {
    return this.state === 'ACTIVE' || this.state === 'IDLE';
  }

  /** The connection is gone, or never came about. */
  lost(error: string): void {
    if (this.#closed) return;
    if (this.isConnected) this.disconnectedMs = this.#clock.monotonicMs();
    this.lastError = error;
    this.state = 'BACKOFF';
    const maxMs = Math.max(this.config.maxBackoffMs, 1000);
    this.#backoffMs = this.#backoffMs === 0 ? 1000 : Math.min(this.#backoffMs * 2, maxMs);
    this.#timer = this.#clock.after(this.#backoffMs, () => this.#connect());
  }

  /** The peer has shown that it speaks OpenFlow. */
  healthy(): void {
    this.#backoffMs = 0;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.state = 'VOID';
  }

  #connect(): void {
    if (this.#closed) return;
    this.state = 'CONNECTING';
    this.#log.info(`${this.config.target}: connecting...`);
    connectTarget(this.#target, this.#events.tls(), (socket, error) => {
      if (this.#closed) {
        socket?.destroy();
      } else if (socket) {
        this.#log.info(`${this.config.target}: connected`);
        this.state = 'ACTIVE';
        this.connectedMs = this.#clock.monotonicMs();
        this.#events.connected(socket);
      } else {
        this.#log.warn(`${this.config.target}: connection failed (${error})`);
        this.lost(error);
      }
    });
  }
}
