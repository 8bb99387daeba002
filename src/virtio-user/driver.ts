/** A driver: memory, kernel and the ports' rings in it. Knows nothing of sockets; used by the lcore thread and by tests. */
import { DriverMemory, type MemoryPlan, planMemory, type RingPlace } from './driver-memory.ts';
import { portBase } from './generator.ts';
import * as L from './kernel/layout.ts';
import { type Kernel, loadKernel } from './kernel.ts';

export interface Stream {
  rx: number;
  tx: number;
}

/** Names of the forward modes, as testpmd has them. */
export const FORWARD_MODES = {
  io: L.FWD_IO,
  mac: L.FWD_MAC,
  macswap: L.FWD_MACSWAP,
  rxonly: L.FWD_RXONLY,
  txonly: L.FWD_TXONLY,
  flowgen: L.FWD_FLOWGEN,
  icmpecho: L.FWD_ICMPECHO,
} as const;
export type ForwardMode = keyof typeof FORWARD_MODES;

/** Why a ring is not used any more, by VQ_BROKEN's number. */
export const BROKEN_REASONS = [
  'ok',
  'used index beyond the ring',
  'used element of a descriptor the device does not hold',
  'used length beyond its buffer',
  'num_buffers beyond the used buffers',
] as const;

export class Driver {
  readonly mem: DriverMemory;
  readonly kernel: Kernel;
  readonly nPorts: number;
  readonly #words: Int32Array;

  constructor(plan: MemoryPlan) {
    this.mem = new DriverMemory(planMemory(plan));
    this.kernel = loadKernel(this.mem.memory);
    this.nPorts = plan.ports.length;
    this.#words = new Int32Array(this.mem.memory.buffer);
    const { layout } = this.mem;
    this.kernel.poolInit(layout.buffers, layout.nBuffers, layout.poolStack, layout.poolMeta);
    layout.ports.forEach((p, i) => {
      this.#place(i, 0, p.rx);
      this.#place(i, 1, p.tx);
    });
  }

  #place(port: number, tx: 0 | 1, r: RingPlace): void {
    this.kernel.queueInit(port, tx, r.size, r.desc, r.avail, r.used, r.arrays);
  }

  setStreams(streams: readonly Stream[]): void {
    if (streams.length > L.MAX_STREAMS) throw new RangeError(`at most ${L.MAX_STREAMS} streams`);
    streams.forEach((s, i) => {
      this.#words[L.STREAMS / 4 + i * 2] = s.rx;
      this.#words[L.STREAMS / 4 + i * 2 + 1] = s.tx;
    });
  }

  #queueWord(port: number, tx: 0 | 1, word: number): number {
    return (portBase(port) + (tx ? L.PORT_TX : L.PORT_RX) + word) / 4;
  }

  /** Calls `kick(port, tx)` for each ring whose device asked for it since the last call. */
  takeKicks(kick: (port: number, tx: 0 | 1) => void): void {
    if (this.#words[L.KICKS_PENDING / 4] === 0) return;
    this.#words[L.KICKS_PENDING / 4] = 0;
    for (let port = 0; port < this.nPorts; port++) {
      this.#takeKick(port, 0, kick);
      this.#takeKick(port, 1, kick);
    }
  }

  #takeKick(port: number, tx: 0 | 1, kick: (port: number, tx: 0 | 1) => void): void {
    const at = this.#queueWord(port, tx, L.VQ_KICK);
    if (this.#words[at] === 0) return;
    this.#words[at] = 0;
    kick(port, tx);
  }

  /** Why a ring of the port is broken, or undefined. */
  broken(port: number): string | undefined {
    for (const tx of [0, 1] as const) {
      const why = this.#words[this.#queueWord(port, tx, L.VQ_BROKEN)]!;
      if (why !== 0) return `${tx ? 'tx' : 'rx'} ring: ${BROKEN_REASONS[why]}`;
    }
    return undefined;
  }

  close(): void {
    this.mem.close();
  }
}
