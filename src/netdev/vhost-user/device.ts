import {
  VHOST_USER_NEED_REPLY,
  VHOST_USER_PROTOCOL_F,
  VHOST_USER_VRING_INDEX_MASK,
  VHOST_USER_VRING_NOFD,
  type VhostUserRequestName,
  VIRTQUEUE_MAX_SIZE,
} from '../../../protocols/vhost-user.ts';
import type { FdStore } from '../../keeper/fd-store.ts';
import { isEventfd } from '../../sys/eventfd.ts';
import { eventfdSignal } from '../../sys/eventfd-signal.ts';
import { close, setNonblocking } from '../../sys/fd.ts';
import { fstat } from '../../sys/memory.ts';
import {
  encodeReply,
  fdsError,
  memTableRegions,
  readPayload,
  requestLabel,
  requestName,
  requestRow,
  type VhostUserPayload,
  type VhostUserRegion,
} from '../../wire/vhost-user.ts';
import type { VringConsumer } from '../netdev.ts';
import { Disconnect } from './connection.ts';
import { newDeviceState, newVring, type VhostDeviceState, type VringState } from './device-state.ts';
import { bit, SUPPORTED_PROTOCOL_FEATURES } from './features.ts';
import { type GuestMemoryPool, MappedGuest } from './guest-memory.ts';
import type { VhostUserMessage } from './message-reader.ts';
import { locateRing, RingSet } from './rings.ts';

/** A request that cannot be done. The front end is told when it wants to know, and is cut off otherwise. */
class Refused extends Error {
  override name = 'Refused';
}

export interface VhostDeviceDeps {
  /** Prefix of the device's keys in `fds`: `vhost/<port>`. */
  key: string;
  fds: FdStore;
  pool: GuestMemoryPool;
  maxQueuePairs: number;
  /** Virtio features that are offered; the same as long as the process runs. */
  features: bigint;
  log: { info(text: string): void; warn(text: string): void };
  /** A ring was enabled or disabled. */
  ringEnabled(index: number, enabled: boolean): void;
  /** Something that Netdev shows has changed. */
  changed(): void;
  /** Keeps the state for a successor; called after every change, before the front end gets its answer. */
  save(state: VhostDeviceState): void;
}

interface Request {
  payload: DataView;
  /** What the handler does not take out is closed. */
  fds: number[];
}

/** The answer's value where the request has one. */
type Answer = VhostUserPayload<'u64'> | VhostUserPayload<'vringState'> | undefined;
type Handler = (request: Request) => Answer | Promise<Answer>;

const MIN_MTU = 68;
const MAX_MTU = 65535;
const VRING_FDS = ['kick', 'call', 'err'] as const;
type VringFd = (typeof VRING_FDS)[number];

/**
 * The vhost-user back end of one port, without its socket. Its owner calls one method at a time and awaits it. Control thread.
 */
export class VhostUserDevice {
  readonly #deps: VhostDeviceDeps;
  readonly #rings: RingSet;
  #state = newDeviceState();
  #guest: MappedGuest | undefined;

