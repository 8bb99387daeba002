import { BasicNetdev } from '../../../netdev/basic.ts';
import type { NetdevIo, VringConsumer } from '../../../netdev/netdev.ts';
import { eventfd, eventfdDrain, eventfdWrite } from '../../../sys/eventfd.ts';
import { close } from '../../../sys/fd.ts';
import { F_MRG_RXBUF, FakeGuest, FakeRing } from './fake-guest.ts';

/** A vhost-user port without a socket: a fake guest with one pair of rings, handed to the datapath as a device would. */
export class FakeVhost extends BasicNetdev {
  readonly io: NetdevIo;
  readonly guest = new FakeGuest();
  /** What the guest receives, and what it transmits. */
  readonly rx: FakeRing;
  readonly tx: FakeRing;
  #consumer: VringConsumer | undefined;
  readonly #fds = [eventfd(), eventfd(), eventfd(), eventfd()];

  constructor(name: string, ringSize = 256) {
    super(name, 'dpdkvhostuser', { adminUp: true });
    this.io = {
      kind: 'vhost',
      attach: (consumer) => {
        this.#consumer = consumer;
      },
    };
    const common = { size: ringSize, hdrSize: 12, features: F_MRG_RXBUF } as const;
    this.rx = new FakeRing(this.guest, { ...common, index: 0, kickFd: this.#fds[0]!, callFd: this.#fds[1]! });
    this.tx = new FakeRing(this.guest, { ...common, index: 1, kickFd: this.#fds[2]!, callFd: this.#fds[3]! });
  }

  async start(): Promise<void> {
    for (const ring of [this.rx, this.tx]) await this.#consumer!.ringStart(ring.config, this.guest);
  }

  async stop(): Promise<void> {
    for (const ring of [this.rx, this.tx]) await this.#consumer!.ringStop(ring.config.index);
  }

  /** Tells the switch that there is something in the ring, as a driver does. */
  kick(): void {
    eventfdWrite(this.#fds[2]!);
  }

  /** How often the switch interrupted the guest for what it received. */
  interrupts(): number {
    return eventfdDrain(this.#fds[1]!);
  }

  override async close(): Promise<void> {
    for (const fd of this.#fds.splice(0)) close(fd);
    await super.close();
  }
}
