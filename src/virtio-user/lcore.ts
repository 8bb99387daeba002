/**
 * The thread that moves packets: drives every port's link to the switch and the kernel. One turn of the loop is one WebAssembly call
 * of many bursts; when nothing moves it sleeps on the call eventfds, so that an idle tool costs no CPU.
 */

import { eventfd, eventfdDrain, eventfdWrite } from '../sys/eventfd.ts';
import { close } from '../sys/fd.ts';
import { POLLIN, PollSet } from '../sys/poll.ts';
import { Driver, FORWARD_MODES, type ForwardMode, type Stream } from './driver.ts';
import type { Template } from './frame.ts';
import type { FrontendSetup } from './frontend.ts';
import { FrontendLink } from './frontend-link.ts';
import { getCredit, getLeft, NO_LIMIT, setCredit, setLeft, setMacs, setReplay, setTemplate } from './generator.ts';
import * as L from './kernel/layout.ts';
import { Pacer } from './pacer.ts';
import { counterOf } from './port-stats.ts';
import type { VdevConfig } from './vdev.ts';

export interface LcorePort {
  vdev: VdevConfig;
  mac: Uint8Array;
  /** Destination in the mode mac. */
  peerMac: Uint8Array;
  /** Descriptors of its rings. */
  rxd: number;
  txd: number;
}

export interface LcoreConfig {
  ports: LcorePort[];
  burst: number;
  /** Frames to replay, by port; empty for none. */
  replay: Uint8Array[][];
  replaySize: number;
  /** Frames in flight at most; 0: no limit. */
  window: number;
}

/** What the lcore is told. */
export type LcoreCommand =
  /** `txFirst`: so many bursts are sent on each stream's tx port before forwarding starts. */
  | { kind: 'forward'; mode: ForwardMode; streams: Stream[]; txFirst?: number }
  | { kind: 'burst'; burst: number }
  | { kind: 'template'; port: number; template: Template }
  /** Starts or, with `active` false, stops a port's generator. `count` undefined: for ever. */
  | { kind: 'generate'; port: number; active: boolean; pps: number; count?: bigint }
  /** Nothing moves any more. */
  | { kind: 'stop' }
  /** Answered by `synced` when all commands before it are obeyed. */
  | { kind: 'sync'; id: number }
  | { kind: 'quit' };

/** What the lcore tells. */
export type LcoreEvent =
  | { kind: 'ready'; memory: WebAssembly.Memory }
  | { kind: 'link'; port: number; up: boolean; reason: string }
  /** A ring was given up: the device broke its rules. */
  | { kind: 'broken'; port: number; reason: string }
  | { kind: 'synced'; id: number }
  /** The port has sent its count, and the switch has taken the last frame. */
  | { kind: 'done'; port: number };

const PASSES = 16;
/** Without packets for so long, the lcore sleeps. */
const SPIN_MS = 0.1;
const HOUSEKEEPING_MS = 1;
const IDLE_POLL_MS = 100;
const LONGEST_NAP_MS = 0.5;

interface PortState {
  link: FrontendLink;
  kickFds: [rx: number, tx: number];
  callFds: [rx: number, tx: number];
  up: boolean;
  /** Its generator has a count that is not reported as done. */
  counting: boolean;
  reportedBroken: boolean;
}

export class Lcore {
  readonly driver: Driver;
  readonly #config: LcoreConfig;
  readonly #ports: PortState[];
  readonly #poll: PollSet;
  readonly #controlFd: number;
  readonly #emit: (event: LcoreEvent) => void;
  readonly #nowMs: () => number;
  readonly #interrupt: Int32Array;
  readonly #pacer: Pacer;
  /** The credit that each port had at the start of the turn. */
  readonly #granted: number[] = [];
  #burst: number;
  #mode: ForwardMode | 'generate' | 'stopped' = 'stopped';
  #nStreams = 0;
  #quit = false;
  #housekeepingAtMs = 0;
  #lastMovedMs = 0;

  /** `controlFd`: an eventfd that wakes the lcore; it stays the caller's. */
  constructor(
    config: LcoreConfig,
    controlFd: number,
    emit: (event: LcoreEvent) => void,
    nowMs = () => performance.now(),
  ) {
    this.#config = config;
    this.#controlFd = controlFd;
    this.#emit = emit;
    this.#nowMs = nowMs;
    this.#burst = config.burst;
    this.driver = new Driver({ ports: config.ports, replaySize: config.replaySize });
    this.#interrupt = new Int32Array(this.driver.mem.memory.buffer, L.INTERRUPT, 1);
    this.#pacer = new Pacer(config.ports.length, config.burst, config.window);
    // Slot 0: control; then two a port: the link, the rx ring's call eventfd.
    this.#poll = new PollSet(1 + 2 * config.ports.length);
    this.#poll.set(0, controlFd, POLLIN);
    this.#ports = config.ports.map((p, i) => this.#makePort(p, i));
    this.#placeReplay();
  }

