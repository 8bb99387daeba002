import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import {
  ARENA_RXQS,
  ARENA_RXQS_STRIDE,
  ARENA_THREADS,
  RXQ__SIZE,
  RXQ_LOOKED_MS,
  RXQ_MISSED,
  RXQ_MISSED_WAITS,
  RXQ_PACKETS,
  RXQ_PORT,
  RXQ_SLOT,
  RXQ_VRING,
  RXQ_WAITED,
  RXQS_MAX,
  THREAD__SIZE,
  THREAD_BUSY_NS,
  THREAD_IDLE_NS,
  THREAD_LAST_RXQ,
  THREAD_LAST_TX,
  THREAD_NOW_MS,
  THREAD_NRXQS,
  THREAD_PASSES,
  THREAD_SLEEP_NS,
  THREAD_SLEEPS,
  THREAD_STOP,
  THREAD_UPCALL_TAIL,
  VRING_BROKEN,
  VRING_BROKEN_CHAIN,
  VRING_LOCK,
} from '../../gen/arena.ts';
import { eventfdDrain } from '../../sys/eventfd.ts';
import { takeSocketError } from '../../sys/packet-socket.ts';
import { POLLIN, PollSet } from '../../sys/poll.ts';
import { setAffinity } from '../../sys/sched.ts';
import { Arena } from './arena.ts';
import { DatapathThread, rxSlot } from './datapath-thread.ts';
import { clockOrigin, type PmdReport, type PmdRequest, type PmdRxq, type PmdWorkerData } from './pmd-messages.ts';

/**
 * A poll-mode thread: runs the fast path on its rxqs, reads its messages between two runs, interrupts guests that wait, and sleeps in poll(2) on
 * the guests' kicks when there is nothing to do. Nothing here allocates per packet or per burst.
 */

/** Iterations in one call of the fast path: enough to be worth the call, few enough that messages are read every millisecond or so. */
const ITERATIONS_MIN = 16;
const ITERATIONS_MAX = 4096;
/** Taps are read between two calls. */
const ITERATIONS_WITH_TAPS = 64;
/** A tap without a frame is left alone for as many calls as it had none, up to this, while other queues are busy: each look costs a system call. */
const TAP_SKIPS_MAX = 8;
const RUN_TARGET_MS = 0.5;
/** Without a packet for this long, the thread asks for kicks and sleeps. */
const IDLE_BEFORE_SLEEP_MS = 0.3;
const SLEEP_MAX_MS = 1000;
/** With nothing but queues that wait for the control thread, which may want this very core. */
const NAP_MS = 0.1;

class Pmd {
  readonly #data: PmdWorkerData;
  readonly #port: MessagePort;
  readonly #arena: Arena;
  readonly #thread: DatapathThread;
  readonly #record: number;
  readonly #poll = new PollSet(RXQS_MAX + 1);
  /** From this thread's performance.now() to the control thread's. */
  readonly #clockOffset: number;
  #rxqs: PmdRxq[] = [];
  /** Those of them that this thread itself has to read. */
  #taps: PmdRxq[] = [];
  /** Of each of them: looks in a row that found nothing, and calls until the next look. */
  readonly #tapMisses = new Uint32Array(RXQS_MAX);
  readonly #tapSkips = new Uint32Array(RXQS_MAX);
  #exit = false;
  #iterations = ITERATIONS_MIN;
  #idleMs = 0;
  /** performance.now() when the last pass, or the sleep after it, ended. */
  #beforeMs = 0;
  /** What a pass over queues without packets took lately: passes with packets take the rest of a run's time. */
  #emptyPassMs = 0;

  constructor(data: PmdWorkerData, port: MessagePort) {
    this.#data = data;
    this.#port = port;
    this.#arena = new Arena(data.memory);
    this.#thread = new DatapathThread(data.index, this.#arena, data.modules);
    this.#record = ARENA_THREADS + data.index * THREAD__SIZE;
    // Whoever had this record before may have left its rxqs in it.
    this.#arena.set(this.#record + THREAD_NRXQS, 0);
    this.#poll.set(0, data.wakeFd, POLLIN);
    this.#clockOffset = clockOrigin() - data.clockOrigin;
  }