  constructor(deps: VhostDeviceDeps) {
    this.#deps = deps;
    const fdOf = (what: VringFd) => (index: number) => deps.fds.get(this.#fdKey(what, index));
    this.#rings = new RingSet({ kick: fdOf('kick'), call: fdOf('call') }, (text) => deps.log.warn(text));
  }

  get state(): Readonly<VhostDeviceState> {
    return this.#state;
  }

  get guest(): MappedGuest | undefined {
    return this.#guest;
  }

  /** The first queue pair is set up, so that packets can flow once it is enabled. */
  get ready(): boolean {
    return this.#state.rings.length >= 2 && [0, 1].every((index) => this.#isSetUp(index));
  }

  /** Whose PMDs process the rings from now on. */
  async attach(consumer: VringConsumer): Promise<void> {
    await this.#rings.stopAll(this.#state);
    this.#rings.setConsumer(consumer);
    await this.#startRings();
    this.#changed();
  }

  connected(): void {
    this.#state.connected = true;
    this.#changed();
  }

  /**
   * Goes on where a predecessor of this process was: its fds are in the store, `state` is what it saved last. Every ring starts at its
   * used index, and the guest is interrupted for each. Returns why that cannot be.
   */
  async resume(state: VhostDeviceState): Promise<string | undefined> {
    this.#state = structuredClone(state);
    for (const ring of this.#state.rings) ring.fresh = true;
    if (state.regions.length > 0) {
      const fds = state.regions.map((_, i) => this.#deps.fds.get(`${this.#deps.key}/mem/${i}`));
      if (fds.includes(-1)) return 'the predecessor left no memory';
      const mapped = MappedGuest.map(this.#deps.pool, state.regions, fds);
      if (!mapped.ok) return mapped.error;
      this.#guest = mapped.value;
    }
    await this.#startRings();
    this.#interruptAll();
    this.#changed();
    return undefined;
  }

  /** The predecessor may have given the guest something and not come to telling it. An interrupt for nothing does no harm. */
  #interruptAll(): void {
    for (const index of this.#state.rings.keys()) {
      const fd = this.#deps.fds.get(this.#fdKey('call', index));
      if (fd >= 0) eventfdSignal(fd);
    }
  }

  /** Forgets the front end: the PMDs leave its memory, then everything of it is unmapped and closed. */
  async disconnected(): Promise<void> {
    await this.#reset();
    this.#state.connected = false;
    this.#changed();
  }

  /** Handles a message and owns its fds. Gives the whole answer. Throws `Disconnect` when the front end must go. */
  async handle(message: VhostUserMessage): Promise<Uint8Array | undefined> {
    try {
      return await this.#dispatch(message);
    } finally {
      for (const fd of message.fds.splice(0)) close(fd);
    }
  }

  async #dispatch(message: VhostUserMessage): Promise<Uint8Array | undefined> {
    const name = requestName(message.request);
    const wantsAck = (message.flags & VHOST_USER_NEED_REPLY) !== 0 && this.#hasProtocolFeature('REPLY_ACK');
    const reply = name && requestRow(name).reply;
    try {
      if (name === undefined) throw new Refused('not supported');
      const answer = await this.#perform(name, message);
      this.#changed();
      if (reply) return encodeReply(message.request, reply, answer as never);
      return wantsAck ? encodeReply(message.request, 'u64', { value: 0n }) : undefined;
    } catch (e) {
      if (!(e instanceof Refused)) throw e;
      this.#changed();
      const text = `${requestLabel(message.request)} refused: ${e.message}`;
      if (!wantsAck || reply) throw new Disconnect(text);
      this.#deps.log.warn(text);
      return encodeReply(message.request, 'u64', { value: 1n });
    }
  }

  #perform(name: VhostUserRequestName, message: VhostUserMessage): Answer | Promise<Answer> {
    if (name === 'SET_MEM_TABLE') {
      const regions = memTableRegions(message.payload);
      if (!regions.ok) throw new Disconnect(regions.error);
    }
    const error = fdsError(name, message.payload, message.fds.length);
    if (error !== undefined) throw new Disconnect(error);
    return this.#handlers[name](message);
  }

  readonly #handlers: Record<VhostUserRequestName, Handler> = {
    GET_FEATURES: () => ({ value: this.#deps.features }),
    SET_FEATURES: (r) => this.#setFeatures(u64(r)),
    SET_OWNER: () => {
      this.#state.owned = true;
      return undefined;
    },
    RESET_OWNER: () => this.#reset(),
    RESET_DEVICE: () => this.#reset(),
    SET_MEM_TABLE: (r) => this.#setMemTable(r),
    SET_LOG_BASE: () => refuse('no dirty page logging'),
    SET_LOG_FD: () => refuse('no dirty page logging'),
    SET_VRING_NUM: (r) => this.#setVringNum(r),
    SET_VRING_ADDR: (r) => this.#setVringAddr(r),
    SET_VRING_BASE: (r) => this.#setVringBase(r),
    GET_VRING_BASE: (r) => this.#getVringBase(r),
    SET_VRING_KICK: (r) => this.#setVringFd('kick', r),
    SET_VRING_CALL: (r) => this.#setVringFd('call', r),
    SET_VRING_ERR: (r) => this.#setVringFd('err', r),
    GET_PROTOCOL_FEATURES: () => ({ value: SUPPORTED_PROTOCOL_FEATURES }),
    SET_PROTOCOL_FEATURES: (r) => this.#setProtocolFeatures(u64(r)),
    GET_QUEUE_NUM: () => ({ value: BigInt(this.#deps.maxQueuePairs) }),
    SET_VRING_ENABLE: (r) => this.#setVringEnable(r),
    SEND_RARP: (r) => this.#sendRarp(r),
    NET_SET_MTU: (r) => this.#setMtu(u64(r)),
    GET_MAX_MEM_SLOTS: () => refuse('not offered'),
    ADD_MEM_REG: () => refuse('not offered'),
    REM_MEM_REG: () => refuse('not offered'),
    SET_STATUS: (r) => {
      this.#state.status = Number(u64(r) & 0xffn);
      return undefined;
    },
    GET_STATUS: () => ({ value: BigInt(this.#state.status) }),
  };

  async #setFeatures(features: bigint): Promise<undefined> {
    const unknown = features & ~this.#deps.features;
    if (unknown !== 0n) throw new Refused(`features 0x${unknown.toString(16)} were not offered`);
    this.#state.features = features;
    await this.#startRingsOrRefuse();
  }

  #setProtocolFeatures(features: bigint): undefined {
    const unknown = features & ~SUPPORTED_PROTOCOL_FEATURES;
    if (unknown !== 0n) throw new Refused(`protocol features 0x${unknown.toString(16)} were not offered`);
    this.#state.protocolFeatures = features;
  }

  /** The PMDs leave the memory before it changes; rings go on where they were. */
  async #setMemTable(request: Request): Promise<undefined> {
    const parsed = memTableRegions(request.payload);
    if (!parsed.ok) throw new Disconnect(parsed.error);
    const regions = parsed.value;
    if (this.#hasMemory(regions, request.fds)) return;
    const mapped = MappedGuest.map(this.#deps.pool, regions, request.fds);
    if (!mapped.ok) throw new Refused(mapped.error);
    await this.#rings.stopAll(this.#state);
    this.#dropMemory();
    this.#guest = mapped.value;
    this.#state.regions = regions;
    request.fds.splice(0).forEach((fd, i) => {
      this.#deps.fds.put(`${this.#deps.key}/mem/${i}`, fd);
    });
    await this.#startRings();
  }

  /** The same table of the same files, as front ends send it again and again. */
  #hasMemory(regions: readonly VhostUserRegion[], fds: readonly number[]): boolean {
    const old = this.#state.regions;
    if (regions.length !== old.length) return false;
    return regions.every((r, i) => {
      const o = old[i]!;
      if (r.gpa !== o.gpa || r.size !== o.size || r.userAddr !== o.userAddr || r.mmapOffset !== o.mmapOffset)
        return false;
      return sameFile(fds[i]!, this.#deps.fds.get(`${this.#deps.key}/mem/${i}`));
    });
  }

  #setVringNum(request: Request): undefined {
    const { index, num } = readPayload(request.payload, 'vringState');
    if (num === 0 || num > VIRTQUEUE_MAX_SIZE || (num & (num - 1)) !== 0) throw new Refused(`ring of ${num} entries`);
    const ring = this.#ring(index);
    if (this.#rings.isRunning(index) && ring.size !== num) throw new Refused(`vring ${index} is running`);
    ring.size = num;
  }

  async #setVringAddr(request: Request): Promise<undefined> {
    const { index, descUserAddr, availUserAddr, usedUserAddr } = readPayload(request.payload, 'vringAddr');
    const ring = this.#ring(index);
    const addr = { desc: descUserAddr, avail: availUserAddr, used: usedUserAddr };
    if (this.#guest && ring.size > 0) {
      const place = locateRing({ ...ring, addr }, this.#guest);
      if (!place.ok) throw new Refused(`vring ${index}: ${place.error}`);
    }
    await this.#rings.stop(this.#state, index);
    ring.addr = addr;
    ring.fresh = true;
    await this.#startRingsOrRefuse();
  }

  async #setVringBase(request: Request): Promise<undefined> {
    const { index, num } = readPayload(request.payload, 'vringState');
    if (num > 0xffff) throw new Refused(`vring ${index}: position ${num}`);
    const ring = this.#ring(index);
    await this.#rings.stop(this.#state, index);
    Object.assign(ring, { lastAvail: num, lastUsed: num, fresh: true });
    await this.#startRingsOrRefuse();
  }

  /** Stops the ring; it starts again with the next SET_VRING_KICK. */
  async #getVringBase(request: Request): Promise<Answer> {
    const { index } = readPayload(request.payload, 'vringState');
    const ring = this.#ring(index);
    await this.#rings.stop(this.#state, index);
    ring.kicked = false;
    this.#deps.fds.drop(this.#fdKey('kick', index));
    this.#deps.fds.drop(this.#fdKey('call', index));
    return { index, num: ring.lastAvail };
  }

  /** The ring is stopped while its fd changes: the PMDs use the number of the old one. */
  async #setVringFd(what: VringFd, request: Request): Promise<undefined> {
    const value = u64(request);
    const index = Number(value & BigInt(VHOST_USER_VRING_INDEX_MASK));
    const ring = this.#ring(index);
    const hasFd = (value & BigInt(VHOST_USER_VRING_NOFD)) === 0n;
    if (hasFd && !isEventfd(request.fds[0]!)) throw new Refused(`vring ${index}: ${what} fd is not an eventfd`);
    if (what !== 'err') await this.#rings.stop(this.#state, index);
    const key = this.#fdKey(what, index);
    if (hasFd) {
      const fd = request.fds.pop()!;
      setNonblocking(fd);
      this.#deps.fds.put(key, fd);
    } else this.#deps.fds.drop(key);
    if (what === 'err') return;
    if (what === 'kick') ring.kicked = true;
    await this.#startRingsOrRefuse();
  }

  async #setVringEnable(request: Request): Promise<undefined> {
    const { index, num } = readPayload(request.payload, 'vringState');
    const ring = this.#ring(index);
    const before = ring.enabled;
    ring.enabled = num !== 0;
    if (before !== ring.enabled) this.#deps.ringEnabled(index, ring.enabled);
    await this.#startRingsOrRefuse();
  }

  /** The guest moved here and cannot say so itself: the datapath tells the neighbours. */
  #sendRarp(request: Request): undefined {
    const mac = new Uint8Array(request.payload.buffer.slice(0, 6));
    this.#rings.consumer?.announce?.(mac);
  }

  #setMtu(mtu: bigint): undefined {
    if (mtu < MIN_MTU || mtu > MAX_MTU) throw new Refused(`MTU ${mtu}`);
    this.#state.guestMtu = Number(mtu);
  }

  /** The ring's record, made at its first mention. */
  #ring(index: number): VringState {
    if (index >= this.#deps.maxQueuePairs * 2)
      throw new Refused(`vring ${index}, at most ${this.#deps.maxQueuePairs * 2}`);
    const { rings } = this.#state;
    while (rings.length <= index) rings.push(newVring());
    return rings[index]!;
  }

  #isSetUp(index: number): boolean {
    const ring = this.#state.rings[index]!;
    return ring.kicked && this.#guest !== undefined && locateRing(ring, this.#guest).ok;
  }

