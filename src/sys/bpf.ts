import { close } from './fd.ts';
import { check, libc, pinnedBuffer, pointer } from './libc.ts';

/**
 * bpf(2): the map of sockets and the program that sends an interface's frames to them, written here as instructions of eBPF (Linux'
 * Documentation/bpf/standardization/instruction-set.rst). Needs CAP_BPF and CAP_NET_ADMIN (EPERM). All of it goes when its fds are closed, also by a crash.
 */

const cSyscall = libc<(n: number, cmd: number, attr: number, size: number) => number>(
  'long syscall(long n, int cmd, uintptr_t attr, uint size)',
);

/** __NR_bpf; 280 is that of every architecture younger than x86. */
const NR_BPF = process.arch === 'x64' ? 321 : 280;

const BPF_MAP_CREATE = 0;
const BPF_MAP_UPDATE_ELEM = 2;
const BPF_PROG_LOAD = 5;
const BPF_LINK_CREATE = 28;
const BPF_MAP_TYPE_XSKMAP = 17;
const BPF_PROG_TYPE_XDP = 6;
const BPF_XDP = 37;

const XDP_PASS = 2;
/** bpf_redirect_map(map, key, flags): to the socket, or, without one, the action that the flags say. */
const REDIRECT_MAP = 51;
/** Of rx_queue_index in struct xdp_md. */
const RX_QUEUE_INDEX = 16;
const LOG_SIZE = 4096;

/** union bpf_attr, as far as it is used. */
const attr = pinnedBuffer(128);
const attrBytes = new Uint8Array(attr);
const attrView = new DataView(attr);
const attrAddress = pointer(attr);

function bpf(cmd: number, what: string): number {
  return check(cSyscall(NR_BPF, cmd, attrAddress, attr.byteLength), `bpf(${what})`);
}

function setWords(...words: number[]): void {
  attrBytes.fill(0);
  words.forEach((word, i) => {
    attrView.setUint32(i * 4, word, true);
  });
}

/** A map from queue numbers below `size` to AF_XDP sockets. The caller owns the fd. */
export function xskMapCreate(size: number): number {
  setWords(BPF_MAP_TYPE_XSKMAP, 4, 4, size);
  return bpf(BPF_MAP_CREATE, 'MAP_CREATE');
}

/** Gives the queue's frames to the socket, which has to be bound to the queue. */
export function xskMapSet(map: number, queue: number, socket: number): void {
  const values = Uint32Array.of(queue, socket);
  setWords(map);
  attrView.setBigUint64(8, BigInt(pointer(values)), true);
  attrView.setBigUint64(16, BigInt(pointer(values) + 4), true);
  bpf(BPF_MAP_UPDATE_ELEM, 'MAP_UPDATE_ELEM');
}

/** struct bpf_insn { u8 code; u8 dst:4, src:4; s16 off; s32 imm }. */
function instruction(code: number, { dst = 0, src = 0, off = 0, imm = 0 }): number[] {
  const bytes = Buffer.alloc(8);
  bytes[0] = code;
  bytes[1] = dst | (src << 4);
  bytes.writeInt16LE(off, 2);
  bytes.writeInt32LE(imm, 4);
  return [...bytes];
}

/**
 * `return bpf_redirect_map(map, ctx->rx_queue_index, XDP_PASS)`: a queue without a socket stays the host's. Pure.
 */
export function redirectProgram(map: number): Uint8Array {
  return Uint8Array.from([
    ...instruction(0x61, { dst: 2, src: 1, off: RX_QUEUE_INDEX }), // r2 = *(u32*)(r1 + 16)
    ...instruction(0x18, { dst: 1, src: 1, imm: map }), // r1 = map, of two words: BPF_PSEUDO_MAP_FD
    ...instruction(0, {}),
    ...instruction(0xb7, { dst: 3, imm: XDP_PASS }), // r3 = XDP_PASS
    ...instruction(0x85, { imm: REDIRECT_MAP }), // call
    ...instruction(0x95, {}), // exit
  ]);
}

/** Loads the program; the caller owns the fd. What the verifier says of one that it refuses is in the error. */
export function xdpProgramLoad(program: Uint8Array): number {
  const license = Buffer.from('Apache-2.0\0');
  const log = Buffer.alloc(LOG_SIZE);
  setWords(BPF_PROG_TYPE_XDP, program.length / 8);
  attrView.setBigUint64(8, BigInt(pointer(program)), true);
  attrView.setBigUint64(16, BigInt(pointer(license)), true);
  attrView.setUint32(24, 1, true);
  attrView.setUint32(28, log.length, true);
  attrView.setBigUint64(32, BigInt(pointer(log)), true);
  try {
    return bpf(BPF_PROG_LOAD, 'PROG_LOAD');
  } catch (e) {
    const said = log.toString('latin1').replace(/\0.*$/s, '').trim();
    if (said) (e as Error).message += `: ${said}`;
    throw e;
  }
}

/** How a program sees the frames of an interface: XDP_FLAGS_*. */
export const XDP_FLAGS_SKB_MODE = 2;
export const XDP_FLAGS_DRV_MODE = 4;

/**
 * Has the program see the frames of the interface for as long as the returned fd, which the caller owns, is open. EBUSY: another one does; EOPNOTSUPP: its driver
 * can't; ERANGE: its MTU is too large.
 */
export function xdpAttach(program: number, ifindex: number, flags: number): number {
  setWords(program, ifindex, BPF_XDP, flags);
  return bpf(BPF_LINK_CREATE, 'LINK_CREATE');
}

/** What an interface's frames go to its sockets by. */
export class XskRedirect {
  readonly #map: number;
  readonly #program: number;
  #link = -1;

  /** `nQueues`: highest queue number, plus one. */
  constructor(nQueues: number) {
    this.#map = xskMapCreate(nQueues);
    try {
      this.#program = xdpProgramLoad(redirectProgram(this.#map));
    } catch (e) {
      close(this.#map);
      throw e;
    }
  }

  attach(ifindex: number, flags: number): void {
    this.#link = xdpAttach(this.#program, ifindex, flags);
  }

  detach(): void {
    if (this.#link >= 0) close(this.#link);
    this.#link = -1;
  }

  give(queue: number, socket: number): void {
    xskMapSet(this.#map, queue, socket);
  }

  close(): void {
    this.detach();
    close(this.#program);
    close(this.#map);
  }
}
