import { VHOST_USER_MAX_REGIONS } from '../../../protocols/vhost-user.ts';
import { err, ok, type Result } from '../../base/result.ts';
import * as mem from '../../sys/memory.ts';
import { SysError } from '../../sys/sys-error.ts';
import type { VhostUserRegion } from '../../wire/vhost-user.ts';
import type { GuestMemory, GuestRegion } from '../netdev.ts';

/**
 * A guest's memory in a WebAssembly memory of its own: 4 GiB of PROT_NONE, onto which the regions' files are mapped.
 *
 * ```
 * 0        64 KiB          …                                              4 GiB
 * | PROT_NONE | region 0 | PROT_NONE ≥ 64 KiB | region 1 | PROT_NONE …     |
 * ```
 * A mapping's address must be a multiple of its file's page size; V8's base need not be one, so the offset is chosen to suit.
 */

const MEMORY_SIZE = 2 ** 32;
const WASM_PAGE = 65536;
const GAP = WASM_PAGE;
const ADDRESS_END = 2n ** 64n;

/** What decides whether a file can be mapped. */
export interface RegionFile {
  size: bigint;
  pageSize: number;
}

/** Where one region goes: file bytes [fileOffset, +mapSize) at `mapAt` of the memory; the region itself starts at `offset`. */
export interface RegionPlacement {
  fileOffset: bigint;
  mapSize: number;
  mapAt: number;
  offset: number;
}

const label = (r: VhostUserRegion) => `region at guest address 0x${r.gpa.toString(16)}`;

function regionError(r: VhostUserRegion, file: RegionFile): string | undefined {
  if (r.size === 0n) return `${label(r)} is empty`;
  if (r.gpa + r.size > ADDRESS_END) return `${label(r)}: guest address and size overflow`;
  if (r.userAddr + r.size > ADDRESS_END) return `${label(r)}: user address and size overflow`;
  if (r.mmapOffset + r.size > ADDRESS_END) return `${label(r)}: mmap offset and size overflow`;
  if (file.pageSize < 4096 || (file.pageSize & (file.pageSize - 1)) !== 0) return `${label(r)}: bad page size`;
  if (r.mmapOffset + r.size > file.size) return `${label(r)} ends after its file of ${file.size} bytes`;
  return undefined;
}

const overlap = (a: bigint, aSize: bigint, b: bigint, bSize: bigint) => a < b + bSize && b < a + aSize;

function overlapError(regions: readonly VhostUserRegion[]): string | undefined {
  for (const [i, a] of regions.entries()) {
    for (const b of regions.slice(i + 1)) {
      if (overlap(a.gpa, a.size, b.gpa, b.size)) return `${label(a)} overlaps ${label(b)}`;
      if (overlap(a.userAddr, a.size, b.userAddr, b.size)) return `${label(a)} overlaps ${label(b)} in user addresses`;
    }
  }
  return undefined;
}

/** Checks the regions and finds each a place in a memory that starts at address `base`. Pure. The error is for the log. */
export function placeRegions(
  base: bigint,
  regions: readonly VhostUserRegion[],
  files: readonly RegionFile[],
): Result<RegionPlacement[], string> {
  if (regions.length > VHOST_USER_MAX_REGIONS)
    return err(`${regions.length} regions, at most ${VHOST_USER_MAX_REGIONS}`);
  for (const [i, r] of regions.entries()) {
    const error = regionError(r, files[i]!);
    if (error !== undefined) return err(error);
  }
  const error = overlapError(regions);
  if (error !== undefined) return err(error);
  let cursor = GAP;
  const placements: RegionPlacement[] = [];
  for (const [i, r] of regions.entries()) {
    const page = BigInt(files[i]!.pageSize);
    const fileOffset = r.mmapOffset - (r.mmapOffset % page);
    const inPage = Number(r.mmapOffset - fileOffset);
    const mapSize = ((BigInt(inPage) + r.size + page - 1n) / page) * page;
    const misfit = (base + BigInt(cursor)) % page;
    const mapAt = cursor + Number(misfit === 0n ? 0n : page - misfit);
    if (BigInt(mapAt) + mapSize > BigInt(MEMORY_SIZE)) return err(tooBig(regions));
    placements.push({ fileOffset, mapSize: Number(mapSize), mapAt, offset: mapAt + inPage });
    cursor = mapAt + Number(mapSize) + GAP;
  }
  return ok(placements);
}

function tooBig(regions: readonly VhostUserRegion[]): string {
  const mib = regions.reduce((n, r) => n + r.size, 0n) >> 20n;
  return `guest memory of ${mib} MiB in ${regions.length} regions does not fit into 4 GiB`;
}

