import assert from 'node:assert/strict';
import { test } from 'node:test';
import { close, isOpen } from './fd.ts';
import * as mem from './memory.ts';
import { SysError } from './sys-error.ts';

const RW = mem.PROT_READ | mem.PROT_WRITE;

test('a memfd mapped onto a WebAssembly memory is seen by both', () => {
  const fd = mem.memfdCreate('test', mem.MFD_CLOEXEC | mem.MFD_ALLOW_SEALING);
  mem.ftruncate(fd, 65536);
  const wasm = new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });
  const base = mem.addressOf(wasm.buffer);
  const args = { addr: base + 65536n, length: 65536, prot: RW, fd };
  assert.equal(mem.mmap({ ...args, flags: mem.MAP_SHARED | mem.MAP_FIXED }), base + 65536n);
  const other = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  mem.mmap({ ...args, addr: mem.addressOf(other.buffer), flags: mem.MAP_SHARED | mem.MAP_FIXED });
  new Uint32Array(wasm.buffer, 65536)[7] = 0xfeed;
  assert.equal(new Uint32Array(other.buffer)[7], 0xfeed);
  close(fd);
  assert.equal(isOpen(fd), false);
});

test('fstat tells size and page size; seals hold', () => {
  const fd = mem.memfdCreate('test', mem.MFD_CLOEXEC | mem.MFD_ALLOW_SEALING);
  mem.ftruncate(fd, 12345);
  assert.equal(mem.fstat(fd).size, 12345n);
  assert.equal(mem.fstat(fd).blksize, 4096);
  mem.addSeals(fd, mem.F_SEAL_SHRINK);
  assert.equal(mem.getSeals(fd), mem.F_SEAL_SHRINK);
  assert.throws(() => mem.ftruncate(fd, 1), { code: 'EPERM', syscall: 'ftruncate' });
  close(fd);
});

test('map, protect, lock and unmap anonymous memory', () => {
  const addr = mem.mmap({ length: 8192, prot: mem.PROT_NONE, flags: mem.MAP_PRIVATE | mem.MAP_ANONYMOUS });
  mem.mprotect(addr, 4096, RW);
  mem.mlock(addr, 4096);
  mem.madvise(addr, 4096, mem.MADV_DONTDUMP);
  mem.munmap(addr, 8192);
});

test('a failed call throws a SysError that says what', () => {
  assert.throws(
    () => mem.mmap({ length: 0, prot: 0, flags: mem.MAP_PRIVATE | mem.MAP_ANONYMOUS }),
    (e: unknown) => e instanceof SysError && e.code === 'EINVAL' && e.message === 'mmap: Invalid argument (EINVAL)',
  );
  assert.throws(() => mem.fstat(-1), { code: 'EBADF', syscall: 'statx', errno: 9 });
});
