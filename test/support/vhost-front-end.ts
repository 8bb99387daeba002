import assert from 'node:assert/strict';
import {
  VHOST_USER_HDR_SIZE,
  type VHOST_USER_REQUESTS,
  type VhostUserRequestName,
  VIRTIO_F,
} from '../../protocols/vhost-user.ts';
import type { GuestMemory, VringConfig, VringConsumer } from '../../src/netdev/netdev.ts';
import type { Timers } from '../../src/netdev/vhost-user/connection.ts';
import { eventfd } from '../../src/sys/eventfd.ts';
import { close } from '../../src/sys/fd.ts';
import * as mem from '../../src/sys/memory.ts';
import { recvmsg, sendmsg, unixConnect } from '../../src/sys/socket.ts';
import { isSysError } from '../../src/sys/sys-error.ts';
import * as wire from '../../src/wire/vhost-user.ts';

/** A vhost-user front end that does what a test says, however wrong, and the counterparts of a device in its tests. */

/** A liveness deadline: generous, no measure of speed. */
const DEADLINE_MS = 20_000;

/** Waits until `condition` holds; fails with `what` when it never does. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = Date.now() + DEADLINE_MS;
  while (!condition()) {
    assert.ok(Date.now() < end, `waited in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Where a front end's address space begins; its guest-physical addresses begin at 0x10000. */
const USER_BASE = 0x7000_0000_0000n;
export const GPA_BASE = 0x10000n;

/** Offsets of the three parts of ring `i` in the memory file, for up to 256 entries. */
export function ringOffsets(i: number): { desc: number; avail: number; used: number } {
  const at = i * 0x4000;
  return { desc: at, avail: at + 0x1000, used: at + 0x2000 };
}

export class FrontEnd {
  readonly fd: number;
  readonly memFd: number;
  /** The memory file as the front end sees it. */
  readonly memory: WebAssembly.Memory;
  readonly memSize: number;
  readonly fds: number[] = [];
  /** The eventfd that a ring was given last, by `<request>/<ring>`. */
  readonly eventFds = new Map<string, number>();

  constructor(fd: number, memSize = 1 << 20) {
    this.fd = fd;
    this.memSize = memSize;
    this.memFd = mem.memfdCreate('guest', mem.MFD_CLOEXEC | mem.MFD_ALLOW_SEALING);
    mem.ftruncate(this.memFd, memSize);
    this.memory = new WebAssembly.Memory({ initial: memSize / 65536, maximum: memSize / 65536, shared: true });
    const flags = mem.MAP_SHARED | mem.MAP_FIXED;
    const addr = mem.addressOf(this.memory.buffer);
    mem.mmap({ addr, length: memSize, prot: mem.PROT_READ | mem.PROT_WRITE, flags, fd: this.memFd });
    this.fds.push(fd, this.memFd);
  }

  static connect(path: string, memSize?: number): FrontEnd {
    return new FrontEnd(unixConnect(path), memSize);
  }

  get view(): DataView {
    return new DataView(this.memory.buffer);
  }

  get region(): wire.VhostUserRegion {
    return { gpa: GPA_BASE, size: BigInt(this.memSize), userAddr: USER_BASE, mmapOffset: 0n };
  }

  send(bytes: Uint8Array, fds: number[] = []): void {
    assert.equal(sendmsg(this.fd, [bytes], fds), bytes.length);
  }

  tell<N extends VhostUserRequestName>(
    name: N,
    value: wire.VhostUserPayload<(typeof VHOST_USER_REQUESTS)[N]['payload']>,
    fds: number[] = [],
  ): void {
    this.send(wire.encodeRequest(name, value), fds);
  }

  /** Sends with NEED_REPLY and returns the answer's u64: 0 done, 1 refused. Wants REPLY_ACK. */
  async acked<N extends VhostUserRequestName>(
    name: N,
    value: wire.VhostUserPayload<(typeof VHOST_USER_REQUESTS)[N]['payload']>,
    fds: number[] = [],
  ): Promise<number> {
    this.send(wire.encodeRequest(name, value, true), fds);
    return Number((await this.reply()).getBigUint64(0, true));
  }

  async askU64(name: 'GET_FEATURES' | 'GET_PROTOCOL_FEATURES' | 'GET_QUEUE_NUM' | 'GET_STATUS'): Promise<bigint> {
    this.tell(name, {});
    return (await this.reply()).getBigUint64(0, true);
  }

  /** The payload of the next message from the back end. */
  async reply(): Promise<DataView> {
    const header = await this.#receive(VHOST_USER_HDR_SIZE);
    const { flags, size } = wire.readHeader(header);
    assert.equal(flags, 5, 'version 1, reply');
    return this.#receive(size);
  }

