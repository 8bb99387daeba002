/**
 * What a second PMD adds: one PMD on each of two cores alone, then both at once, in turns. Each polls a ring of its own that was filled beforehand, forwards to
 * another guest's ring, and hands all buffers of both rings over again by the same loop, on its own core: no third core is needed, and nothing differs between one
 * PMD and two. The rings, the ring modules, the datapath, the flow table and the caches are the switch's; both PMDs look up in the one flow table, in one arena.
 * The guests have one queue, so that the lock of a transmit ring is taken for each burst, as the switch has it with two PMDs. Sockets, kicks and guests that run
 * on cores of their own are not in it.
 *
 *     node --no-wasm-dynamic-tiering --no-wasm-deopt --no-liftoff bench/micro/scaling.ts [--json] [SECONDS A PHASE] [REPETITIONS]
 */
import { readFileSync } from 'node:fs';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { odpPort } from '../../src/base/types.ts';
import { Arena } from '../../src/dpif/userspace/arena.ts';
import { type DatapathModules, DatapathThread, loadModules, rxSlot } from '../../src/dpif/userspace/datapath-thread.ts';
import { AVAIL_F_NO_INTERRUPT, F_MRG_RXBUF, FakeGuest, FakeRing } from '../../src/dpif/userspace/testing/fake-guest.ts';
import { Rig } from '../../src/dpif/userspace/testing/rig.ts';
import { composePacket } from '../../src/flow/compose.ts';
import { Flow, FlowWildcards } from '../../src/flow/flow.ts';
import {
  ARENA_HEADER,
  ARENA_PORTS,
  ARENA_RXQS,
  ARENA_RXQS_STRIDE,
  ARENA_THREADS,
  BATCH_MAX,
  HEADER_EMC_INSERT_MIN,
  PORT__SIZE,
  PORT_TX_LOCKED,
  RXQ_PORT,
  RXQ_SLOT,
  RXQ_VRING,
  THREAD__SIZE,
  THREAD_NOW_MS,
  THREAD_NRXQS,
} from '../../src/gen/arena.ts';
import { setAffinity } from '../../src/sys/sched.ts';

const CORES = [0, 1] as const;
const RING_SIZE = 1024;
const BUFFER_SIZE = 2176;
const HEADER_SIZE = 12;
/** As the row of 1,000 flows has them: destinations in sixteen networks, a megaflow each. */
const N_FLOWS = 1000;
const NETWORK_BITS = 26;
const DESTINATION = 0x0afd0000;
/** Open vSwitch's default. */
const EMC_INSERT_INV_PROB = 100;
const WARM_UP_S = 1;

/** The word that all threads see: which PMDs run, a bit each; or the end. */
const OVER = -1;

/** What one PMD is told: where its rings are, in the arena and in the guests. */
interface Lane {
  core: number;
  /** Of its thread's records. */
  index: number;
  arena: WebAssembly.Memory;
  modules: DatapathModules;
  guests: { guest: number; memory: WebAssembly.Memory }[];
  rxq: { slot: number; vring: number; port: number };
  /** Indices of the available rings, as the driver writes them, in 16-bit words. */
  avail: { memory: WebAssembly.Memory; word: number }[];
  turn: Int32Array;
}

/** Of one PMD in one phase. */
interface Share {
  mpps: number;
  /** Millions of packets a second of its CPU time: what is left of a busy machine's noise. */
  mppsPerCpu: number;
}

export interface ScalingRun {
  /** Each PMD while the other one is asleep, and both at once. */
  alone: Share[];
  together: Share[];
}

function packetFlow(i: number): Flow {
  const flow = new Flow();
  Object.assign(flow, { dlType: 0x0800, nwProto: 17, nwTtl: 64, nwSrc: 0x0afc0001, tpSrc: 1000, tpDst: 1001 });
  flow.nwDst = DESTINATION + (i % N_FLOWS);
  return flow;
}

