import type { OdpPort } from '../../base/types.ts';
import {
  ARENA_PORTS,
  ARENA_REGION_TABLES,
  GUESTS_MAX,
  OFFLOAD_CSUM,
  OFFLOAD_ECN,
  OFFLOAD_TSO4,
  OFFLOAD_TSO6,
  OFFLOAD_USO,
  PORT__SIZE,
  PORT_NTXQS,
  PORT_OFFLOADS,
  PORT_TX_LOCKED,
  PORT_TX_SLOT,
  PORT_TXQ,
  REGION__SIZE,
  REGION_GPA,
  REGION_OFFSET,
  REGION_SIZE,
  REGION_TABLE__SIZE,
  REGION_TABLE_COUNT,
  REGION_TABLE_ENTRIES,
  TXQS_MAX,
  VRING_AVAIL,
  VRING_BROKEN,
  VRING_BROKEN_INDEX,
  VRING_CALL_PENDING,
  VRING_DESC,
  VRING_F_INDIRECT,
  VRING_F_MRG_RXBUF,
  VRING_FLAGS,
  VRING_GUEST,
  VRING_HDR_SIZE,
  VRING_LAST_AVAIL,
  VRING_LAST_USED,
  VRING_LOCK,
  VRING_OFFLOADS,
  VRING_PORT,
  VRING_REGIONS,
  VRING_SIZE,
  VRING_STARTED,
  VRING_USED,
} from '../../gen/arena.ts';
import { type GuestMemory, NetdevError, type VringConfig, type VringConsumer } from '../../netdev/netdev.ts';
import type { Arena } from './arena.ts';
import { type DatapathThread, txSlot } from './datapath-thread.ts';
import type { PmdRequest } from './pmd-messages.ts';
import type { PmdPool } from './pmd-pool.ts';
import type { NamedRxq } from './rxq-assignment.ts';
import { VringRecords } from './vring-records.ts';

/** What a guest that transmits may leave to us, and what one that receives takes from us (virtio 1.2, 5.1.3): feature bits and OFFLOAD_*. */
const HOST_OFFLOADS: readonly (readonly [features: bigint, offload: number])[] = [
  [1n << 0n, OFFLOAD_CSUM],
  [1n << 11n, OFFLOAD_TSO4],
  [1n << 12n, OFFLOAD_TSO6],
  [1n << 13n, OFFLOAD_ECN],
  [1n << 56n, OFFLOAD_USO],
];
const GUEST_OFFLOADS: typeof HOST_OFFLOADS = [
  [1n << 1n, OFFLOAD_CSUM],
  [1n << 7n, OFFLOAD_TSO4],
  [1n << 8n, OFFLOAD_TSO6],
  [1n << 9n, OFFLOAD_ECN],
  [(1n << 54n) | (1n << 55n), OFFLOAD_USO],
];

/** OFFLOAD_* of a ring. */
function offloadsOf({ index, features }: VringConfig): number {
  const table = isPolled(index) ? HOST_OFFLOADS : GUEST_OFFLOADS;
  return table.reduce((mask, [bits, offload]) => ((features & bits) === bits ? mask | offload : mask), 0);
}

const VIRTIO_NET_F_MRG_RXBUF = 1n << 15n;
const VIRTIO_F_RING_INDIRECT_DESC = 1n << 28n;

/** The guest transmits on odd rings (virtio 1.1, 5.1.2). */
const isPolled = (index: number) => index % 2 === 1;

function assertPresent(vhost: VhostPort): void {
  if (vhost.removed) throw new NetdevError(`${vhost.name}: the port was deleted`);
}

/** A ring that runs. */
interface ActiveRing {
  config: VringConfig;
  at: number;
  /** `takeBroken` has told of it. */
  toldBroken: boolean;
}

/** Both indices are free-running 16-bit counters. */
interface RingPosition {
  lastAvail: number;
  lastUsed: number;
}

/** One vhost-user port's rings in the datapath. */
export class VhostPort implements VringConsumer {
  readonly port: OdpPort;
  readonly name: string;
  readonly guest: number;
  readonly #owner: VhostPorts;
  readonly rings = new Map<number, ActiveRing>();
  /** Where each ring stopped that ever ran. */
  readonly stopped = new Map<number, Promise<RingPosition>>();
  memory: WebAssembly.Memory | undefined;
  /** The port was deleted: its guest number and record may already be another's, while the device is still to be closed. */
  removed = false;

  constructor(port: OdpPort, name: string, guest: number, owner: VhostPorts) {
    this.port = port;
    this.name = name;
    this.guest = guest;
    this.#owner = owner;
  }

  ringStart(ring: VringConfig, guest: GuestMemory): Promise<void> {
    return this.#owner.startRing(this, ring, guest);
  }

  ringStop(index: number): Promise<RingPosition> {
    return this.#owner.stopRing(this, index);
  }
}

