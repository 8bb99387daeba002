import type { OdpPort } from '../../base/types.ts';
import {
  ARENA_PORTS,
  PORT__SIZE,
  PORT_NTXQS,
  PORT_TX_LOCKED,
  PORT_TX_SLOT,
  PORT_TXQ,
  TXQS_MAX,
  VRING_AVAIL,
  VRING_BACK_CONSUMER,
  VRING_BACK_DESC,
  VRING_BACK_PRODUCER,
  VRING_BROKEN,
  VRING_CALL_PENDING,
  VRING_DESC,
  VRING_F_ENDLESS,
  VRING_F_LOOP,
  VRING_F_NEED_WAKEUP,
  VRING_F_PARTIAL,
  VRING_F_SINK,
  VRING_FLAGS,
  VRING_FRAME_SIZE,
  VRING_FREE,
  VRING_LAST_AVAIL,
  VRING_LAST_USED,
  VRING_LOCK,
  VRING_PORT,
  VRING_SEG_NEXT,
  VRING_SIZE,
  VRING_STARTED,
  VRING_UMEM,
  VRING_UMEM_BASE,
  VRING_USED,
  VRING_WAKEUP,
} from '../../gen/arena.ts';
import {
  NetdevError,
  type SocketConsumer,
  type SocketRing,
  type SocketRings,
  type XskRing,
} from '../../netdev/netdev.ts';
import type { Arena } from './arena.ts';
import { type DatapathThread, type KickKind, SOCKET_MEMORY, txSlot, XSK_MEMORY } from './datapath-thread.ts';
import type { PmdRequest } from './pmd-messages.ts';
import type { PmdPool } from './pmd-pool.ts';
import type { NamedRxq } from './rxq-assignment.ts';
import type { VringRecords } from './vring-records.ts';

const FLAGS = { endless: VRING_F_ENDLESS, sink: VRING_F_SINK, loop: VRING_F_LOOP } as const;

/** A ring that runs. */
interface ActiveRing {
  ring: SocketRing;
  at: number;
  /** The only thread that sends by it; undefined: all do. */
  owner?: number;
}

/** One port of the host's network stack in the datapath. */
export class SocketPort implements SocketConsumer {
  readonly port: OdpPort;
  readonly name: string;
  readonly #owner: SocketPorts;
  rings: ActiveRing[] = [];
  /** Transmit rings of threads that there are not. */
  spare: SocketRing[] = [];
  /** The port was deleted, while its device is still to be closed. */
  removed = false;

  constructor(port: OdpPort, name: string, owner: SocketPorts) {
    this.port = port;
    this.name = name;
    this.#owner = owner;
  }

  ringsStart(rings: SocketRings): Promise<void> {
    return this.#owner.start(this, rings);
  }

  ringsStop(): Promise<void> {
    return this.#owner.stop(this);
  }
}

/** All ports that are packet sockets: their records in the arena, and who polls them. Control thread only. */
export class SocketPorts {
  readonly #arena: Arena;
  readonly #pool: PmdPool;
  readonly #main: DatapathThread;
  readonly #records: VringRecords;
  readonly #ports = new Map<number, SocketPort>();
  /** Called when the set of rxqs changed: assigns them to PMDs. */
  readonly #reassign: () => Promise<void>;
  #memory: WebAssembly.Memory | undefined;

  constructor(arena: Arena, pool: PmdPool, main: DatapathThread, reassign: () => Promise<void>, records: VringRecords) {
    this.#arena = arena;
    this.#pool = pool;
    this.#main = main;
    this.#reassign = reassign;
    this.#records = records;
  }

  add(port: OdpPort, name: string): SocketPort {
    const socket = new SocketPort(port, name, this);
    this.#ports.set(port, socket);
    this.#publishTxqs(socket);
    return socket;
  }

  async remove(port: OdpPort): Promise<void> {
    const socket = this.#ports.get(port);
    if (!socket) return;
    socket.removed = true;
    await this.stop(socket);
    this.#ports.delete(port);
  }

