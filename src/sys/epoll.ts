import { close } from './fd.ts';
import { check, checkAgain, libc, pointer } from './libc.ts';

/** epoll(7) for a thread that blocks on many fds. */

const cCreate = libc<(flags: number) => number>('int epoll_create1(int flags)');
const cCtl = libc<(ep: number, op: number, fd: number, ev: number) => number>(
  'int epoll_ctl(int ep, int op, int fd, uintptr_t ev)',
);
const cWait = libc<(ep: number, evs: number, max: number, timeout: number) => number>(
  'int epoll_wait(int ep, uintptr_t evs, int max, int timeout)',
);

export const EPOLLIN = 1;
export const EPOLLOUT = 4;
export const EPOLLERR = 8;
export const EPOLLHUP = 0x10;
export const EPOLLRDHUP = 0x2000;

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;

/** struct epoll_event is packed on x86-64 only: { u32 events; u64 data }. */
const PACKED = process.arch === 'x64';
const EVENT_SIZE = PACKED ? 12 : 16;
const DATA_OFFSET = PACKED ? 4 : 8;

export class Epoll {
  readonly fd: number;
  readonly #one = new DataView(new ArrayBuffer(16));
  readonly #oneAddress = pointer(this.#one.buffer);
  readonly #events: DataView;
  readonly #address: number;
  readonly #max: number;

  /** `max` is how many events one wait can return. */
  constructor(max = 64) {
    this.fd = check(cCreate(EPOLL_CLOEXEC), 'epoll_create1');
    this.#max = max;
    this.#events = new DataView(new ArrayBuffer(EVENT_SIZE * max));
    this.#address = pointer(this.#events.buffer);
  }

  /** Watches `fd`; `data` (an unsigned 32-bit number) comes back with each event. */
  add(fd: number, events: number, data = fd): void {
    this.#ctl(EPOLL_CTL_ADD, fd, events, data);
  }

  modify(fd: number, events: number, data = fd): void {
    this.#ctl(EPOLL_CTL_MOD, fd, events, data);
  }

  remove(fd: number): void {
    this.#ctl(EPOLL_CTL_DEL, fd, 0, 0);
  }

  /** Blocks for up to `timeoutMs` (-1: for ever). Returns the number of events; 0 after the time or a signal. */
  wait(timeoutMs: number): number {
    const n = checkAgain(cWait(this.fd, this.#address, this.#max, timeoutMs), 'epoll_wait');
    return Math.max(n, 0);
  }

  events(i: number): number {
    return this.#events.getUint32(i * EVENT_SIZE, true);
  }

  data(i: number): number {
    return this.#events.getUint32(i * EVENT_SIZE + DATA_OFFSET, true);
  }

  close(): void {
    close(this.fd);
  }

  #ctl(op: number, fd: number, events: number, data: number): void {
    this.#one.setUint32(0, events, true);
    this.#one.setUint32(DATA_OFFSET, data, true);
    this.#one.setUint32(DATA_OFFSET + 4, 0, true);
    check(cCtl(this.fd, op, fd, this.#oneAddress), 'epoll_ctl');
  }
}
