import { Buffer } from 'node:buffer';
import { close } from './fd.ts';
import { check, checkAgain, libc, pinnedBuffer, pointer } from './libc.ts';
import { SysError } from './sys-error.ts';

/**
 * Unix stream sockets that carry file descriptors (SCM_RIGHTS), which Node's own sockets cannot. Every fd is made close-on-exec
 * and belongs to the caller.
 */

const cSocket = libc<(domain: number, type: number, proto: number) => number>('int socket(int d, int type, int proto)');
const cSocketpair = libc<(d: number, type: number, proto: number, sv: number) => number>(
  'int socketpair(int d, int type, int proto, uintptr_t sv)',
);
const cBind = libc<(fd: number, addr: Uint8Array, size: number) => number>('int bind(int fd, void* addr, uint size)');
const cConnect = libc<(fd: number, a: Uint8Array, size: number) => number>(
  'int connect(int fd, void* addr, uint size)',
);
const cListen = libc<(fd: number, backlog: number) => number>('int listen(int fd, int backlog)');
const cAccept4 = libc<(fd: number, addr: number, size: number, flags: number) => number>(
  'int accept4(int fd, uintptr_t addr, uintptr_t size, int flags)',
);
const cRecvmsg = libc<(fd: number, msg: number, flags: number) => number>('long recvmsg(int fd, uintptr_t m, int fl)');
const cSendmsg = libc<(fd: number, msg: number, flags: number) => number>('long sendmsg(int fd, uintptr_t m, int fl)');
const cGetsockopt = libc<(fd: number, level: number, name: number, value: number, size: number) => number>(
  'int getsockopt(int fd, int level, int name, uintptr_t value, uintptr_t size)',
);

const AF_UNIX = 1;
const SOCK_STREAM = 1;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const SO_ERROR = 4;
const SO_PEERCRED = 17;
const MSG_PEEK = 2;
const MSG_CTRUNC = 8;
const MSG_TRUNC = 0x20;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;

/** Bytes of a path that sockaddr_un takes, apart from the closing NUL. */
export const UNIX_PATH_MAX = 107;

/** sockaddr_un: { u16 family; char path[108] }. A leading NUL names an abstract socket. Throws ENAMETOOLONG. */
function sockaddrUn(path: string): Uint8Array {
  const bytes = Buffer.from(path);
  if (bytes.length > UNIX_PATH_MAX) {
    const text = `socket path of ${bytes.length} bytes is longer than ${UNIX_PATH_MAX}`;
    throw new SysError('ENAMETOOLONG', 36, 'bind', text, path);
  }
  const abstract = bytes[0] === 0;
  const addr = new Uint8Array(2 + bytes.length + (abstract ? 0 : 1));
  new DataView(addr.buffer).setUint16(0, AF_UNIX, true);
  addr.set(bytes, 2);
  return addr;
}

function unixSocket(flags: number): number {
  return check(cSocket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), 'socket');
}

/** Runs `use` on a new socket and closes it when that throws. */
function withSocket(flags: number, use: (fd: number) => void): number {
  const fd = unixSocket(flags);
  try {
    use(fd);
    return fd;
  } catch (e) {
    close(fd);
    throw e;
  }
}

/** A listening socket, non-blocking. EADDRINUSE when the path exists, whether or not somebody listens. */
export function unixListen(path: string, backlog = 16): number {
  const addr = sockaddrUn(path);
  return withSocket(SOCK_NONBLOCK, (fd) => {
    check(cBind(fd, addr, addr.length), 'bind', path);
    check(cListen(fd, backlog), 'listen', path);
  });
}

/**
 * A connected socket, non-blocking unless `blocking`. On unix sockets connecting never lasts: ECONNREFUSED, ENOENT, or EAGAIN
 * when the listener's backlog is full.
 */
export function unixConnect(path: string, opts: { blocking?: boolean } = {}): number {
  const addr = sockaddrUn(path);
  return withSocket(opts.blocking ? 0 : SOCK_NONBLOCK, (fd) => {
    check(cConnect(fd, addr, addr.length), 'connect', path);
  });
}

const scratch = pinnedBuffer(16);
const scratchInts = new Int32Array(scratch);
const scratchAddress = pointer(scratch);

/** Two connected sockets. */
export function socketpair(opts: { blocking?: boolean } = {}): [number, number] {
  const type = SOCK_STREAM | SOCK_CLOEXEC | (opts.blocking ? 0 : SOCK_NONBLOCK);
  check(cSocketpair(AF_UNIX, type, 0, scratchAddress), 'socketpair');
  return [scratchInts[0]!, scratchInts[1]!];
}

/** Takes a waiting connection; -1 when there is none. */
export function accept4(fd: number, flags = SOCK_CLOEXEC | SOCK_NONBLOCK): number {
  return checkAgain(cAccept4(fd, 0, 0, flags), 'accept4');
}

/** Most fds that one recvmsg can return; SCM_MAX_FD of the kernel is 253. */
export const MAX_FDS = 253;

const CMSG_HDR_SIZE = 16;
const MSGHDR_SIZE = 56;
const MAX_IOV = 16;
/** One block: struct msghdr | struct iovec[MAX_IOV] | control. */
const IOV_OFFSET = 64;
const CONTROL_OFFSET = IOV_OFFSET + MAX_IOV * 16;
const block = pinnedBuffer(CONTROL_OFFSET + CMSG_HDR_SIZE + MAX_FDS * 4 + 8);
const blockView = new DataView(block);
const blockAddress = pointer(block);