  async #receive(size: number): Promise<DataView> {
    const bytes = new Uint8Array(size);
    let have = 0;
    await until(() => {
      const got = recvmsg(this.fd, bytes.subarray(have));
      assert.notEqual(got.size, 0, 'the back end closed');
      if (got.size > 0) have += got.size;
      return have === size;
    }, 'an answer');
    return new DataView(bytes.buffer);
  }

  /** Resolves when the back end has cut us off. */
  async cutOff(): Promise<void> {
    await until(() => {
      try {
        return recvmsg(this.fd, new Uint8Array(4096)).size === 0;
      } catch (e) {
        return isSysError(e, 'ECONNRESET');
      }
    }, 'the end of the connection');
  }

  /** The whole way to two running rings, as virtio-user does it. */
  async start(opts: { nRings?: number; features?: bigint; size?: number } = {}): Promise<void> {
    const { nRings = 2, size = 256 } = opts;
    this.tell('SET_OWNER', {});
    const features = opts.features ?? (await this.askU64('GET_FEATURES')) & FEATURES;
    const protocol = await this.askU64('GET_PROTOCOL_FEATURES');
    this.tell('SET_PROTOCOL_FEATURES', { value: protocol });
    this.tell('SET_FEATURES', { value: features });
    this.setMemTable();
    for (let i = 0; i < nRings; i++) this.startRing(i, size);
    for (let i = 0; i < nRings; i++) assert.equal(await this.acked('SET_VRING_ENABLE', { index: i, num: 1 }), 0);
  }

  setMemTable(regions = [this.region], fds = regions.map(() => this.memFd)): void {
    this.send(wire.encodeMemTable(regions), fds);
  }

  startRing(index: number, size = 256, base = 0): void {
    this.tell('SET_VRING_NUM', { index, num: size });
    this.tell('SET_VRING_BASE', { index, num: base });
    this.tell('SET_VRING_ADDR', this.ringAddr(index));
    this.giveFd('SET_VRING_CALL', index);
    this.giveFd('SET_VRING_KICK', index);
  }

  ringAddr(index: number): wire.VhostUserPayload<'vringAddr'> {
    const { desc, avail, used } = ringOffsets(index);
    const user = (at: number) => USER_BASE + BigInt(at);
    const addr = { descUserAddr: user(desc), availUserAddr: user(avail), usedUserAddr: user(used) };
    return { index, flags: 0, ...addr, logGuestAddr: 0n };
  }

  /** Sends an eventfd, a new one unless given, and keeps it. */
  giveFd(name: 'SET_VRING_KICK' | 'SET_VRING_CALL' | 'SET_VRING_ERR', index: number, fd = eventfd()): number {
    this.fds.push(fd);
    this.eventFds.set(`${name}/${index}`, fd);
    this.tell(name, { value: BigInt(index) }, [fd]);
    return fd;
  }

  close(): void {
    for (const fd of this.fds.splice(0)) close(fd);
  }
}

const FEATURES =
  (1n << BigInt(VIRTIO_F.VERSION_1)) |
  (1n << BigInt(VIRTIO_F.NET_MRG_RXBUF)) |
  (1n << BigInt(VIRTIO_F.VHOST_USER_PROTOCOL_FEATURES));

/** A datapath that notes what it is told, and that a test can hold in ringStop. */
export class FakeConsumer implements VringConsumer {
  readonly rings = new Map<number, VringConfig>();
  readonly log: string[] = [];
  readonly announced: string[] = [];
  guest: GuestMemory | undefined;
  /** Added to a ring's position while it runs. */
  progress = 0;
  /** ringStop waits for this. */
  hold: Promise<void> = Promise.resolve();

  async ringStart(ring: VringConfig, guest: GuestMemory): Promise<void> {
    this.log.push(`start ${ring.index}`);
    this.rings.set(ring.index, ring);
    this.guest = guest;
  }

  async ringStop(index: number): Promise<{ lastAvail: number; lastUsed: number }> {
    this.log.push(`stop ${index}`);
    await this.hold;
    const ring = this.rings.get(index)!;
    this.rings.delete(index);
    const position = (ring.lastAvail + this.progress) & 0xffff;
    return { lastAvail: position, lastUsed: position };
  }

  announce(mac: Uint8Array): void {
    this.announced.push(Buffer.from(mac).toString('hex'));
  }
}

/** Timers that fire when the test says so. */
export class FakeTimers implements Timers {
  #nowMs = 0;
  readonly #pending: { dueMs: number; cb: () => void }[] = [];

  after(ms: number, cb: () => void): { cancel(): void } {
    const timer = { dueMs: this.#nowMs + ms, cb };
    this.#pending.push(timer);
    return { cancel: () => this.#remove(timer) };
  }

  get nPending(): number {
    return this.#pending.length;
  }

  warp(ms: number): void {
    this.#nowMs += ms;
    for (const timer of this.#pending.filter((t) => t.dueMs <= this.#nowMs)) {
      this.#remove(timer);
      timer.cb();
    }
  }

  #remove(timer: { dueMs: number; cb: () => void }): void {
    const at = this.#pending.indexOf(timer);
    if (at >= 0) this.#pending.splice(at, 1);
  }
}
