import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { eventfd } from '../../sys/eventfd.ts';
import { close } from '../../sys/fd.ts';
import * as mem from '../../sys/memory.ts';
import type { VhostUserRegion } from '../../wire/vhost-user.ts';
import { GuestMemoryPool, MappedGuest, placeRegions, type RegionFile } from './guest-memory.ts';

const MIB = 1n << 20n;
const small: RegionFile = { size: 1n << 40n, pageSize: 4096 };
const huge: RegionFile = { size: 1n << 40n, pageSize: 2 << 20 };

const region = (gpa: bigint, size: bigint, mmapOffset = 0n, userAddr = gpa + 0x7f00_0000_0000n): VhostUserRegion => ({
  gpa,
  size,
  userAddr,
  mmapOffset,
});

function errorOf(regions: VhostUserRegion[], file = small): string {
  const placed = placeRegions(
    0n,
    regions,
    regions.map(() => file),
  );
  return placed.ok ? 'placed' : placed.error;
}

test('regions are placed at addresses that suit their pages, with gaps', () => {
  const base = 0x7f12_3451_0000n;
  const regions = [region(0n, MIB), region(MIB, 4n * MIB, 0x201000n), region(8n * MIB, MIB, 0x3000n)];
  const placed = placeRegions(base, regions, [small, huge, small]);
  assert.ok(placed.ok);
  const [a, b, c] = placed.value;
  assert.deepEqual(a, { fileOffset: 0n, mapSize: 1 << 20, mapAt: 65536, offset: 65536 });
  assert.equal((base + BigInt(b!.mapAt)) % (2n * MIB), 0n);
  assert.equal(b!.fileOffset, 2n * MIB);
  assert.equal(b!.offset, b!.mapAt + 0x1000);
  assert.equal(b!.mapSize, 6 << 20);
  assert.ok(b!.mapAt >= a!.mapAt + a!.mapSize + 65536);
  assert.ok(c!.mapAt >= b!.mapAt + b!.mapSize + 65536);
});

test('row 10: overflow, more than 8 regions and overlap are refused', () => {
  const top = (1n << 64n) - 0x1000n;
  assert.match(errorOf([region(top, 0x2000n, 0n, 0n)]), /guest address and size overflow/);
  assert.match(errorOf([region(0n, 0x2000n, 0n, top)]), /user address and size overflow/);
  assert.match(errorOf([region(0n, 0x2000n, top)]), /mmap offset and size overflow/);
  assert.match(errorOf([region(0n, 0n)]), /is empty/);
  assert.match(errorOf([region(0n, 2n << 40n)]), /ends after its file/);
  assert.match(errorOf(Array.from({ length: 9 }, (_, i) => region(BigInt(i) * MIB, MIB))), /9 regions, at most 8/);
  assert.match(errorOf([region(0n, 2n * MIB), region(MIB, MIB)]), /overlaps/);
  assert.match(errorOf([region(0n, MIB, 0n, MIB), region(MIB, MIB, 0n, MIB)]), /overlaps .* in user addresses/);
  assert.equal(errorOf([region(0n, MIB), region(MIB, MIB)]), 'placed');
});

test('more than 4 GiB is refused by name', () => {
  assert.equal(errorOf([region(0n, 3072n * MIB)]), 'placed');
  assert.match(errorOf([region(0n, 4096n * MIB)]), /guest memory of 4096 MiB in 1 regions does not fit into 4 GiB/);
  assert.match(errorOf([region(0n, 3072n * MIB), region(4096n * MIB, 1024n * MIB)]), /does not fit/);
});

/** (module (import "g" "m" (memory 65536 65536 shared)) (func (export "load") (param i32) (result i32) local.get 0 i32.load)) */
const LOADER = new WebAssembly.Module(
  Uint8Array.from([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 2, 13, 1, 1, 0x67, 1, 0x6d, 2, 3, 0x80, 0x80, 4,
    0x80, 0x80, 4, 3, 2, 1, 0, 7, 8, 1, 4, 0x6c, 0x6f, 0x61, 0x64, 0, 0, 10, 9, 1, 7, 0, 0x20, 0, 0x28, 2, 0, 0x0b,
  ]),
);

function loader(memory: WebAssembly.Memory): (at: number) => number {
  return new WebAssembly.Instance(LOADER, { g: { m: memory } }).exports.load;
}

const fileOf = (size: number): number => {
  const fd = mem.memfdCreate('guest', mem.MFD_CLOEXEC | mem.MFD_ALLOW_SEALING);
  mem.ftruncate(fd, size);
  return fd;
};

test('a mapped guest is readable in its regions and traps outside; unmapped, it traps everywhere', () => {
  const pool = new GuestMemoryPool();
  const fd = fileOf(1 << 20);
  const mapped = MappedGuest.map(pool, [region(0n, MIB / 2n, MIB / 2n)], [fd]);
  assert.ok(mapped.ok);
  const guest = mapped.value;
  const { offset } = guest.regions[0]!;
  new DataView(guest.memory.buffer).setUint32(offset + 8, 0xbeef, true);
  const load = loader(guest.memory);
  assert.equal(load(offset + 8), 0xbeef);
  assert.equal(load(offset + (1 << 19) - 4), 0);
  assert.throws(() => load(offset + (1 << 19)), WebAssembly.RuntimeError);
  assert.throws(() => load(offset - 4), WebAssembly.RuntimeError);
  assert.throws(() => load(0), WebAssembly.RuntimeError);
  assert.equal(mem.getSeals(fd) & mem.F_SEAL_SHRINK, mem.F_SEAL_SHRINK);
  guest.unmap();
  assert.throws(() => load(offset + 8), WebAssembly.RuntimeError);
  assert.equal(pool.acquire(), guest.memory, 'the memory is used again');
  close(fd);
});

test('user addresses are translated within one region only', () => {
  const fd = fileOf(2 << 20);
  const regions = [region(0n, MIB), region(MIB, MIB, MIB)];
  const mapped = MappedGuest.map(new GuestMemoryPool(), regions, [fd, fd]);
  assert.ok(mapped.ok);
  const user = regions[0]!.userAddr;
  assert.equal(mapped.value.translateUser(user + 16n, 16), mapped.value.regions[0]!.offset + 16);
  assert.equal(mapped.value.translateUser(user + MIB, 16), mapped.value.regions[1]!.offset);
  assert.equal(mapped.value.translateUser(user + MIB - 8n, 16), -1, 'across the border');
  assert.equal(mapped.value.translateUser(user - 1n, 16), -1);
  assert.equal(mapped.value.translateUser(user + 2n * MIB - 15n, 16), -1);
  mapped.value.unmap();
  close(fd);
});

test('a file that is too short, and what is no file, are refused and nothing stays mapped', () => {
  const pool = new GuestMemoryPool();
  const fd = fileOf(4096);
  const event = eventfd();
  const refused = (r: VhostUserRegion[], fds: number[]) => {
    const mapped = MappedGuest.map(pool, r, fds);
    return mapped.ok ? 'mapped' : mapped.error;
  };
  assert.match(refused([region(0n, 8192n)], [fd]), /ends after its file of 4096 bytes/);
  assert.match(refused([region(0n, 4096n), region(MIB, 4096n)], [fd, event]), /not a memory file/);
  assert.equal(readFileSync('/proc/self/maps', 'utf8').includes('memfd:guest'), false);
  close(fd);
  close(event);
});