  #makePort(port: LcorePort, i: number): PortState {
    setMacs(this.driver.mem, i, port.mac, port.peerMac);
    setLeft(this.driver.mem, i, NO_LIMIT);
    const kickFds: [number, number] = [eventfd(), eventfd()];
    const callFds: [number, number] = [eventfd(), eventfd()];
    const place = this.driver.mem.layout.ports[i]!;
    const setup: FrontendSetup = {
      layout: this.driver.mem.layout,
      memoryFd: this.driver.mem.fd,
      rings: [
        { place: place.rx, kickFd: kickFds[0], callFd: callFds[0] },
        { place: place.tx, kickFd: kickFds[1], callFd: callFds[1] },
      ],
    };
    this.#poll.set(2 + 2 * i, callFds[0], POLLIN);
    const hooks = {
      prepare: () => this.driver.kernel.portStart(i),
      up: () => this.#linkChanged(i, true, ''),
      down: (reason: string) => this.#linkChanged(i, false, reason),
    };
    const link = new FrontendLink(port.vdev, setup, hooks);
    return { link, kickFds, callFds, up: false, counting: false, reportedBroken: false };
  }

  #placeReplay(): void {
    let place = this.driver.mem.layout.replay;
    for (const [port, frames] of this.#config.replay.entries()) {
      if (frames.length > 0) place = setReplay(this.driver.mem, port, frames, place);
    }
  }

  #linkChanged(port: number, up: boolean, reason: string): void {
    const state = this.#ports[port]!;
    if (!up) this.driver.kernel.portStop(port);
    state.reportedBroken = false;
    if ((state.up === up && !up) || this.#quit) return;
    state.up = up;
    this.#emit({ kind: 'link', port, up, reason });
  }

  /** Obeys one command. Between two turns. */
  command(c: LcoreCommand): void {
    if (c.kind === 'quit') this.#quit = true;
    else if (c.kind === 'sync') this.#emit({ kind: 'synced', id: c.id });
    else if (c.kind === 'burst') this.#burst = c.burst;
    else if (c.kind === 'template') setTemplate(this.driver.mem, c.port, c.template);
    else if (c.kind === 'generate') this.#generate(c.port, c.active, c.pps, c.count);
    else if (c.kind === 'forward') this.#forward(c.mode, c.streams, c.txFirst ?? 0);
    else this.#mode = 'stopped';
    this.#lastMovedMs = this.#nowMs();
  }

  #forward(mode: ForwardMode, streams: readonly Stream[], txFirst: number): void {
    this.driver.setStreams(streams);
    this.#nStreams = streams.length;
    this.#mode = mode;
    if (txFirst > 0) this.driver.kernel.forward(FORWARD_MODES.txonly, streams.length, this.#burst, txFirst);
  }

  #generate(port: number, active: boolean, pps: number, count?: bigint): void {
    this.#mode = 'generate';
    setLeft(this.driver.mem, port, count ?? NO_LIMIT);
    if (!active) setCredit(this.driver.mem, port, 0);
    this.#ports[port]!.counting = active && count !== undefined;
    this.#pacer.set(port, { pps, active });
  }

  /** True when commands wait (some thread set INTERRUPT). */
  takeInterrupt(): boolean {
    return Atomics.exchange(this.#interrupt, 0, 0) !== 0;
  }

  /** One turn: a kernel call, kicks, now and then the links, and sleep when nothing moves. False once told to quit. */
  turn(): boolean {
    const nowMs = this.#nowMs();
    if (nowMs >= this.#housekeepingAtMs) this.#housekeeping(0);
    const moved = this.#run(nowMs);
    this.driver.takeKicks((port, tx) => {
      if (this.#ports[port]!.up) eventfdWrite(this.#ports[port]!.kickFds[tx]);
    });
    if (moved > 0) this.#lastMovedMs = nowMs;
    else if (nowMs - this.#lastMovedMs > SPIN_MS) this.#rest();
    return !this.#quit;
  }

  #run(nowMs: number): number {
    const { kernel } = this.driver;
    if (this.#mode === 'stopped') return 0;
    if (this.#mode !== 'generate') {
      return kernel.forward(FORWARD_MODES[this.#mode], this.#nStreams, this.#burst, PASSES);
    }
    this.#pace(nowMs);
    this.#grant();
    const moved = kernel.generate(this.#ports.length, this.#burst, PASSES);
    for (const i of this.#ports.keys()) this.#pacer.spent(i, this.#granted[i]! - getCredit(this.driver.mem, i));
    return moved;
  }

  #pace(nowMs: number): void {
    let sent = 0;
    let received = 0;
    for (const i of this.#ports.keys()) {
      const { mem } = this.driver;
      sent += counterOf(mem, i, L.TX_PACKETS) - counterOf(mem, i, L.TX_ABORTED);
      received += counterOf(mem, i, L.RX_PACKETS);
    }
    this.#pacer.advance(nowMs, sent, received);
  }

  #grant(): void {
    for (const i of this.#ports.keys()) {
      this.#granted[i] = this.#pacer.credit(i);
      setCredit(this.driver.mem, i, this.#granted[i]!);
    }
  }

  /** Runs links whose time has come or that have something to read. */
  #housekeeping(timeoutMs: number): void {
    for (const [i, port] of this.#ports.entries()) {
      const { fd, events } = port.link.interest();
      this.#poll.set(1 + 2 * i, fd, events);
    }
    const nReady = this.#poll.wait(timeoutMs);
    this.#housekeepingAtMs = this.#nowMs() + HOUSEKEEPING_MS;
    if (nReady > 0 && this.#poll.revents(0) !== 0) eventfdDrain(this.#controlFd);
    for (const [i, port] of this.#ports.entries()) {
      if (this.#poll.revents(2 + 2 * i) !== 0) eventfdDrain(port.callFds[0]);
      port.link.run(this.#nowMs(), nReady > 0 && this.#poll.revents(1 + 2 * i) !== 0);
      this.#report(port, i);
    }
  }

  #report(port: PortState, i: number): void {
    const broken = port.reportedBroken ? undefined : this.driver.broken(i);
    if (broken !== undefined) {
      port.reportedBroken = true;
      this.#emit({ kind: 'broken', port: i, reason: broken });
    }
    if (this.#hasFinished(port, i)) {
      port.counting = false;
      this.#emit({ kind: 'done', port: i });
    }
  }

  /** The port's count is sent, the switch has taken the last frame, and that is not reported yet. */
  #hasFinished(port: PortState, i: number): boolean {
    return port.counting && getLeft(this.driver.mem, i) === 0n && this.driver.kernel.txPending(i) === 0;
  }

  /** Sends are due soon: naps on INTERRUPT. Otherwise sleeps in poll, with interrupts on. */
  #rest(): void {
    const waitMs = this.#sendsWaitMs();
    if (waitMs === Number.POSITIVE_INFINITY) this.#sleep();
    else if (waitMs > 0.02) Atomics.wait(this.#interrupt, 0, 0, Math.min(waitMs, LONGEST_NAP_MS));
  }

  /** Milliseconds until something may be sent; Infinity: only what arrives can give work. */
  #sendsWaitMs(): number {
    if (!this.#ports.some((p) => p.up)) return Number.POSITIVE_INFINITY;
    if (this.#mode === 'txonly' || this.#mode === 'flowgen') return LONGEST_NAP_MS;
    if (this.#mode !== 'generate') return Number.POSITIVE_INFINITY;
    const someLeft = this.#ports.some(
      (_, i) => getLeft(this.driver.mem, i) > 0n || this.driver.kernel.txPending(i) > 0,
    );
    // A ring that is full, or a window that is closed, opens by what the switch does: look again soon.
    return someLeft ? Math.max(this.#pacer.waitMs(), 0.05) : Number.POSITIVE_INFINITY;
  }

  #sleep(): void {
    const { kernel } = this.driver;
    let waiting = 0;
    const receives = this.#mode !== 'stopped' && this.#mode !== 'txonly';
    if (receives) for (const i of this.#ports.keys()) waiting += kernel.rxInterrupts(i, 1);
    if (waiting === 0 && Atomics.load(this.#interrupt, 0) === 0) this.#housekeeping(this.#sleepMs());
    if (receives) for (const i of this.#ports.keys()) kernel.rxInterrupts(i, 0);
    this.#lastMovedMs = this.#nowMs();
  }

  /** Links that wait to retry, or that may time out, bound the sleep; a count that is sent is to be reported first. */
  #sleepMs(): number {
    if (this.#ports.some((p, i) => this.#hasFinished(p, i))) return 0;
    return this.#ports.every((p) => p.link.state === 'up' || p.link.state === 'listening') ? -1 : IDLE_POLL_MS;
  }

  close(): void {
    for (const port of this.#ports) {
      port.link.close();
      for (const fd of [...port.kickFds, ...port.callFds]) close(fd);
    }
    this.driver.close();
  }
}
