import assert from 'node:assert/strict';
import fc from 'fast-check';
import { odpPort } from '../../../base/types.ts';
import { Flow, FlowWildcards } from '../../../flow/flow.ts';
import { ARENA_THREADS, THREAD_UNRELEASED } from '../../../gen/arena.ts';
import type { DpAction } from '../../dpif.ts';
import { F_INDIRECT, F_MRG_RXBUF, type FakeRing } from './fake-guest.ts';
import { completed, GSO, type Spec, segments, unfinished, type Vnet, vnetBytes } from './segments.ts';
import { cleanUp, hex, RX, rig, type Setup, setup } from './vring-bench.ts';

/** Guests that leave checksums and segmentation to the switch, and those that take them, on one datapath. */

const bits = (...numbers: number[]) => numbers.reduce((mask, n) => mask | (1n << BigInt(n)), 0n);
export const MERGEABLE = F_MRG_RXBUF | F_INDIRECT;
export const ALL = MERGEABLE | bits(0, 1, 7, 8, 9, 11, 12, 13, 54, 55, 56);
export const CSUM = MERGEABLE | bits(0, 1);
const REGION = [{ gpa: 0x4000_0000n, size: 48 << 20, offset: 0x10000 }];
const SOFT = 20;
rig.softPort(SOFT);
rig.setVlanLimit(2);

export const sender = (features = ALL) => setup({ features, size: 256 }, REGION);

/** A guest that receives, with room for a frame of 64 KiB and its segments. */
export async function receiver(features: bigint): Promise<Setup> {
  const s = await setup({ index: RX, features, size: 1024 }, REGION);
  post(s.ring);
  return s;
}

function post(ring: FakeRing): void {
  for (let i = 0; i < 600; i++) ring.post([2048]);
}

const flows: number[] = [];

/** Lets every packet of that port, recirculated with `recircId`, take `actions`. */
export function install({ port }: { port: { port: number } }, actions: readonly DpAction[], recircId = 0): void {
  const key = new Flow();
  Object.assign(key, { inPort: port.port, recircId });
  const mask = new FlowWildcards();
  Object.assign(mask, { inPort: 0xffffffff, recircId: 0xffffffff });
  const flow = rig.table.insert(key, mask, rig.flowActions(actions));
  assert.notEqual(flow, 0);
  flows.push(flow);
}

export async function end(): Promise<void> {
  for (const flow of flows.splice(0)) rig.table.remove(flow, 1, () => {});
  rig.rcu.reap();
  rig.records();
  await cleanUp();
}

/** Polls the sender until it has nothing more, as a PMD does. */
export function forward(from: Setup): void {
  for (;;) {
    const n = from.exports.rx(0, from.at);
    if (n === 0) return;
    rig.exports.process(n, from.port.port);
    if (rig.arena.get(ARENA_THREADS + THREAD_UNRELEASED) !== 0) {
      rig.arena.set(ARENA_THREADS + THREAD_UNRELEASED, 0);
      from.exports.release!(0, from.at);
    }
  }
}

export const out = (s: Setup): DpAction => ({ type: 'output', port: s.port.port });
export const outSoft: DpAction = { type: 'output', port: odpPort(SOFT) };

export const bytes = (size: number, first = 1) => Uint8Array.from({ length: size }, (_, i) => (i * 13 + first) & 0xff);
export const spec = (part: Partial<Spec>): Spec => ({
  version: 4,
  proto: 6,
  tags: [],
  ipOptions: 0,
  tcpOptions: 0,
  tcpFlags: 0x18,
  seq: 0xfffffff0,
  id: 0xfffe,
  payload: bytes(100),
  ...part,
});

const gsoOf = (s: Spec) => (s.proto === 17 ? GSO.udp : s.version === 4 ? GSO.tcp4 : GSO.tcp6);

/** The header that a driver writes, hdr_len being a hint. */
export function vnetOf(s: Spec, gsoSize: number): Vnet {
  const { csumStart, csumOffset, headers } = unfinished(s);
  if (gsoSize === 0) return { flags: 1, gsoType: 0, hdrLen: 0, gsoSize: 0, csumStart, csumOffset };
  return { flags: 1, gsoType: gsoOf(s), hdrLen: headers, gsoSize, csumStart, csumOffset };
}

const split = (size: number) => Array<number>(Math.ceil(size / 4000)).fill(4000);

export function send(from: Setup, s: Spec, gsoSize: number, hdrLen?: number): void {
  const { frame } = unfinished(s);
  const vnet = { ...vnetOf(s, gsoSize), ...(hdrLen !== undefined && { hdrLen }) };
  from.ring.send(frame, { header: vnetBytes(vnet), split: frame.length > 5000 ? split(frame.length) : [] });
}

export const finished = (s: Spec, gsoSize: number) => (gsoSize === 0 ? [completed(s)] : segments(s, gsoSize));

const tag = fc.tuple(fc.constantFrom(0x8100, 0x88a8), fc.nat(0xffff));
export const anySpec: fc.Arbitrary<Spec> = fc
  .record({
    version: fc.constantFrom(4 as const, 6 as const),
    proto: fc.constantFrom(6 as const, 17 as const),
    tags: fc.array(tag, { maxLength: 2 }),
    ipOptions: fc.constantFrom(0, 0, 4, 40),
    tcpOptions: fc.constantFrom(0, 12, 40),
    tcpFlags: fc.nat(0xff),
    seq: fc.nat(0xffffffff),
    id: fc.nat(0xffff),
    size: fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 9000 })),
  })
  .map(({ size, ...rest }) => ({ ...rest, payload: bytes(size, size) }));
export const anyGso = fc.oneof(fc.constant(0), fc.integer({ min: 200, max: 1448 }));

/** Packets with their header, and without num_buffers, as one string each. */
export const whole = (s: Setup) =>
  hex(s.ring.receivedWhole().map((p) => Uint8Array.from([...p.subarray(0, 10), ...p.subarray(12)])));