/** All vhost-user ports: their records in the arena, and who polls them. Control thread only. */
export class VhostPorts {
  readonly #arena: Arena;
  readonly #pool: PmdPool;
  /** The control thread's own instance, which sends the packets of upcalls and packet-outs. */
  readonly #main: DatapathThread;
  readonly #ports = new Map<number, VhostPort>();
  readonly #records: VringRecords;
  /** Called when the set of rxqs changed: assigns them to PMDs. */
  readonly #reassign: () => Promise<void>;

  constructor(
    arena: Arena,
    pool: PmdPool,
    main: DatapathThread,
    reassign: () => Promise<void>,
    records = new VringRecords(),
  ) {
    this.#arena = arena;
    this.#pool = pool;
    this.#main = main;
    this.#reassign = reassign;
    this.#records = records;
  }

  add(port: OdpPort, name: string): VhostPort {
    const taken = new Set([...this.#ports.values()].map((p) => p.guest));
    let guest = 0;
    while (taken.has(guest)) guest++;
    if (guest >= GUESTS_MAX) throw new NetdevError(`${name}: no more than ${GUESTS_MAX} vhost-user ports are possible`);
    const vhost = new VhostPort(port, name, guest, this);
    this.#ports.set(port, vhost);
    this.#publishTxqs(vhost);
    return vhost;
  }

  /** Stops the port's rings. Its guest number is free once no thread knows the guest any more. */
  async remove(port: OdpPort): Promise<void> {
    const vhost = this.#ports.get(port);
    if (!vhost) return;
    vhost.removed = true;
    for (const index of [...vhost.rings.keys()]) await this.stopRing(vhost, index);
    await Promise.all(vhost.stopped.values());
    await this.#pool.all({ type: 'drop-guest', guest: vhost.guest });
    this.#main.dropGuest(vhost.guest);
    this.#ports.delete(port);
  }

  [Symbol.iterator](): Iterator<VhostPort> {
    return this.#ports.values();
  }

  /** Everything that a new PMD has to know before it polls. */
  requests(): PmdRequest[] {
    const requests: PmdRequest[] = [];
    for (const vhost of this.#ports.values()) {
      if (!vhost.memory) continue;
      requests.push({ type: 'guest', guest: vhost.guest, memory: vhost.memory });
      for (const { at, config } of vhost.rings.values())
        requests.push({ type: 'call-fd', vring: at, fd: config.callFd });
    }
    return requests;
  }

  /** The receive queues of all ports; a port whose guest is away has its first queue, which is not enabled. */
  rxqs(): NamedRxq[] {
    return [...this.#ports.values()].flatMap((vhost): NamedRxq[] => {
      const { guest, port, name } = vhost;
      const polled = [...vhost.rings.values()].filter(({ config }) => isPolled(config.index));
      if (polled.length === 0) return [{ guest, port, name, queue: 0, vring: 0, kickFd: -1, enabled: false }];
      return polled.map(({ config, at }) => {
        return { guest, port, name, queue: config.index >> 1, vring: at, kickFd: config.kickFd, enabled: true };
      });
    });
  }

  /** The port that a ring belongs to. */
  portOfVring(vring: number): VhostPort | undefined {
    for (const vhost of this.#ports.values()) {
      for (const ring of vhost.rings.values()) if (ring.at === vring) return vhost;
    }
    return undefined;
  }

  /** The rings that guests have broken since the last call, and why. */
  takeBroken(): { name: string; index: number; why: string }[] {
    const broken: { name: string; index: number; why: string }[] = [];
    for (const vhost of this.#ports.values()) {
      for (const ring of vhost.rings.values()) {
        const flag = this.#arena.get(ring.at + VRING_BROKEN);
        if (flag === 0 || ring.toldBroken) continue;
        ring.toldBroken = true;
        const why =
          flag === VRING_BROKEN_INDEX ? 'an available index beyond the ring' : 'an impossible descriptor chain';
        broken.push({ name: vhost.name, index: ring.config.index, why });
      }
    }
    return broken;
  }

  async startRing(vhost: VhostPort, config: VringConfig, guest: GuestMemory): Promise<void> {
    assertPresent(vhost);
    if (vhost.rings.has(config.index)) await this.stopRing(vhost, config.index);
    const at = this.#records.take(vhost.name);
    this.#writeRegions(vhost, guest);
    this.#writeVring(at, vhost, config);
    const isNews = vhost.memory !== guest.memory;
    vhost.memory = guest.memory;
    const exports = this.#main.addGuest(vhost.guest, guest.memory);
    this.#main.setCallFd(at, config.callFd);
    if (isNews) await this.#pool.all({ type: 'guest', guest: vhost.guest, memory: guest.memory });
    await this.#pool.all({ type: 'call-fd', vring: at, fd: config.callFd });
    if (vhost.removed) {
      await this.#releaseVring(at);
      this.#records.release(at);
      assertPresent(vhost);
    }
    this.#arena.publish(at + VRING_STARTED, 1);
    exports.startRing(at);
    exports.setNotify(at, 0);
    vhost.rings.set(config.index, { config, at, toldBroken: false });
    this.#publishTxqs(vhost);
    if (isPolled(config.index)) await this.#reassign();
  }

  /** A ring is stopped once, by its device or by the removal of the port; who comes second waits for the same end. */
  stopRing(vhost: VhostPort, index: number): Promise<RingPosition> {
    const ring = vhost.rings.get(index);
    if (ring) {
      vhost.rings.delete(index);
      vhost.stopped.set(index, this.#stop(vhost, ring, index));
    }
    const stopped = vhost.stopped.get(index);
    if (!stopped) throw new Error(`${vhost.name}: ring ${index} never ran`);
    return stopped;
  }

  async #stop(vhost: VhostPort, ring: ActiveRing, index: number): Promise<RingPosition> {
    this.#arena.publish(ring.at + VRING_STARTED, 0);
    this.#publishTxqs(vhost);
    if (isPolled(index)) await this.#reassign();
    await this.#releaseVring(ring.at);
    const position = {
      lastAvail: this.#arena.get(ring.at + VRING_LAST_AVAIL),
      lastUsed: this.#arena.get(ring.at + VRING_LAST_USED),
    };
    this.#records.release(ring.at);
    return position;
  }

  /** Resolves when every thread has left the ring. */
  async #releaseVring(at: number): Promise<void> {
    this.#main.setCallFd(at, -1);
    await this.#pool.all({ type: 'call-fd', vring: at, fd: -1 });
  }