  async #startRingsOrRefuse(): Promise<void> {
    const error = await this.#rings.sync(this.#state, this.#guest);
    if (error !== undefined) throw new Refused(error);
  }

  async #startRings(): Promise<void> {
    const error = await this.#rings.sync(this.#state, this.#guest);
    if (error !== undefined) this.#deps.log.warn(error);
  }

  async #reset(): Promise<undefined> {
    await this.#rings.stopAll(this.#state);
    this.#dropMemory();
    for (const what of VRING_FDS) this.#deps.fds.dropAll(`${this.#deps.key}/${what}/`);
    this.#state = { ...newDeviceState(), connected: this.#state.connected };
  }

  #dropMemory(): void {
    this.#guest?.unmap();
    this.#guest = undefined;
    this.#state.regions = [];
    this.#deps.fds.dropAll(`${this.#deps.key}/mem/`);
  }

  #hasProtocolFeature(name: keyof typeof VHOST_USER_PROTOCOL_F): boolean {
    return (this.#state.protocolFeatures & bit(VHOST_USER_PROTOCOL_F[name])) !== 0n;
  }

  #fdKey(what: VringFd, index: number): string {
    return `${this.#deps.key}/${what}/${index}`;
  }

  #changed(): void {
    this.#deps.save(this.#state);
    this.#deps.changed();
  }
}

function refuse(reason: string): never {
  throw new Refused(reason);
}

const u64 = (request: Request): bigint => readPayload(request.payload, 'u64').value;

function sameFile(a: number, b: number): boolean {
  if (a < 0 || b < 0) return false;
  const [s, t] = [fstat(a), fstat(b)];
  return s.ino === t.ino && s.devMajor === t.devMajor && s.devMinor === t.devMinor && s.size === t.size;
}
