import type { Flow } from '../../flow/flow.ts';
import {
  ARENA_BIG_SLOTS,
  ARENA_PKTS,
  ARENA_SLOTS,
  ARENA_THREADS,
  BATCH_MAX,
  BIG_SLOT__SIZE,
  FRAME_MAX,
  KEY__SHORT_WORDS,
  KEY__SIZE,
  PACKET_HEADROOM,
  PKT__SIZE,
  PKT_DATA,
  PKT_F_NO_RSS,
  PKT_FLAGS,
  PKT_KEY,
  PKT_LEN,
  PKT_LONG,
  PKT_RSS,
  PKT_VNET_FLAGS,
  SLOT__SIZE,
  THREAD_LAST_TX,
  THREAD_NOW_MS,
  VRING_BROKEN,
  VRING_BROKEN_CHAIN,
  VRING_LOCK,
} from '../../gen/arena.ts';
import type { Arena } from './arena.ts';
import type { DatapathThread } from './datapath-thread.ts';
import { flowToKey, keyToFlow } from './flow-key.ts';

/** What goes with a packet beside its bytes and its metadata. */
export interface PacketState {
  /** How often it was recirculated. */
  depth: number;
  /** Its hash when it was received, 0: that of its headers; `flags`: PKT_F_*. */
  rss: number;
  flags: number;
}

/** Of a packet that a port has received, and of one that the control thread made. */
export const RECEIVED: PacketState = { depth: 0, rss: 0, flags: 0 };
export const MADE_HERE: PacketState = { depth: 0, rss: 0, flags: PKT_F_NO_RSS };

/** Packets of the control thread in its own part of the arena, and the fast path run on them. */
export class OwnPackets {
  readonly #arena: Arena;
  readonly #main: DatapathThread;
  readonly #nowMs: () => number;
  readonly #onTrap: (vring: number, message: string) => void;

  constructor(
    arena: Arena,
    main: DatapathThread,
    nowMs: () => number,
    onTrap: (vring: number, message: string) => void,
  ) {
    this.#arena = arena;
    this.#main = main;
    this.#nowMs = nowMs;
    this.#onTrap = onTrap;
  }

  /** Puts a frame of BIG_FRAME_MAX bytes at most into slot `i`; BATCH_MAX is the spare one. */
  place(i: number, frame: Uint8Array): void {
    const slot = frame.length > FRAME_MAX ? ARENA_BIG_SLOTS + i * BIG_SLOT__SIZE : ARENA_SLOTS + i * SLOT__SIZE;
    const data = slot + PACKET_HEADROOM;
    this.#arena.u8.set(frame, data);
    const pkt = ARENA_PKTS + i * PKT__SIZE;
    this.#arena.set(pkt + PKT_DATA, data);
    this.#arena.set(pkt + PKT_LEN, frame.length);
    this.#arena.u8.fill(0, pkt + PKT_VNET_FLAGS, pkt + PKT_KEY);
    this.#arena.f64[(ARENA_THREADS + THREAD_NOW_MS) >> 3] = this.#nowMs();
  }

  /** Puts a frame with its metadata into the spare record, and has its headers extracted. */
  prepare(frame: Uint8Array, md: Flow, state: PacketState): void {
    this.place(BATCH_MAX, frame);
    const pkt = ARENA_PKTS + BATCH_MAX * PKT__SIZE;
    flowToKey(md, this.#arena.u8.subarray(pkt + PKT_KEY, pkt + PKT_KEY + KEY__SIZE));
    this.#arena.set(pkt + PKT_RSS, state.rss);
    this.#arena.set(pkt + PKT_FLAGS, state.flags);
    this.#main.exports.prepareSpare();
  }

  /** Headers of the packet in the spare record, as the fast path extracted them. */
  spareKey(): Flow {
    const pkt = ARENA_PKTS + BATCH_MAX * PKT__SIZE;
    const key = this.#arena.u8.subarray(pkt + PKT_KEY, pkt + PKT_KEY + KEY__SIZE);
    return keyToFlow(key, this.#arena.u16[(pkt + PKT_LONG) >> 1] !== 0, KEY__SHORT_WORDS * 8);
  }

  /** Runs the fast path on this thread. A trap breaks the ring that was being filled and nothing else. */
  guarded(work: () => void): void {
    try {
      work();
    } catch (e) {
      if (!(e instanceof WebAssembly.RuntimeError)) throw e;
      const vring = this.#arena.get(ARENA_THREADS + THREAD_LAST_TX);
      if (vring) {
        this.#arena.publish(vring + VRING_BROKEN, VRING_BROKEN_CHAIN);
        if (this.#arena.load(vring + VRING_LOCK) === 1) this.#arena.publish(vring + VRING_LOCK, 0);
      }
      this.#arena.set(ARENA_THREADS + THREAD_LAST_TX, 0);
      this.#main.exports.resetBatch();
      this.#onTrap(vring, e.message);
    }
  }
}
