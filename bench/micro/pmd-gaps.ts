/**
 * Shows that nothing the main thread's JavaScript engine does stops a PMD: a worker runs the fast path over two rings full of packets, again and again, and keeps
 * the time from the end of one run to the end of the next, while the main thread is quiet; while it makes garbage and collects it; and while
 * it has functions compiled and optimised all the time. What stops the worker in the first phase is the kernel's scheduler; the others must look like it.
 * On a busy machine the gaps say little, but `waits` does: how often the worker went to sleep of its own accord, as a thread does that waits for another at a
 * safepoint.
 *
 *     node --no-wasm-dynamic-tiering --no-wasm-deopt --no-liftoff bench/micro/pmd-gaps.ts [SECONDS A PHASE]
 */
import { readFileSync } from 'node:fs';
import { PerformanceObserver } from 'node:perf_hooks';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { odpPort } from '../../src/base/types.ts';
import { compileActions } from '../../src/dpif/userspace/compile-actions.ts';
import { rxSlot } from '../../src/dpif/userspace/datapath-thread.ts';
import { AVAIL_F_NO_INTERRUPT, F_MRG_RXBUF, FakeGuest, FakeRing } from '../../src/dpif/userspace/testing/fake-guest.ts';
import { Rig } from '../../src/dpif/userspace/testing/rig.ts';
import { composePacket } from '../../src/flow/compose.ts';
import { Flow, FlowWildcards } from '../../src/flow/flow.ts';
import {
  ACTIONS_F_PLAIN,
  ARENA_RXQS,
  ARENA_THREADS,
  RXQ_PORT,
  RXQ_SLOT,
  RXQ_VRING,
  THREAD_NRXQS,
} from '../../src/gen/arena.ts';
import { setAffinity } from '../../src/sys/sched.ts';
import { Histogram } from '../histogram.ts';

const RING_SIZE = 256;
const BUFFER_SIZE = 2176;
const PMD_CORE = 0;
const MAIN_CORE = 1;
/** Values of the word that both threads see; a phase has a number above. */
const BETWEEN = 0;
const OVER = -1;

/** Of one phase, in microseconds. */
interface Gaps {
  runs: number;
  /** Voluntary context switches. */
  waits: number;
  packets: bigint;
  p50: number;
  p99: number;
  p9999: number;
  max: number;
}

function packetFlow(): Flow {
  const flow = new Flow();
  Object.assign(flow, { dlType: 0x0800, nwProto: 17, nwTtl: 64, nwSrc: 0x0a000001, nwDst: 0x0a800001 });
  return flow;
}

function install(rig: Rig, port: number): void {
  const words = compileActions([{ type: 'output', port: odpPort(port) }], () => 0);
  const code = rig.heap.alloc(words.length * 4);
  if (code === undefined) throw new Error('the arena is full');
  rig.arena.u32.set(words, code >> 2);
  const wc = new FlowWildcards();
  Object.assign(wc, { inPort: 0xffffffff, recircId: 0xffffffff, dlType: 0xffff, vlanTci0: 0xffff, nwFrag: 0xff });
  wc.nwDst = 0xffffffff;
  const key = packetFlow();
  key.inPort = port;
  if (rig.table.insert(key, wc, code | ACTIONS_F_PLAIN) === 0) throw new Error('the flow table is full');
}

/** A ring full of packets and one full of empty buffers; returns what hands both over again. */
function makeRings(guest: FakeGuest): { tx: FakeRing; rx: FakeRing; refill: () => void } {
  const options = { size: RING_SIZE, hdrSize: 12, features: F_MRG_RXBUF } as const;
  const [tx, rx] = [new FakeRing(guest, { ...options, index: 1 }), new FakeRing(guest, { ...options, index: 0 })];
  for (const ring of [tx, rx]) ring.setAvailFlags(AVAIL_F_NO_INTERRUPT);
  const frame = composePacket(packetFlow(), new Array<number>(18).fill(0));
  for (let i = 0; i < RING_SIZE; i += 1) {
    const at = guest.alloc(BUFFER_SIZE, 64);
    new Uint8Array(guest.memory.buffer).set(frame, at + 12);
    tx.setDesc(i, { addr: guest.gpa(at), len: 12 + frame.length });
    rx.setDesc(i, { addr: guest.gpa(guest.alloc(BUFFER_SIZE, 64)), len: BUFFER_SIZE, flags: 2 });
    for (const ring of [tx, rx]) ring.publish(i);
  }
  let position = RING_SIZE;
  const refill = () => {
    position = (position + RING_SIZE) & 0xffff;
    for (const ring of [tx, rx]) ring.setAvailIdx(position);
  };
  return { tx, rx, refill };
}

