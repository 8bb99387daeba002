import { close } from '../sys/fd.ts';
import {
  type PacketRing,
  packetBind,
  packetDrops,
  packetMap,
  packetOpen,
  ringFrames,
  ringSize,
} from '../sys/packet-socket.ts';
import { HostNetdev } from './host-netdev.ts';
import { NetdevError, type NetdevIo, type NetdevStats, type SocketConsumer, type SocketRing } from './netdev.ts';
import { socketMemory } from './socket-memory.ts';

/**
 * Slots that a frame fits which the sender's kernel left uncut: 64 KiB, its headers and the kernel's. 17 pages each: slots whose beginnings lie 64 KiB
 * apart would meet in the same sets of the cache.
 */
const FRAME_SIZE = 17 * 4096;
const RX_RING: PacketRing = { frameSize: FRAME_SIZE, blockFrames: 15, nBlocks: 16 };
/** Segments of such a frame leave as one again. */
const TX_RING: PacketRing = { frameSize: FRAME_SIZE, blockFrames: 15, nBlocks: 8 };

/** An interface of the host (veth, NIC, …) by a packet socket whose rings the PMDs poll. The interface itself stays the host's. */
export class PacketNetdev extends HostNetdev {
  readonly io: NetdevIo = { kind: 'rings', attach: (consumer) => this.#attach(consumer) };
  #fd = -1;
  /** Of the rings in the socket memory. */
  #place = -1;
  #consumer: SocketConsumer | undefined;
  #drops = 0n;

  /** Throws NetdevError when it is not there, a system error (EPERM) when it can't be opened. */
  constructor(name: string, type = 'system', device = name) {
    super(name, type, device);
    if (!this.follow()) throw new NetdevError(`could not open network device ${device} (No such device)`);
    try {
      this.#open();
    } catch (e) {
      this.#release();
      void super.close();
      throw e;
    }
  }

  #open(): void {
    this.#fd = packetOpen(RX_RING, TX_RING);
    const memory = socketMemory();
    const size = ringSize(RX_RING) + ringSize(TX_RING);
    this.#place = memory.take(size);
    packetMap(this.#fd, memory.address(this.#place), size);
  }

  /** The socket hears the interface from here on. */
  async #attach(consumer: SocketConsumer): Promise<void> {
    this.#consumer = consumer;
    packetBind(this.#fd, this.ifindex());
    await consumer.ringsStart({ memory: socketMemory().memory, rings: this.#rings() });
  }

  #rings(): SocketRing[] {
    const ring = (direction: 'rx' | 'tx', offset: number, layout: PacketRing): SocketRing => {
      return {
        kind: 'packet',
        direction,
        offset,
        frameSize: layout.frameSize,
        nFrames: ringFrames(layout),
        fd: this.#fd,
      };
    };
    return [ring('rx', this.#place, RX_RING), ring('tx', this.#place + ringSize(RX_RING), TX_RING)];
  }

  /** What found no room in the ring. */
  override stats(): Partial<NetdevStats> {
    if (this.#fd >= 0) this.#drops += BigInt(packetDrops(this.#fd));
    return { rxDropped: this.#drops };
  }

  #release(): void {
    if (this.#place >= 0) socketMemory().release(this.#place);
    if (this.#fd >= 0) close(this.#fd);
    this.#place = -1;
    this.#fd = -1;
  }

  override async close(): Promise<void> {
    await this.#consumer?.ringsStop();
    this.#consumer = undefined;
    this.#release();
    await super.close();
  }
}