  /** Everything that the new thread `index` has to know before it polls. */
  requests(index: number): PmdRequest[] {
    if (!this.#memory) return [];
    const all = [...this.#ports.values()].flatMap(({ rings }) => rings).filter(({ ring }) => isKicked(ring));
    return [
      ...memoryRequests(this.#memory),
      ...all.filter(({ owner }) => owner === undefined || owner === index).map(kickRequest),
    ];
  }

  rxqs(): NamedRxq[] {
    return [...this.#ports.values()].flatMap((socket): NamedRxq[] => {
      const { port, name } = socket;
      const polled = socket.rings.filter(({ ring }) => ring.direction === 'rx');
      if (polled.length === 0)
        return [{ guest: SOCKET_MEMORY, port, name, queue: 0, vring: 0, kickFd: -1, enabled: false }];
      return polled.map(({ ring, at }, queue) => {
        return {
          guest: memoryOf(ring),
          port,
          name,
          queue,
          vring: at,
          kickFd: ring.fd,
          ...socketKind(ring),
          enabled: true,
        };
      });
    });
  }

  portOfRing(at: number): SocketPort | undefined {
    for (const socket of this.#ports.values()) if (socket.rings.some((r) => r.at === at)) return socket;
    return undefined;
  }

  async start(socket: SocketPort, { memory, rings }: SocketRings): Promise<void> {
    await this.stop(socket);
    if (socket.removed) throw new NetdevError(`${socket.name}: the port was deleted`);
    if (this.#memory !== memory) {
      this.#memory = memory;
      this.#main.addGuest(SOCKET_MEMORY, memory, 'tpacket');
      this.#main.addGuest(XSK_MEMORY, memory, 'xsk');
      for (const request of memoryRequests(memory)) await this.#pool.all(request);
    }
    socket.spare = [...rings];
    this.#useRings(socket);
    await Promise.all(socket.rings.map((active) => this.#tellKick(active)));
    for (const { at } of socket.rings) this.#arena.publish(at + VRING_STARTED, 1);
    this.#publishTxqs(socket);
    await this.#reassign();
  }

  /** Takes into use what there are threads for. Returns the new ones. */
  #useRings(socket: SocketPort): ActiveRing[] {
    const before = socket.rings.length;
    let nTx = socket.rings.filter(({ ring }) => ring.direction === 'tx').length;
    socket.spare = socket.spare.filter((ring) => {
      const isOwned = (ring.kind === 'tap' || ring.kind === 'pcap') && ring.direction === 'tx';
      if (isOwned && nTx >= this.#pool.nThreads) return true;
      const at = this.#records.take(socket.name);
      this.#writeRing(at, socket.port, ring);
      socket.rings.push({ ring, at, ...(isOwned && { owner: nTx }) });
      if (ring.direction === 'tx') nTx++;
      return false;
    });
    return socket.rings.slice(before);
  }

  /** Who sends by the ring learns how to have it emptied. */
  async #tellKick(active: ActiveRing): Promise<void> {
    const { ring, at, owner } = active;
    if (!isKicked(ring)) return;
    if (owner === undefined || owner === 0) this.#main.setCallFd(at, ring.fd, kickKind(ring));
    const concerned = this.#pool.pmds.filter((pmd) => owner === undefined || owner === pmd.index);
    await Promise.all(concerned.map((pmd) => pmd.request(kickRequest(active))));
  }

  /** Resolves when no thread uses the rings; does nothing when they do not run. */
  async stop(socket: SocketPort): Promise<void> {
    const { rings } = socket;
    if (rings.length === 0) return;
    socket.rings = [];
    socket.spare = [];
    for (const { at } of rings) this.#arena.publish(at + VRING_STARTED, 0);
    this.#publishTxqs(socket);
    await this.#reassign();
    for (const { at } of rings) {
      this.#main.setCallFd(at, -1);
      await this.#pool.all({ type: 'call-fd', vring: at, fd: -1 });
      this.#records.release(at);
    }
  }

  #writeRing(at: number, port: OdpPort, ring: SocketRing): void {
    const set = (field: number, value: number) => this.#arena.set(at + field, value);
    set(VRING_DESC, ring.offset);
    set(VRING_SIZE, ring.nFrames);
    set(VRING_FRAME_SIZE, ring.frameSize);
    set(VRING_PORT, port);
    set(VRING_FLAGS, ring.behaviour ? FLAGS[ring.behaviour] : 0);
    set(VRING_LAST_AVAIL, 0);
    set(VRING_LAST_USED, 0);
    set(VRING_SEG_NEXT, 0);
    set(VRING_CALL_PENDING, 0);
    set(VRING_BROKEN, 0);
    set(VRING_LOCK, 0);
    if (ring.xsk) this.#writeXsk(at, ring, ring.xsk);
  }

  #writeXsk(at: number, { direction, nFrames }: SocketRing, xsk: XskRing): void {
    const set = (field: number, value: number) => this.#arena.set(at + field, value);
    set(VRING_AVAIL, xsk.producer);
    set(VRING_USED, xsk.consumer);
    set(VRING_BACK_DESC, xsk.back.desc);
    set(VRING_BACK_PRODUCER, xsk.back.producer);
    set(VRING_BACK_CONSUMER, xsk.back.consumer);
    set(VRING_LAST_AVAIL, xsk.position);
    set(VRING_LAST_USED, xsk.back.position);
    set(VRING_WAKEUP, xsk.wakeup);
    set(VRING_UMEM, xsk.umem);
    set(VRING_UMEM_BASE, xsk.umemBase);
    set(VRING_FREE, xsk.free);
    set(VRING_SEG_NEXT, direction === 'tx' ? nFrames : 0);
    set(VRING_FLAGS, (xsk.needWakeup ? VRING_F_NEED_WAKEUP : 0) | (xsk.partial ? VRING_F_PARTIAL : 0));
  }

  /** There are more threads: a ring that was one thread's may now be shared, and then wants the lock; taps get another ring. The new thread does not run yet. */
  threadsChanged(): void {
    for (const socket of this.#ports.values()) {
      for (const { at } of this.#useRings(socket)) this.#arena.publish(at + VRING_STARTED, 1);
      this.#publishTxqs(socket);
    }
  }

  #publishTxqs(socket: SocketPort): void {
    const record = ARENA_PORTS + socket.port * PORT__SIZE;
    const rings = socket.rings.filter(({ ring }) => ring.direction === 'tx').slice(0, TXQS_MAX);
    this.#arena.set(record + PORT_TX_SLOT, txSlot(rings[0] ? memoryOf(rings[0].ring) : SOCKET_MEMORY));
    this.#arena.set(record + PORT_TX_LOCKED, rings.length >= this.#pool.nThreads ? 0 : 1);
    rings.forEach(({ at }, i) => {
      this.#arena.set(record + PORT_TXQ + i * 4, at);
    });
    this.#arena.publish(record + PORT_NTXQS, rings.length);
  }
}

/** The module that serves the ring, by the number that its memory goes by. */
const memoryOf = ({ kind }: SocketRing) => (kind === 'xsk' ? XSK_MEMORY : SOCKET_MEMORY);

const memoryRequests = (memory: WebAssembly.Memory): PmdRequest[] => [
  { type: 'guest', guest: SOCKET_MEMORY, memory, module: 'tpacket' },
  { type: 'guest', guest: XSK_MEMORY, memory, module: 'xsk' },
];

/** What the thread that polls the ring has to know of its fd: a socket's pending error is to be taken, a tap is to be read. */
function socketKind({ kind }: SocketRing): { socket?: 'packet' | 'tap' } {
  if (kind === 'xsk') return { socket: 'packet' };
  return kind === 'packet' || kind === 'tap' ? { socket: kind } : {};
}

/** The kernel, or the pump, is to be called for it. */
const isKicked = ({ direction, kind }: SocketRing) => direction === 'tx' || kind === 'xsk';

const kickRequest = ({ at, ring }: ActiveRing): PmdRequest => {
  return { type: 'call-fd', vring: at, fd: ring.fd, kick: kickKind(ring) };
};

function kickKind({ kind, direction }: SocketRing): KickKind {
  if (kind === 'xsk') return `xsk-${direction}`;
  return kind === 'memory' ? 'eventfd' : kind;
}