  #report(report: PmdReport): void {
    this.#port.postMessage(report);
  }

  main(): void {
    setAffinity([this.#data.core]);
    this.#report({ type: 'ready' });
    this.#beforeMs = performance.now();
    while (!this.#exit) {
      this.#readMessages();
      const busy = this.#pass();
      if (busy === 0 && this.#anyWaits()) this.#nap();
      if (this.#idleMs >= IDLE_BEFORE_SLEEP_MS) this.#sleep();
    }
    this.#thread.exports.goOffline();
  }

  /** Frames of all queues through the fast path, and their receivers told; how many passes over the queues found some. */
  #pass(): number {
    this.#arena.f64[(this.#record + THREAD_NOW_MS) >> 3] = Math.trunc(this.#beforeMs + this.#clockOffset);
    const busy = this.#runOnce(this.#pumpTaps());
    this.#thread.interruptGuests();
    const now = performance.now();
    this.#account(busy, now - this.#beforeMs);
    this.#beforeMs = now;
    return busy;
  }

  /** Reads the taps among the rxqs into their rings; how many frames there were. */
  #pumpTaps(): number {
    let n = 0;
    for (let i = 0; i < this.#taps.length; i++) {
      if (this.#tapSkips[i]! > 0 && this.#idleMs === 0) {
        this.#tapSkips[i]!--;
        continue;
      }
      const q = this.#taps[i]!;
      const frames = this.#thread.receiveTap(q.vring, q.kickFd);
      this.#tapMisses[i] = frames > 0 ? 0 : Math.min(this.#tapMisses[i]! + 1, TAP_SKIPS_MAX);
      this.#tapSkips[i] = this.#tapMisses[i]!;
      n += frames;
    }
    return n;
  }

  /** One call of the fast path; a trap breaks the ring that it came from and nothing else. */
  #runOnce(pumped: number): number {
    // What was read from taps is soon done, and then there may be more.
    const most = this.#taps.length > 0 ? ITERATIONS_WITH_TAPS : this.#iterations;
    try {
      return this.#thread.exports.run(pumped > 0 ? 1 : Math.min(this.#iterations, most));
    } catch (e) {
      this.#onTrap(e as Error);
      return 0;
    }
  }

  #onTrap(error: Error): void {
    const tx = this.#arena.get(this.#record + THREAD_LAST_TX);
    const rxq = this.#rxqs[this.#arena.get(this.#record + THREAD_LAST_RXQ)];
    const vring = tx || rxq?.vring || 0;
    if (vring) this.#arena.publish(vring + VRING_BROKEN, VRING_BROKEN_CHAIN);
    if (tx && this.#arena.load(tx + VRING_LOCK) === this.#data.index + 1) this.#arena.publish(tx + VRING_LOCK, 0);
    this.#arena.set(this.#record + THREAD_LAST_TX, 0);
    this.#thread.exports.resetBatch();
    this.#report({ type: 'trap', vring, message: error.message });
  }

  #account(busy: number, ms: number): void {
    const at = this.#record;
    const passes = this.#arena.get(at + THREAD_PASSES);
    if (busy === 0 && passes > 0) this.#emptyPassMs = ms / passes;
    const idle = busy > 0 ? Math.min(ms, (passes - busy) * this.#emptyPassMs) : ms;
    const f64 = this.#arena.f64;
    f64[(at + THREAD_BUSY_NS) >> 3]! += (ms - idle) * 1e6;
    f64[(at + THREAD_IDLE_NS) >> 3]! += idle * 1e6;
    this.#idleMs = busy > 0 ? 0 : this.#idleMs + ms;
    if (ms > RUN_TARGET_MS && this.#iterations > ITERATIONS_MIN) this.#iterations >>= 1;
    else if (ms < RUN_TARGET_MS / 4 && this.#iterations < ITERATIONS_MAX) this.#iterations <<= 1;
  }

  /** A queue whose flows are not known waits until the control thread has answered what was sent up (src/fastpath/datapath.ts). */
  #anyWaits(): boolean {
    const rxqs = ARENA_RXQS + this.#data.index * ARENA_RXQS_STRIDE;
    for (let i = 0; i < this.#rxqs.length; i++)
      if (this.#arena.get(rxqs + i * RXQ__SIZE + RXQ_MISSED) === RXQ_MISSED_WAITS) return true;
    return false;
  }

  /** For NAP_MS; nobody ends it. The word is one that the control thread moves: what it has answered just now keeps the thread awake. */
  #nap(): void {
    const tail = this.#record + THREAD_UPCALL_TAIL;
    this.#thread.exports.goOffline();
    const before = performance.now();
    Atomics.wait(this.#arena.i32, tail >> 2, this.#arena.get(tail) | 0, NAP_MS);
    this.#thread.exports.goOnline();
    this.#beforeMs = performance.now();
    this.#countSleep(this.#beforeMs - before);
  }

  #countSleep(ms: number): void {
    const { f64 } = this.#arena;
    f64[(this.#record + THREAD_SLEEPS) >> 3]! += 1;
    f64[(this.#record + THREAD_SLEEP_NS) >> 3]! += ms * 1e6;
  }

  /**
   * Asks all guests for kicks and, when none of them has sent anything meanwhile, waits for one. What was sent goes through a pass, a short
   * one, before anything else is done: the time until then is the first packet's.
   */
  #sleep(): void {
    this.#setNotify(1);
    if (!this.#anyPending()) {
      this.#iterations = ITERATIONS_MIN;
      this.#thread.exports.goOffline();
      const before = performance.now();
      const ready = this.#poll.wait(SLEEP_MAX_MS, this.#rxqs.length + 1);
      this.#thread.exports.goOnline();
      this.#beforeMs = performance.now();
      this.#countSleep(this.#beforeMs - before);
      if (ready > 0) {
        this.#pass();
        this.#drain();
      }
    }
    this.#setNotify(0);
    this.#idleMs = 0;
    this.#beforeMs = performance.now();
  }

  #setNotify(on: number): void {
    for (const q of this.#rxqs) this.#guarded(q, on);
  }

  #guarded(q: PmdRxq, on: number): void {
    try {
      this.#thread.guest(q.guest)?.setNotify(q.vring, on);
    } catch (e) {
      this.#arena.publish(q.vring + VRING_BROKEN, VRING_BROKEN_CHAIN);
      this.#report({ type: 'trap', vring: q.vring, message: (e as Error).message });
    }
  }

  #anyPending(): boolean {
    for (const q of this.#rxqs) {
      const guest = this.#thread.guest(q.guest);
      if (guest && this.#arena.get(q.vring + VRING_BROKEN) === 0 && guest.pending(q.vring)) return true;
    }
    return false;
  }

  #drain(): void {
    if (this.#poll.revents(0)) eventfdDrain(this.#data.wakeFd);
    for (let i = 0; i < this.#rxqs.length; i++) {
      const revents = this.#poll.revents(i + 1);
      if (revents === 0) continue;
      const q = this.#rxqs[i]!;
      if (q.socket === 'packet') takeSocketError(q.kickFd);
      else if (!(revents & POLLIN)) this.#poll.clear(i + 1);
      else if (!q.socket) eventfdDrain(q.kickFd);
    }
  }

  #readMessages(): void {
    this.#arena.publish(this.#record + THREAD_STOP, 0);
    for (;;) {
      const received = receiveMessageOnPort(this.#port);
      if (!received) return;
      const { id, request } = received.message as { id: number; request: PmdRequest };
      this.#handle(request);
      this.#report({ type: 'ack', id });
    }
  }

  #handle(request: PmdRequest): void {
    switch (request.type) {
      case 'guest':
        this.#thread.addGuest(request.guest, request.memory, request.module);
        break;
      case 'drop-guest':
        this.#thread.dropGuest(request.guest);
        break;
      case 'call-fd':
        this.#thread.setCallFd(request.vring, request.fd, request.kick);
        break;
      case 'rxqs':
        this.#setRxqs(request.rxqs);
        break;
      case 'sync':
        break;
      case 'exit':
        this.#exit = true;
        break;
    }
  }

  /** No more than RXQS_MAX queues fit the record; the others are not polled. */
  #setRxqs(wanted: readonly PmdRxq[]): void {
    const rxqs = wanted.slice(0, RXQS_MAX);
    this.#rxqs = rxqs;
    this.#taps = rxqs.filter((q) => q.socket === 'tap');
    this.#tapSkips.fill(0);
    this.#idleMs = 0;
    for (let i = 0; i < RXQS_MAX; i++) {
      const q = rxqs[i];
      if (q && q.kickFd >= 0) this.#poll.set(i + 1, q.kickFd, POLLIN);
      else this.#poll.clear(i + 1);
    }
    rxqs.forEach((q, i) => {
      const at = ARENA_RXQS + this.#data.index * ARENA_RXQS_STRIDE + i * RXQ__SIZE;
      this.#arena.set(at + RXQ_SLOT, rxSlot(q.guest));
      this.#arena.set(at + RXQ_VRING, q.vring);
      this.#arena.set(at + RXQ_PORT, q.port);
      this.#arena.set(at + RXQ_PACKETS, 0);
      for (const field of [RXQ_MISSED, RXQ_WAITED, RXQ_LOOKED_MS]) this.#arena.set(at + field, 0);
    });
    this.#arena.set(this.#record + THREAD_NRXQS, rxqs.length);
    for (const q of rxqs) this.#guarded(q, 0);
  }
}

if (parentPort) new Pmd(workerData as PmdWorkerData, parentPort).main();
