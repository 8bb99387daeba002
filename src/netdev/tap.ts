import { vlogModule } from '../base/vlog.ts';
import { THREADS_MAX } from '../gen/arena.ts';
import { close } from '../sys/fd.ts';
import { MAP_ANONYMOUS, MAP_FIXED, MAP_NORESERVE, MAP_SHARED, mmap, PROT_READ, PROT_WRITE } from '../sys/memory.ts';
import { setTapOffload, setTapPersist, tapIsThere, tapOpen } from '../sys/tap.ts';
import { HostNetdev } from './host-netdev.ts';
import { NetdevError, type NetdevIo, type NetdevProvider, type SocketConsumer, type SocketRing } from './netdev.ts';
import { socketMemory } from './socket-memory.ts';

/** A tap: a network interface of the host whose other end is the switch. The PMD that polls it reads and writes it, through rings as a packet socket has. */

const log = vlogModule('netdev_linux');

/** What the host need not do for us: checksums, and cutting up TCP (also with ECN) and UDP. */
const TUN_F_CSUM = 1;
const TUN_F_TSO4 = 2;
const TUN_F_TSO6 = 4;
const TUN_F_TSO_ECN = 8;
const TUN_F_USO4 = 0x20;
const TUN_F_USO6 = 0x40;
const TSO = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
const VNET_HDR_SIZE = 10;

/** A frame of 64 KiB fits; what no frame needs takes no memory. */
const RX_FRAME_SIZE = 17 * 4096;
const RX_FRAMES = 64;
/** Some segments of a frame, that leave as one again. */
const TX_FRAME_SIZE = 5 * 4096;
/** A PMD empties the ring after each iteration. */
const TX_FRAMES = 64;
const RX_SIZE = RX_FRAME_SIZE * RX_FRAMES;
const TX_SIZE = TX_FRAME_SIZE * TX_FRAMES;
const SIZE = RX_SIZE + TX_SIZE * THREADS_MAX;

export class TapNetdev extends HostNetdev {
  readonly io: NetdevIo = { kind: 'rings', attach: (consumer) => this.#attach(consumer) };
  readonly #fd: number;
  #consumer: SocketConsumer | undefined;
  /** Of the rings in the socket memory; -1: it was not attached. */
  #place = -1;
  #closed = false;

  /** Makes the host's interface `device`. Throws a system error, EPERM without CAP_NET_ADMIN. */
  constructor(name: string, type = 'tap', device = name) {
    super(name, type, device);
    this.#fd = tapOpen(device, { vnetHdrSize: VNET_HDR_SIZE });
    try {
      setTapPersist(this.#fd, true);
      takeOffloads(this.#fd);
      if (!this.follow()) throw new NetdevError(`could not open network device ${device} (No such device)`);
    } catch (e) {
      this.close().catch(() => {});
      throw e;
    }
  }

  async #attach(consumer: SocketConsumer): Promise<void> {
    this.#consumer = consumer;
    const shared = socketMemory();
    this.#place = shared.take(SIZE);
    const flags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    mmap({ addr: shared.address(this.#place), length: SIZE, prot: PROT_READ | PROT_WRITE, flags });
    await consumer.ringsStart({ memory: shared.memory, rings: this.#rings(this.#place) });
  }

  #rings(at: number): SocketRing[] {
    const common = { kind: 'tap', fd: this.#fd } as const;
    const rx = { direction: 'rx', offset: at, frameSize: RX_FRAME_SIZE, nFrames: RX_FRAMES, ...common } as const;
    const tx = Array.from({ length: THREADS_MAX }, (_, i): SocketRing => {
      const offset = at + RX_SIZE + i * TX_SIZE;
      return { direction: 'tx', offset, frameSize: TX_FRAME_SIZE, nFrames: TX_FRAMES, ...common };
    });
    return [rx, ...tx];
  }

  protected override isHeld(): boolean {
    return !this.#closed && tapIsThere(this.#fd);
  }

  /** The switch is the other end of the wire: it is there. */
  override linkUp(): boolean {
    return this.adminUp();
  }

  override status(): ReadonlyMap<string, string> {
    return new Map([
      ['driver_name', 'tun'],
      ['driver_version', '1.6'],
      ['firmware_version', ''],
    ]);
  }

  /** The interface stays, with its addresses and routes. */
  async detach(): Promise<void> {
    await this.#end(true);
  }

  override async close(): Promise<void> {
    await this.#end(false);
  }

  async #end(keep: boolean): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#consumer?.ringsStop();
    if (this.#place >= 0) socketMemory().release(this.#place);
    // It may have been taken away by the host's administrator.
    if (!keep && !this.isGone()) setTapPersist(this.#fd, false);
    close(this.#fd);
    await super.close();
  }
}

/** As many as this kernel knows: UDP since Linux 6.2. */
function takeOffloads(fd: number): void {
  for (const flags of [TSO | TUN_F_USO4 | TUN_F_USO6, TSO, TUN_F_CSUM]) {
    try {
      setTapOffload(fd, flags);
      return;
    } catch {
      // The next one asks for less.
    }
  }
}

export const tapProvider: NetdevProvider = {
  type: 'tap',
  open: (name) => {
    try {
      return new TapNetdev(name);
    } catch (e) {
      log.warn(`${name}: creating tap device failed: ${(e as Error).message}`);
      throw e instanceof RangeError ? new NetdevError(e.message) : e;
    }
  },
};