function install(rig: Rig, inPort: number, outPort: number): void {
  const mask = new FlowWildcards();
  Object.assign(mask, { inPort: 0xffffffff, recircId: 0xffffffff, dlType: 0xffff, vlanTci0: 0xffff, nwFrag: 0xff });
  Object.assign(mask, { nwProto: 0xff, tpDst: 0xffff, nwDst: (-1 << (32 - NETWORK_BITS)) >>> 0 });
  const actions = rig.flowActions([{ type: 'output', port: odpPort(outPort) }]);
  for (let i = 0; i < N_FLOWS; i += 1 << (32 - NETWORK_BITS)) {
    const key = packetFlow(i);
    key.inPort = inPort;
    if (rig.table.insert(key, mask, actions) === 0) throw new Error('the flow table is full');
  }
}

/** A ring with all its buffers handed over; `fill` writes each buffer. */
function makeRing(guest: FakeGuest, index: number, fill?: (bytes: Uint8Array, i: number) => number): FakeRing {
  const ring = new FakeRing(guest, { index, size: RING_SIZE, hdrSize: HEADER_SIZE, features: F_MRG_RXBUF });
  ring.setAvailFlags(AVAIL_F_NO_INTERRUPT);
  for (let i = 0; i < RING_SIZE; i += 1) {
    const at = guest.alloc(BUFFER_SIZE, 64);
    const len = fill ? fill(guest.u8.subarray(at, at + BUFFER_SIZE), i) : BUFFER_SIZE;
    ring.setDesc(i, { addr: guest.gpa(at), len, flags: fill ? 0 : 2 });
    ring.publish(i);
  }
  return ring;
}

function writePacket(bytes: Uint8Array, i: number): number {
  const frame = composePacket(packetFlow(i), new Array<number>(18).fill(0));
  bytes.set(frame, HEADER_SIZE);
  return HEADER_SIZE + frame.length;
}

/** A guest that sends and one that receives, each at a port of its own. */
async function makeLane(rig: Rig, n: number, turn: Int32Array): Promise<{ lane: Lane; outPort: number }> {
  const region = { gpa: 0x4000_0000n, size: 16 << 20, offset: 0x10000 };
  const [sender, receiver] = [new FakeGuest([region]), new FakeGuest([region])];
  const tx = await rig.start(makeRing(sender, 1, writePacket));
  const rx = await rig.start(makeRing(receiver, 0));
  for (const { port } of [tx, rx]) rig.arena.set(ARENA_PORTS + port.port * PORT__SIZE + PORT_TX_LOCKED, 1);
  install(rig, tx.port.port, rx.port.port);
  const memories = [sender.memory, receiver.memory];
  const lane: Lane = {
    core: CORES[n]!,
    index: n + 1,
    arena: rig.arena.memory,
    modules: loadModules(),
    guests: [tx, rx].map(({ port }, i) => ({ guest: port.guest, memory: memories[i]! })),
    rxq: { slot: rxSlot(tx.port.guest), vring: tx.at, port: tx.port.port },
    avail: [tx, rx].map(({ ring }, i) => ({ memory: memories[i]!, word: (ring.config.avail + 2) >> 1 })),
    turn,
  };
  return { lane, outPort: rx.port.port };
}

/** The thread's CPU time so far in seconds: the first number of proc(5)'s schedstat, in nanoseconds. */
const cpuSeconds = () => Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[0]) / 1e9;

/** A PMD: runs the fast path over its ring and hands the buffers over again, while it is its turn. */
function pmd(lane: Lane): void {
  setAffinity([lane.core]);
  const arena = new Arena(lane.arena);
  const thread = new DatapathThread(lane.index, arena, lane.modules);
  for (const { guest, memory } of lane.guests) thread.addGuest(guest, memory);
  const rxq = ARENA_RXQS + lane.index * ARENA_RXQS_STRIDE;
  arena.set(rxq + RXQ_SLOT, lane.rxq.slot);
  arena.set(rxq + RXQ_VRING, lane.rxq.vring);
  arena.set(rxq + RXQ_PORT, lane.rxq.port);
  arena.set(ARENA_THREADS + lane.index * THREAD__SIZE + THREAD_NRXQS, 1);
  const avail = lane.avail.map(({ memory, word }) => ({ u16: new Uint16Array(memory.buffer), word }));
  const bit = 1 << (lane.index - 1);
  let position = RING_SIZE;
  const round = () => {
    thread.exports.run(RING_SIZE / BATCH_MAX);
    position = (position + RING_SIZE) & 0xffff;
    for (const { u16, word } of avail) Atomics.store(u16, word, position);
  };
  parentPort!.postMessage('ready');
  for (;;) {
    const now = Atomics.load(lane.turn, 0);
    if (now === OVER) return;
    if (!(now & bit)) {
      Atomics.wait(lane.turn, 0, now);
      continue;
    }
    const cpu = cpuSeconds();
    const start = performance.now();
    let packets = 0;
    while (Atomics.load(lane.turn, 0) === now) {
      arena.f64[(ARENA_THREADS + lane.index * THREAD__SIZE + THREAD_NOW_MS) >> 3] = Math.trunc(performance.now());
      round();
      packets += RING_SIZE;
    }
    const seconds = (performance.now() - start) / 1000;
    const share: Share & { packets: number } = {
      mpps: packets / seconds / 1e6,
      mppsPerCpu: packets / (cpuSeconds() - cpu) / 1e6,
      packets,
    };
    parentPort!.postMessage(share);
  }
}

