import { VIRTIO_F } from '../../../protocols/vhost-user.ts';
import { err, ok, type Result } from '../../base/result.ts';
import type { VringConfig, VringConsumer } from '../netdev.ts';
import type { VhostDeviceState, VringState } from './device-state.ts';
import { bit, netHdrSize } from './features.ts';
import type { MappedGuest } from './guest-memory.ts';

/** The rings of one device, kept in step with what the front end has said. */

/** Byte offsets of a ring's three parts in the guest's memory. */
export interface RingPlace {
  desc: number;
  avail: number;
  used: number;
}

/** A split ring's parts in bytes and their alignment: virtio 1.2, section 2.7. */
const PARTS = [
  { part: 'desc', align: 16, size: (n: number) => 16 * n },
  { part: 'avail', align: 2, size: (n: number) => 6 + 2 * n },
  { part: 'used', align: 4, size: (n: number) => 6 + 8 * n },
] as const;

/** Finds the ring in the guest's memory; each part must lie in one region. */
export function locateRing(ring: VringState, guest: MappedGuest): Result<RingPlace, string> {
  if (ring.size === 0 || !ring.addr) return err('size or addresses were not set');
  const place: RingPlace = { desc: 0, avail: 0, used: 0 };
  for (const { part, align, size } of PARTS) {
    const at = guest.translateUser(ring.addr[part], size(ring.size));
    if (at < 0) return err(`${part} ring at 0x${ring.addr[part].toString(16)} is outside the guest's memory`);
    if (at % align !== 0) return err(`${part} ring at 0x${ring.addr[part].toString(16)} is not aligned to ${align}`);
    place[part] = at;
  }
  return ok(place);
}

/** Without VHOST_USER_F_PROTOCOL_FEATURES there is no SET_VRING_ENABLE, and a ring is enabled from its start. */
export function isEnabled(state: VhostDeviceState, index: number): boolean {
  if ((state.features & bit(VIRTIO_F.VHOST_USER_PROTOCOL_FEATURES)) === 0n) return true;
  return state.rings[index]!.enabled;
}

/** What the two rings of a device look at while they run; a difference means stop and start. */
function sameRing(a: VringConfig, b: VringConfig): boolean {
  const keys = ['size', 'desc', 'avail', 'used', 'kickFd', 'callFd', 'features', 'hdrSize'] as const;
  return keys.every((key) => a[key] === b[key]);
}

export interface RingFds {
  kick(index: number): number;
  call(index: number): number;
}

export class RingSet {
  readonly #fds: RingFds;
  readonly #warn: (text: string) => void;
  readonly #running = new Map<number, VringConfig>();
  #consumer: VringConsumer | undefined;

  constructor(fds: RingFds, warn: (text: string) => void) {
    this.#fds = fds;
    this.#warn = warn;
  }

  get consumer(): VringConsumer | undefined {
    return this.#consumer;
  }

  /** Call `stopAll` before, `sync` after. */
  setConsumer(consumer: VringConsumer): void {
    this.#consumer = consumer;
  }

  isRunning(index: number): boolean {
    return this.#running.has(index);
  }

  /** Resolves when no PMD uses the ring; its position is in `state` then. */
  async stop(state: VhostDeviceState, index: number): Promise<void> {
    if (!this.#running.has(index)) return;
    const { lastAvail, lastUsed } = await this.#consumer!.ringStop(index);
    this.#running.delete(index);
    Object.assign(state.rings[index]!, { lastAvail, lastUsed });
  }

  async stopAll(state: VhostDeviceState): Promise<void> {
    await Promise.all([...this.#running.keys()].map((index) => this.stop(state, index)));
  }

  /**
   * Stops what must not run, starts what can, and restarts what has changed. Returns why a ring that should run does not.
   */
  async sync(state: VhostDeviceState, guest: MappedGuest | undefined): Promise<string | undefined> {
    let trouble: string | undefined;
    for (const index of state.rings.keys()) {
      const wanted = this.#wanted(state, index, guest);
      const error = wanted.ok ? await this.#bring(state, index, wanted.value, guest) : wanted.error;
      if (!wanted.ok) await this.stop(state, index);
      if (error !== undefined) trouble ??= `vring ${index}: ${error}`;
    }
    return trouble;
  }

  /** The ring as it should run, undefined when it should not. */
  #wanted(state: VhostDeviceState, index: number, guest?: MappedGuest): Result<VringConfig | undefined, string> {
    const ring = state.rings[index]!;
    if (!this.#consumer || !guest || !ring.kicked || !isEnabled(state, index)) return ok(undefined);
    const place = locateRing(ring, guest);
    if (!place.ok) return place;
    return ok({
      index,
      size: ring.size,
      ...place.value,
      lastAvail: ring.lastAvail,
      lastUsed: ring.lastUsed,
      kickFd: this.#fds.kick(index),
      callFd: this.#fds.call(index),
      features: state.features,
      hdrSize: netHdrSize(state.features),
    });
  }

  async #bring(
    state: VhostDeviceState,
    index: number,
    wanted: VringConfig | undefined,
    guest: MappedGuest | undefined,
  ): Promise<string | undefined> {
    const running = this.#running.get(index);
    if (running && wanted && sameRing(running, wanted)) return undefined;
    await this.stop(state, index);
    if (!wanted || !guest) return undefined;
    const ring = state.rings[index]!;
    if (ring.fresh) this.#resume(ring, index, wanted.used, guest);
    const config = { ...wanted, lastAvail: ring.lastAvail, lastUsed: ring.lastUsed };
    try {
      await this.#consumer!.ringStart(config, guest);
    } catch (e) {
      return `cannot be started: ${(e as Error).message}`;
    }
    this.#running.set(index, config);
    return undefined;
  }

  /**
   * A ring that was set up anew goes on at its used->idx, whatever SET_VRING_BASE said: virtio-user always says 0, also when it comes back
   * to a ring in use. As DPDK's vhost library does.
   */
  #resume(ring: VringState, index: number, used: number, guest: MappedGuest): void {
    ring.fresh = false;
    const usedIdx = Atomics.load(new Uint16Array(guest.memory.buffer, used + 2, 1), 0);
    if (usedIdx === ring.lastUsed) return;
    this.#warn(`vring ${index}: position ${ring.lastUsed} and used index ${usedIdx} differ, going on at the latter`);
    ring.lastUsed = usedIdx;
    ring.lastAvail = usedIdx;
  }
}