/** Runs the fast path until `phase` becomes another one, and sends the gaps of each phase. */
async function pmd(phase: Int32Array): Promise<void> {
  setAffinity([PMD_CORE]);
  const rig = new Rig();
  const guest = new FakeGuest([{ gpa: 0x4000_0000n, size: 16 << 20, offset: 0x10000 }]);
  const { tx, rx, refill } = makeRings(guest);
  const port = rig.vhostPort();
  const outRing = await rig.start(rx, port);
  const inRing = await rig.start(tx, port);
  install(rig, port.port);
  rig.arena.set(ARENA_RXQS + RXQ_SLOT, rxSlot(outRing.port.guest));
  rig.arena.set(ARENA_RXQS + RXQ_VRING, inRing.at);
  rig.arena.set(ARENA_RXQS + RXQ_PORT, port.port);
  rig.arena.set(ARENA_THREADS + THREAD_NRXQS, 1);
  const gaps = new Histogram();
  parentPort!.postMessage('ready');
  for (;;) {
    Atomics.wait(phase, 0, BETWEEN);
    const now = Atomics.load(phase, 0);
    if (now === OVER) return;
    if (now === BETWEEN) continue;
    gaps.clear();
    const sentBefore = rig.counters.port(port.port).txPackets;
    const waitsBefore = voluntarySwitches();
    let last = performance.now();
    while (Atomics.load(phase, 0) === now) {
      rig.exports.run(RING_SIZE / 32);
      refill();
      const at = performance.now();
      gaps.add((at - last) * 1e6);
      last = at;
    }
    const waits = voluntarySwitches() - waitsBefore;
    const us = (fraction: number) => gaps.quantile(fraction) / 1000;
    const quantiles = { p50: us(0.5), p99: us(0.99), p9999: us(0.9999), max: gaps.max / 1000 };
    const packets = rig.counters.port(port.port).txPackets - sentBefore;
    parentPort!.postMessage({ runs: gaps.total, waits, packets, ...quantiles } satisfies Gaps);
  }
}

/** Of the thread that asks: proc(5)'s status. */
function voluntarySwitches(): number {
  return Number(/^voluntary_ctxt_switches:\s*(\d+)/m.exec(readFileSync('/proc/thread-self/status', 'utf8'))?.[1]);
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Keeps a few hundred MiB of small objects alive and changes them, so that collections are long ones. */
async function makeGarbage(until: number): Promise<void> {
  const kept: object[] = Array.from({ length: 500_000 }, (_, i) => ({ i }));
  for (let n = 0; performance.now() < until; n += 1) {
    for (let i = 0; i < 50_000; i += 1) kept[(n * 50_000 + i) % kept.length] = { i, text: `number ${i}`, list: [i] };
    if (n % 20 === 0) await sleep(0);
  }
}

/** New functions, called until they are optimised. */
async function compileMuch(until: number): Promise<void> {
  for (let n = 0; performance.now() < until; n += 1) {
    const fresh = new Function(
      'x',
      `let s = ${n}; for (let i = 0; i < 2000; i++) s = (s * 31 + x[i & 7]) | 0; return s;`,
    );
    for (let i = 0; i < 50; i += 1) fresh([1, 2, 3, 4, 5, 6, 7, 8]);
    if (n % 20 === 0) await sleep(0);
  }
}

async function main(seconds: number): Promise<void> {
  setAffinity([MAIN_CORE]);
  const phase = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL(import.meta.url), { workerData: phase });
  const exited = new Promise((resolve) => worker.once('exit', resolve));
  const answer = () => new Promise<unknown>((resolve, reject) => worker.once('message', resolve).once('error', reject));
  await answer();
  const collections: number[] = [];
  const observer = new PerformanceObserver((list) => collections.push(...list.getEntries().map((e) => e.duration)));
  observer.observe({ entryTypes: ['gc'] });
  const to = (next: number) => {
    Atomics.store(phase, 0, next);
    Atomics.notify(phase, 0);
  };
  const phases: [string, (until: number) => Promise<unknown>][] = [
    ['warm-up', (until) => sleep(until - performance.now())],
    ['quiet', (until) => sleep(until - performance.now())],
    ['garbage', makeGarbage],
    ['compiling', compileMuch],
  ];
  for (const [i, [name, work]] of phases.entries()) {
    collections.length = 0;
    to(i + 1);
    await work(performance.now() + seconds * 1000);
    const reply = answer();
    to(BETWEEN);
    const { runs, waits, packets, p50, p99, p9999, max } = (await reply) as Gaps;
    await sleep(10);
    const us = (n: number) => n.toFixed(1);
    const longest = Math.max(0, ...collections).toFixed(1);
    console.log(
      `${name}: ${runs} runs, ${packets} packets, ${waits} waits; gap p50 ${us(p50)} us, p99 ${us(p99)}, p99.99 ${us(p9999)}, longest ${us(max)}; ` +
        `${collections.length} collections of the main thread, longest ${longest} ms`,
    );
  }
  to(OVER);
  await exited;
  observer.disconnect();
}

if (isMainThread) await main(Number(process.argv[2] ?? 5));
else await pmd(workerData as Int32Array);