const align8 = (n: number) => (n + 7) & ~7;

function putNumber(offset: number, value: number): void {
  blockView.setUint32(offset, value >>> 0, true);
  blockView.setUint32(offset + 4, Math.floor(value / 2 ** 32), true);
}

/** Fills in struct msghdr { name, namelen, iov, iovlen, control, controllen, flags }. */
function putMsghdr(nIov: number, controlSize: number): void {
  new Uint8Array(block, 0, MSGHDR_SIZE).fill(0);
  putNumber(16, blockAddress + IOV_OFFSET);
  putNumber(24, nIov);
  putNumber(32, controlSize === 0 ? 0 : blockAddress + CONTROL_OFFSET);
  putNumber(40, controlSize);
}

function putIovec(i: number, part: Uint8Array): void {
  putNumber(IOV_OFFSET + i * 16, part.length === 0 ? 0 : pointer(part));
  putNumber(IOV_OFFSET + i * 16 + 8, part.length);
}

export interface Received {
  /** Bytes in the buffer; 0: the peer closed; -1: nothing there now. */
  size: number;
  /** Now the caller's, close-on-exec. */
  fds: number[];
  /** More fds were sent than `maxFds` allows: some were received (they are in `fds`), the rest the kernel closed. */
  truncated: boolean;
}

/**
 * Receives bytes and fds; never blocks on a non-blocking socket. `peek` leaves both in the socket (each peek makes new fds).
 * The kernel never joins the bytes of two sendmsg calls that both carried fds into one receive.
 */
export function recvmsg(fd: number, buf: Uint8Array, opts: { peek?: boolean; maxFds?: number } = {}): Received {
  const maxFds = Math.min(opts.maxFds ?? MAX_FDS, MAX_FDS);
  putIovec(0, buf);
  putMsghdr(1, align8(CMSG_HDR_SIZE + maxFds * 4));
  const size = cRecvmsg(fd, blockAddress, MSG_CMSG_CLOEXEC | (opts.peek ? MSG_PEEK : 0));
  if (size < 0) return { size: checkAgain(size, 'recvmsg'), fds: [], truncated: false };
  const flags = blockView.getInt32(48, true);
  const fds = receivedFds();
  // The control buffer is a multiple of 8 bytes: an odd maxFds leaves room for one more.
  return { size, fds, truncated: (flags & (MSG_CTRUNC | MSG_TRUNC)) !== 0 || fds.length > maxFds };
}

/** Walks the control messages that the kernel left in the block. */
function receivedFds(): number[] {
  const fds: number[] = [];
  const end = CONTROL_OFFSET + blockView.getUint32(40, true);
  for (let at = CONTROL_OFFSET; at + CMSG_HDR_SIZE <= end; ) {
    const size = blockView.getUint32(at, true);
    if (size < CMSG_HDR_SIZE) break;
    if (blockView.getInt32(at + 8, true) === SOL_SOCKET && blockView.getInt32(at + 12, true) === SCM_RIGHTS) {
      for (let p = at + CMSG_HDR_SIZE; p + 4 <= at + size; p += 4) fds.push(blockView.getInt32(p, true));
    }
    at += align8(size);
  }
  return fds;
}

function putRights(fds: readonly number[]): number {
  if (fds.length === 0) return 0;
  const size = CMSG_HDR_SIZE + fds.length * 4;
  putNumber(CONTROL_OFFSET, size);
  blockView.setInt32(CONTROL_OFFSET + 8, SOL_SOCKET, true);
  blockView.setInt32(CONTROL_OFFSET + 12, SCM_RIGHTS, true);
  fds.forEach((fd, i) => {
    blockView.setInt32(CONTROL_OFFSET + CMSG_HDR_SIZE + i * 4, fd, true);
  });
  return align8(size);
}

/**
 * Sends the parts (up to 16) as one message, with up to 253 fds, which stay the caller's. Returns the bytes taken; -1 when it
 * would block. No SIGPIPE: EPIPE or ECONNRESET when the peer has gone.
 */
export function sendmsg(fd: number, parts: readonly Uint8Array[], fds: readonly number[] = []): number {
  if (parts.length > MAX_IOV || fds.length > MAX_FDS) throw new RangeError('sendmsg: too many parts or fds');
  parts.forEach((part, i) => {
    putIovec(i, part);
  });
  putMsghdr(parts.length, putRights(fds));
  return checkAgain(cSendmsg(fd, blockAddress, MSG_NOSIGNAL), 'sendmsg');
}

/** Who is at the other end, as of its connect or listen. */
export function peerCredentials(fd: number): { pid: number; uid: number; gid: number } {
  scratchInts[3] = 12;
  const r = cGetsockopt(fd, SOL_SOCKET, SO_PEERCRED, scratchAddress, scratchAddress + 12);
  check(r, 'getsockopt(SO_PEERCRED)');
  return { pid: scratchInts[0]!, uid: scratchInts[1]!, gid: scratchInts[2]! };
}

/** The pending error of the socket as an errno, 0 for none. */
export function socketError(fd: number): number {
  scratchInts[3] = 4;
  check(cGetsockopt(fd, SOL_SOCKET, SO_ERROR, scratchAddress, scratchAddress + 12), 'getsockopt(SO_ERROR)');
  return scratchInts[0]!;
}