  #regionTable(vhost: VhostPort): number {
    return ARENA_REGION_TABLES + vhost.guest * REGION_TABLE__SIZE;
  }

  #writeRegions(vhost: VhostPort, guest: GuestMemory): void {
    const table = this.#regionTable(vhost);
    this.#arena.set(table + REGION_TABLE_COUNT, guest.regions.length);
    guest.regions.forEach((region, i) => {
      const at = table + REGION_TABLE_ENTRIES + i * REGION__SIZE;
      this.#arena.u64[(at + REGION_GPA) >> 3] = region.gpa;
      this.#arena.u64[(at + REGION_SIZE) >> 3] = region.size;
      this.#arena.u64[(at + REGION_OFFSET) >> 3] = BigInt(region.offset);
    });
  }

  #writeVring(at: number, vhost: VhostPort, config: VringConfig): void {
    const set = (field: number, value: number) => this.#arena.set(at + field, value);
    let flags = 0;
    if (config.features & VIRTIO_NET_F_MRG_RXBUF) flags |= VRING_F_MRG_RXBUF;
    if (config.features & VIRTIO_F_RING_INDIRECT_DESC) flags |= VRING_F_INDIRECT;
    set(VRING_DESC, config.desc);
    set(VRING_AVAIL, config.avail);
    set(VRING_USED, config.used);
    set(VRING_SIZE, config.size);
    set(VRING_HDR_SIZE, config.hdrSize);
    set(VRING_FLAGS, flags);
    set(VRING_PORT, vhost.port);
    set(VRING_REGIONS, this.#regionTable(vhost));
    set(VRING_LAST_AVAIL, config.lastAvail);
    set(VRING_LAST_USED, config.lastUsed);
    set(VRING_GUEST, vhost.guest);
    set(VRING_OFFLOADS, offloadsOf(config));
    set(VRING_CALL_PENDING, 0);
    set(VRING_BROKEN, 0);
    set(VRING_LOCK, 0);
  }

  /** There are more threads: rings that were one thread's may now be shared, and then want the lock. */
  async threadsChanged(): Promise<void> {
    for (const vhost of this.#ports.values()) this.#publishTxqs(vhost);
    await this.#pool.all({ type: 'sync' });
  }

  /** Tells the fast path which rings take what is sent to the port. */
  #publishTxqs(vhost: VhostPort): void {
    const record = ARENA_PORTS + vhost.port * PORT__SIZE;
    const rings = [...vhost.rings.values()]
      .filter(({ config }) => !isPolled(config.index))
      .sort((a, b) => a.config.index - b.config.index)
      .slice(0, TXQS_MAX);
    this.#arena.set(record + PORT_TX_SLOT, txSlot(vhost.guest));
    this.#arena.set(record + PORT_TX_LOCKED, rings.length >= this.#pool.nThreads ? 0 : 1);
    rings.forEach(({ at }, i) => {
      this.#arena.set(record + PORT_TXQ + i * 4, at);
    });
    const offloads = rings.map(({ config }) => offloadsOf(config));
    this.#arena.set(record + PORT_OFFLOADS, offloads.length ? offloads.reduce((all, one) => all & one) : 0);
    this.#arena.publish(record + PORT_NTXQS, rings.length);
  }
}
