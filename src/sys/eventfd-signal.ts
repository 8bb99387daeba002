import { openSync } from 'node:fs';
import { eventfdWrite } from './eventfd.ts';
import { EAGAIN, errno, libc, pinnedBuffer, pointer, sysError } from './libc.ts';

/**
 * Adds to an eventfd that belongs to somebody else. write(2) is not for that: whoever shares the open file can take O_NONBLOCK away and fill the
 * counter, and then holds the writing thread for ever. The kernel's own way to signal an eventfd never blocks, and asynchronous I/O
 * (io_submit(2), IOCB_FLAG_RESFD) lets a program go it: each signal is an empty read of /dev/null that tells the eventfd when it is done.
 *
 * struct iocb (linux/aio_abi.h): 0 u64 data, 8 u32 key, 12 u32 rw_flags, 16 u16 opcode, 20 u32 fd, 24 u64 buf, 32 u64 nbytes, 40 s64 offset,
 * 56 u32 flags, 60 u32 resfd. On little-endian hosts.
 */

const cSyscall = libc<(nr: number, a: number, b: number, c: number, d: number, e: number) => number>(
  'long syscall(long nr, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e)',
);

interface AioCalls {
  setup: number;
  getevents: number;
  submit: number;
}

/** glibc has no functions for them. */
const CALLS: Record<string, AioCalls> = {
  x64: { setup: 206, getevents: 208, submit: 209 },
  arm64: { setup: 0, getevents: 4, submit: 2 },
};

const IOCB_SIZE = 64;
const IOCB_CMD_PREAD = 0;
const IOCB_FLAG_RESFD = 1;
const IO_EVENT_SIZE = 32;
/** Completions are taken out after so many. */
const REAP_EVERY = 32;
/** Requests that the kernel keeps room for. */
const NR_EVENTS = 2 * REAP_EVERY;

class Aio {
  readonly #calls: AioCalls;
  readonly #context: number;
  readonly #iocb = new DataView(pinnedBuffer(IOCB_SIZE));
  readonly #list = pinnedBuffer(8);
  readonly #listAddress = pointer(this.#list);
  readonly #events = pointer(pinnedBuffer(IO_EVENT_SIZE * NR_EVENTS));
  #unreaped = 0;

  private constructor(calls: AioCalls, context: number) {
    this.#calls = calls;
    this.#context = context;
    const iocb = pointer(this.#iocb.buffer);
    this.#iocb.setUint16(16, IOCB_CMD_PREAD, true);
    this.#iocb.setUint32(20, openSync('/dev/null', 'r'), true);
    this.#iocb.setBigUint64(24, BigInt(iocb), true);
    this.#iocb.setUint32(56, IOCB_FLAG_RESFD, true);
    new BigUint64Array(this.#list)[0] = BigInt(iocb);
  }

  /** Undefined where the kernel, or what confines this process, does not let us. The context lives as long as the process. */
  static make(): Aio | undefined {
    const calls = CALLS[process.arch];
    const context = pinnedBuffer(8);
    if (!calls || cSyscall(calls.setup, NR_EVENTS, pointer(context), 0, 0, 0) < 0) return undefined;
    return new Aio(calls, Number(new BigUint64Array(context)[0]));
  }

  signal(fd: number): void {
    this.#iocb.setUint32(60, fd, true);
    if (++this.#unreaped > REAP_EVERY) this.#reap();
    if (cSyscall(this.#calls.submit, this.#context, 1, this.#listAddress, 0, 0) === 1) return;
    if (errno() !== EAGAIN) throw sysError('io_submit');
    this.#reap();
    cSyscall(this.#calls.submit, this.#context, 1, this.#listAddress, 0, 0);
  }

  #reap(): void {
    cSyscall(this.#calls.getevents, this.#context, 0, NR_EVENTS, this.#events, 0);
    this.#unreaped = 0;
  }
}

/** One a thread, made before the first signal, so that signalling opens nothing. */
const aio = Aio.make();

/**
 * Adds 1 to the eventfd `fd` and does not block, whatever other holders of it do. Where asynchronous I/O is not to be had, `fd` must be
 * non-blocking for that. Allocates nothing.
 */
export function eventfdSignal(fd: number): void {
  if (aio) aio.signal(fd);
  else eventfdWrite(fd);
}