/** Memories to map guests into. V8 reserves some 10 GiB of addresses for each, so they are used again. Control thread. */
export class GuestMemoryPool {
  readonly #free: WebAssembly.Memory[] = [];

  /** A memory of which no byte can be touched. */
  acquire(): WebAssembly.Memory {
    const used = this.#free.pop();
    if (used) return used;
    const pages = MEMORY_SIZE / WASM_PAGE;
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    forbid(mem.addressOf(memory.buffer), MEMORY_SIZE);
    return memory;
  }

  /** Takes back a memory with nothing mapped; no thread may use it any more. */
  release(memory: WebAssembly.Memory): void {
    this.#free.push(memory);
  }
}

/** Replaces whatever is mapped there by nothing. */
function forbid(addr: bigint, length: number): void {
  const flags = mem.MAP_PRIVATE | mem.MAP_ANONYMOUS | mem.MAP_NORESERVE | mem.MAP_FIXED;
  mem.mmap({ addr, length, prot: mem.PROT_NONE, flags });
}

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;

function fileOf(fd: number): Result<RegionFile, string> {
  const stat = mem.fstat(fd);
  if ((stat.mode & S_IFMT) !== S_IFREG) return err('a region whose fd is not a memory file');
  return ok({ size: stat.size, pageSize: stat.blksize });
}

/** A guest's mapped regions. Made and unmapped by the control thread. */
export class MappedGuest implements GuestMemory {
  readonly memory: WebAssembly.Memory;
  readonly regions: readonly GuestRegion[];
  readonly #pool: GuestMemoryPool;
  readonly #placements: readonly RegionPlacement[];

  private constructor(
    pool: GuestMemoryPool,
    memory: WebAssembly.Memory,
    regions: GuestRegion[],
    placements: RegionPlacement[],
  ) {
    this.#pool = pool;
    this.memory = memory;
    this.regions = regions;
    this.#placements = placements;
  }

  /**
   * Maps `regions` from `fds`, which stay the caller's. The error says what is wrong with the regions; then nothing is mapped.
   */
  static map(
    pool: GuestMemoryPool,
    regions: readonly VhostUserRegion[],
    fds: readonly number[],
  ): Result<MappedGuest, string> {
    const files: RegionFile[] = [];
    for (const fd of fds) {
      const file = fileOf(fd);
      if (!file.ok) return file;
      files.push(file.value);
    }
    const memory = pool.acquire();
    const placed = placeRegions(mem.addressOf(memory.buffer), regions, files);
    if (!placed.ok) {
      pool.release(memory);
      return placed;
    }
    const guestRegions = regions.map(({ gpa, userAddr, size }, i) => ({
      gpa,
      userAddr,
      size,
      offset: placed.value[i]!.offset,
    }));
    const guest = new MappedGuest(pool, memory, guestRegions, placed.value);
    const error = guest.#mapFiles(fds);
    if (error === undefined) return ok(guest);
    guest.unmap();
    return err(error);
  }

  #mapFiles(fds: readonly number[]): string | undefined {
    const base = mem.addressOf(this.memory.buffer);
    try {
      for (const [i, p] of this.#placements.entries()) {
        const addr = base + BigInt(p.mapAt);
        const prot = mem.PROT_READ | mem.PROT_WRITE;
        const flags = mem.MAP_SHARED | mem.MAP_FIXED;
        mem.mmap({ addr, length: p.mapSize, prot, flags, fd: fds[i]!, offset: Number(p.fileOffset) });
        mem.madvise(addr, p.mapSize, mem.MADV_DONTDUMP);
        sealShrink(fds[i]!);
      }
      return undefined;
    } catch (e) {
      if (e instanceof SysError) return e.message;
      throw e;
    }
  }

  /** Takes the regions away and gives the memory back. The caller has made sure that no thread touches it. */
  unmap(): void {
    const base = mem.addressOf(this.memory.buffer);
    for (const p of this.#placements) forbid(base + BigInt(p.mapAt), p.mapSize);
    this.#pool.release(this.memory);
  }

  /** Offset of `size` bytes at the front end's address `userAddr`, which must lie in one region; -1 otherwise. */
  translateUser(userAddr: bigint, size: number): number {
    for (const r of this.regions) {
      const at = userAddr - r.userAddr;
      if (at >= 0n && at + BigInt(size) <= r.size) return r.offset + Number(at);
    }
    return -1;
  }
}

/** A file that can be sealed cannot be truncated under the switch later. Most of DPDK's cannot. */
function sealShrink(fd: number): void {
  try {
    mem.addSeals(fd, mem.F_SEAL_SHRINK);
  } catch (e) {
    if (!(e instanceof SysError)) throw e;
  }
}
