import assert from 'node:assert/strict';
import { ARENA_PORT_STATS, ARENA_THREADS, PORT_STATS__SIZE, THREAD__SIZE, VRING__SIZE } from '../../../gen/arena.ts';
import { F_INDIRECT, F_MRG_RXBUF, FakeGuest, FakeRing, type RegionSpec, type RingOptions } from './fake-guest.ts';
import { Rig, type RunningRing } from './rig.ts';

/** What tests of the ring module share: guests with one ring each, polled under the eyes of all that must not change. */

export const rig = new Rig();
export const TX = 1; // the ring that a guest transmits on
export const RX = 0;

/** A frame of `size` bytes, each telling its place and `seed`. */
export function frame(size: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => (i * 7 + seed * 31) & 0xff);
}

export const hex = (frames: readonly Uint8Array[]) => frames.map((f) => Buffer.from(f).toString('hex'));

export interface Setup extends RunningRing {
  guest: FakeGuest;
}

const guests: { guest: FakeGuest; running: RunningRing }[] = [];

export async function setup(options: Partial<RingOptions> = {}, regions?: readonly RegionSpec[]): Promise<Setup> {
  const guest = new FakeGuest(regions);
  const ring = new FakeRing(guest, {
    index: TX,
    size: 64,
    hdrSize: 12,
    features: F_MRG_RXBUF | F_INDIRECT,
    ...options,
  });
  const running = await rig.start(ring);
  guests.push({ guest, running });
  return { ...running, guest };
}

export async function cleanUp(): Promise<void> {
  for (const { guest, running } of guests.splice(0)) {
    await rig.removePort(running.port);
    guest.release();
  }
}

/** The arena up to the packets' records, the ring's own record and this thread's blanked. */
export function arenaRecords(s: RunningRing): Buffer {
  const copy = Buffer.from(rig.arena.u8.slice(0, ARENA_THREADS + 2 * THREAD__SIZE));
  copy.fill(0, s.at, s.at + VRING__SIZE);
  copy.fill(0, ARENA_THREADS, ARENA_THREADS + THREAD__SIZE);
  const stats = Buffer.from(rig.arena.u8.slice(ARENA_PORT_STATS, ARENA_PORT_STATS + 512 * PORT_STATS__SIZE));
  stats.fill(0, s.port.port * PORT_STATS__SIZE, (s.port.port + 1) * PORT_STATS__SIZE);
  return Buffer.concat([copy, stats]);
}

/** A snapshot of the guest without the used ring. */
function guestBut(s: Setup, ...ranges: { at: number; size: number }[]): Buffer {
  const copy = Buffer.from(s.guest.snapshot());
  const { used } = s.ring.config;
  for (const { at, size } of [{ at: used, size: 6 + s.ring.size * 8 }, ...ranges]) {
    let base = 0;
    for (const region of s.guest.regions) {
      if (at >= region.offset && at < region.offset + Number(region.size)) {
        const from = base + at - region.offset;
        copy.fill(0, from, from + size);
      }
      base += Number(region.size);
    }
  }
  return copy;
}

/** Polls once under the eyes of all that must not change. */
export function pollHostile(s: Setup): { frames: Uint8Array[]; drops: Record<string, number> } {
  const memory = guestBut(s);
  const arena = arenaRecords(s);
  let frames: Uint8Array[] = [];
  const drops = rig.dropsDuring(() => {
    frames = rig.rx(s);
  });
  assert.ok(memory.equals(guestBut(s)), 'the guest memory outside the used ring changed');
  assert.ok(arena.equals(arenaRecords(s)), 'other records of the arena changed');
  return { frames, drops };
}

export const buffer = (s: Setup, size: number): bigint => s.guest.gpa(s.guest.alloc(size));