type Reported = Share & { packets: number };

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** The main thread's end of the PMDs. */
class Bench {
  readonly #turn = new Int32Array(new SharedArrayBuffer(4));
  readonly #rig = new Rig();
  readonly #outPorts: number[] = [];
  readonly #workers: Worker[] = [];
  #forwarded = 0;

  async open(): Promise<this> {
    this.#rig.arena.set(ARENA_HEADER + HEADER_EMC_INSERT_MIN, Math.floor(0xffffffff / EMC_INSERT_INV_PROB));
    for (const n of CORES.keys()) {
      const { lane, outPort } = await makeLane(this.#rig, n, this.#turn);
      this.#outPorts.push(outPort);
      const worker = new Worker(new URL(import.meta.url), { workerData: lane });
      this.#workers.push(worker);
      await this.#answer(worker);
    }
    return this;
  }

  #answer(worker: Worker): Promise<unknown> {
    return new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  }

  #to(turn: number): void {
    Atomics.store(this.#turn, 0, turn);
    Atomics.notify(this.#turn, 0);
  }

  /** Lets the PMDs whose bit is set run. Every packet that they took must have arrived. */
  async phase(turn: number, seconds: number): Promise<Share[]> {
    const answers = this.#workers.filter((_, n) => turn & (1 << n)).map((worker) => this.#answer(worker));
    this.#to(turn);
    await sleep(seconds * 1000);
    this.#to(0);
    const shares = (await Promise.all(answers)) as Reported[];
    this.#forwarded += shares.reduce((sum, { packets }) => sum + packets, 0);
    const arrived = this.#outPorts.reduce((sum, port) => sum + Number(this.#rig.counters.port(port).txPackets), 0);
    if (arrived !== this.#forwarded) throw new Error(`${this.#forwarded} packets were sent and ${arrived} arrived`);
    return shares.map(({ mpps, mppsPerCpu }) => ({ mpps, mppsPerCpu }));
  }

  async run(seconds: number): Promise<ScalingRun> {
    const first = await this.phase(1, seconds);
    const together = await this.phase(3, seconds);
    const second = await this.phase(2, seconds);
    return { alone: [...first, ...second], together };
  }

  async close(): Promise<void> {
    const exits = this.#workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve)));
    this.#to(OVER);
    await Promise.all(exits);
  }
}

async function main(argv: readonly string[]): Promise<void> {
  const json = argv.includes('--json');
  const [seconds = 3, repetitions = 5] = argv.filter((word) => word !== '--json').map(Number);
  const bench = await new Bench().open();
  try {
    await bench.phase(3, WARM_UP_S);
    const runs: ScalingRun[] = [];
    for (let i = 0; i < repetitions; i += 1) {
      const run = await bench.run(seconds);
      runs.push(run);
      if (json) continue;
      const text = (shares: readonly Share[]) =>
        shares.map((s) => `${s.mpps.toFixed(2)} Mpps (${s.mppsPerCpu.toFixed(2)} a CPU-second)`).join(', ');
      console.log(`alone ${text(run.alone)}; together ${text(run.together)}`);
    }
    if (json) console.log(JSON.stringify(runs));
  } finally {
    await bench.close();
  }
}

if (isMainThread) await main(process.argv.slice(2));
else pmd(workerData as Lane);
