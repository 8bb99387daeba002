import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { vlog } from '../../src/base/vlog.ts';
import { type Arena, adoptArena, createArena } from '../../src/dpif/userspace/arena.ts';
import { Counters } from '../../src/dpif/userspace/counters.ts';
import {
  ARENA__SIZE,
  ARENA_FLOW_STATS,
  ARENA_FLOW_STATS_STRIDE,
  ARENA_HEADER,
  ARENA_PKTS,
  ARENA_PKTS_STRIDE,
  ARENA_THREADS,
  ARENA_TX_BATCHES,
  ARENA_TX_BATCHES_STRIDE,
  ARENA_VERSION,
  ARENA_VRINGS,
  BATCH_MAX,
  FLOW_STATS__SIZE,
  FLOW_STATS_PACKETS,
  HEADER_VERSION,
  THREAD__SIZE,
  THREAD_DIRTY,
  THREAD_NDIRTY,
  THREAD_UNRELEASED,
  TX_BATCH__SIZE,
  TX_BATCH_COUNT,
  TX_BATCH_PKTS,
} from '../../src/gen/arena.ts';
import type { FdStore } from '../../src/keeper/fd-store.ts';
import { decodeDeviceState, encodeDeviceState } from '../../src/netdev/vhost-user/device-state.ts';
import { createVhostUserProviders } from '../../src/netdev/vhost-user/providers.ts';
import type { VhostUserNetdev, VhostUserShared } from '../../src/netdev/vhost-user/vhost-user-netdev.ts';
import { close } from '../../src/sys/fd.ts';
import { ftruncate, memfdCreate } from '../../src/sys/memory.ts';
import { accept4, unixConnect, unixListen } from '../../src/sys/socket.ts';
import { udp } from '../contract/dpif.ts';
import { collect, TellingFdStore } from '../support/fd-keeper.ts';
import { Forwarder } from '../support/forwarder.ts';
import { FrontEnd, until } from '../support/vhost-front-end.ts';
import { RING_SIZE, VhostGuest } from '../support/vhost-guest.ts';

/**
 * kill -9 of a process that forwards between two guests, and another that goes on with its arena, its guests' memories and its eventfds. The process of
 * this test is the guests, the keeper and the successor; the same file, forked, is the predecessor.
 *
 * A burst of up to BATCH_MAX packets is given back to its sender before it is forwarded, so a PMD that is killed loses the burst that it holds, at most.
 * Nothing is doubled here: only a burst with a frame above FRAME_MAX bytes stays the guest's until it was forwarded, and comes again.
 */

vlog.closeConsole();

const PORTS = [1, 2] as const;
const PMD = 1;
const nameOf = (port: number) => `vu${port}`;

type Told = { flows: number[] } | { port: string; state: string };

async function openPorts(
  dir: string,
  deps: Partial<VhostUserShared>,
  forwarder: Forwarder,
): Promise<VhostUserNetdev[]> {
  const [provider] = createVhostUserProviders(deps);
  const netdevs: VhostUserNetdev[] = [];
  for (const port of PORTS) {
    const netdev = (await provider!.open(nameOf(port), new Map(), { sockDir: dir })) as VhostUserNetdev;
    forwarder.attach(port, netdev);
    await netdev.settled();
    netdevs.push(netdev);
  }
  return netdevs;
}

async function predecessor(dir: string): Promise<void> {
  process.on('disconnect', () => process.exit());
  const tell = (told: Told) => void process.send!(told);
  const fds = new TellingFdStore(unixConnect(join(dir, 'keeper'), { blocking: true }));
  const { arena, fd } = createArena();
  fds.put('arena', fd);
  const forwarder = new Forwarder(arena);
  await forwarder.start();
  for (const port of PORTS) forwarder.makePort(port);
  const flows = forwarder.install([
    { from: 1, to: 2 },
    { from: 2, to: 1 },
  ]);
  const saveState: VhostUserShared['saveState'] = (port, state) => tell({ port, state: encodeDeviceState(state) });
  await openPorts(dir, { fds, saveState }, forwarder);
  tell({ flows });
}

/** One direction of the traffic: numbered frames, the first of them 0. */
class Stream {
  readonly from: VhostGuest;
  readonly to: VhostGuest;
  /** Tells the frames of the two directions apart. */
  readonly #size: number;
  sent = 0;
  readonly got: number[] = [];

  constructor(from: VhostGuest, to: VhostGuest, size: number) {
    this.from = from;
    this.to = to;
    this.#size = size;
  }

  put(n: number): void {
    for (let i = 0; i < n; i++) this.from.put(udp(this.sent++, this.#size));
  }

  /** Every frame is one that was sent, whole and unchanged. */
  receive(): void {
    for (const frame of this.to.received()) {
      const number = (frame[34]! << 8) | frame[35]!;
      assert.ok(number < this.sent);
      assert.deepEqual(frame, udp(number, this.#size));
      this.got.push(number);
    }
  }

  /** As much as rings and buffers have room for. */
  fill(): void {
    this.put(RING_SIZE - Math.max(this.from.waiting, this.sent - this.got.length));
  }

  get lost(): number[] {
    const got = new Set(this.got);
    return Array.from({ length: this.sent }, (_, n) => n).filter((n) => !got.has(n));
  }
}

class Rig {
  readonly dir = mkdtempSync(join(tmpdir(), 'turnout-take-over-'));
  readonly child: ChildProcess;
  readonly streams: Stream[] = [];
  flows: number[] = [];
  readonly #listener: number;
  #keeper = -1;
  readonly #states = new Map<string, string>();
  readonly #guests: VhostGuest[] = [];

  constructor(t: TestContext) {
    this.#listener = unixListen(join(this.dir, 'keeper'));
    const env = { ...process.env, TURNOUT_TEST_PREDECESSOR: this.dir };
    this.child = fork(fileURLToPath(import.meta.url), { env, execArgv: [] });
    this.child.on('message', (told: Told) => {
      if ('flows' in told) this.flows = told.flows;
      else this.#states.set(told.port, told.state);
    });
    t.after(() => this.#close());
  }

  #close(): void {
    this.child.kill('SIGKILL');
    for (const guest of this.#guests) guest.fe.close();
    if (this.#keeper >= 0) close(this.#keeper);
    close(this.#listener);
    rmSync(this.dir, { recursive: true });
  }

  /** Two guests whose packets the predecessor forwards. */
  async open(): Promise<void> {
    await until(() => this.flows.length > 0, 'the predecessor');
    this.#keeper = accept4(this.#listener);
    for (const port of PORTS) {
      const fe = FrontEnd.connect(join(this.dir, nameOf(port)));
      const guest = new VhostGuest(fe);
      await fe.start();
      this.#guests.push(guest);
    }
    const [a, b] = this.#guests as [VhostGuest, VhostGuest];
    this.streams.push(new Stream(a, b, 64), new Stream(b, a, 80));
    const enabled = (port: number) => {
      const text = this.#states.get(nameOf(port));
      return text !== undefined && decodeDeviceState(text).rings.filter((r) => r.enabled).length === 2;
    };
    await until(() => PORTS.every(enabled), 'the last state');
  }

  /** Keeps both directions full until `done`. */
  async flood(done: () => boolean): Promise<void> {
    await until(() => {
      for (const stream of this.streams) {
        stream.receive();
        stream.fill();
        stream.from.kick();
      }
      return done();
    }, 'packets');
  }

  /** `n` frames each way; the last of them arrives, and with it all that were not lost: nothing overtakes. */
  async pass(n: number): Promise<void> {
    for (const stream of this.streams) {
      stream.put(n);
      stream.from.kick();
    }
    await this.last();
  }

  async last(): Promise<void> {
    for (const stream of this.streams) {
      await until(() => {
        stream.receive();
        return stream.got.at(-1) === stream.sent - 1;
      }, 'the last packet');
    }
  }

  async kill(): Promise<void> {
    const exit = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    assert.deepEqual(await exit, [null, 'SIGKILL']);
  }

  /** What the keeper has. */
  collect(): FdStore {
    return collect(this.#keeper);
  }

  /** The process of this test goes on with `fds`. */
  async takeOver(t: TestContext, fds: FdStore): Promise<{ arena: Arena; forwarder: Forwarder }> {
    const arena = adoptArena(fds.get('arena'));
    const forwarder = new Forwarder(arena);
    const loadState: VhostUserShared['loadState'] = (port) => decodeDeviceState(this.#states.get(port)!);
    const netdevs = await openPorts(this.dir, { fds, loadState }, forwarder);
    await forwarder.start();
    t.after(async () => {
      for (const netdev of netdevs) await netdev.close();
      await forwarder.stop();
      fds.drop('arena');
    });
    return { arena, forwarder };
  }

  /** Packets that the stream's sender, its receiver and its flow are counted with. */
  counts(arena: Arena, stream: 0 | 1): { rx: number; tx: number; flow: number } {
    const counters = new Counters(arena);
    const flow = ARENA_FLOW_STATS + PMD * ARENA_FLOW_STATS_STRIDE + this.flows[stream]! * FLOW_STATS__SIZE;
    return {
      rx: Number(counters.port(PORTS[stream]).rxPackets),
      tx: Number(counters.port(PORTS[1 - stream]!).txPackets),
      flow: Number(arena.counter(flow + FLOW_STATS_PACKETS)),
    };
  }
}

/** Resolves when no thread of the process runs any more. */
async function stopped(pid: number): Promise<void> {
  const states = () =>
    readdirSync(`/proc/${pid}/task`).map((tid) => readFileSync(`/proc/${pid}/task/${tid}/stat`, 'latin1'));
  await until(() => states().every((stat) => /\) T /.test(stat)), 'the process to stop');
}

/** What a PMD leaves that is killed while a packet for port 2 waits for the end of its batch: the last one that it had, which has arrived long ago. */
function leaveBatch(arena: Arena): void {
  const thread = ARENA_THREADS + PMD * THREAD__SIZE;
  const queue = ARENA_TX_BATCHES + PMD * ARENA_TX_BATCHES_STRIDE + 2 * TX_BATCH__SIZE;
  arena.set(queue + TX_BATCH_PKTS, ARENA_PKTS + PMD * ARENA_PKTS_STRIDE);
  arena.set(queue + TX_BATCH_COUNT, 1);
  arena.set(thread + THREAD_DIRTY, 2);
  arena.set(thread + THREAD_NDIRTY, 1);
  arena.set(thread + THREAD_UNRELEASED, ARENA_VRINGS);
}

async function ringsFull(t: TestContext): Promise<void> {
  const rig = new Rig(t);
  await rig.open();
  await rig.pass(100);
  rig.child.kill('SIGSTOP');
  await stopped(rig.child.pid!);
  for (const stream of rig.streams) stream.put(RING_SIZE);
  await rig.kill();
  for (const stream of rig.streams) assert.equal(stream.from.waiting, RING_SIZE);

  const fds = rig.collect();
  assert.deepEqual(fds.keys().sort(), KEYS);
  leaveBatch(adoptArena(fds.get('arena')));
  const { arena, forwarder } = await rig.takeOver(t, fds);
  await rig.last();
  for (const stream of rig.streams) stream.to.interrupts();
  await rig.pass(100);
  for (const [i, stream] of rig.streams.entries()) {
    const all = 100 + RING_SIZE + 100;
    assert.deepEqual(stream.got, [...Array(all).keys()], 'each packet once and in order');
    assert.deepEqual(rig.counts(arena, i as 0 | 1), { rx: all, tx: all, flow: all });
    assert.ok(stream.to.interrupts() > 0, 'the guest was interrupted');
  }
  assert.equal(new Counters(arena).thread(PMD).missUpcalls, 0n, 'no packet missed a flow');
  assert.deepEqual(forwarder.traps, []);
}

async function underLoad(t: TestContext): Promise<void> {
  const rig = new Rig(t);
  await rig.open();
  await rig.flood(() => rig.streams.every((s) => s.got.length >= 2000));
  await rig.kill();
  for (const stream of rig.streams) stream.receive();
  const taken = rig.streams.map((s) => s.sent - s.from.waiting);
  for (const stream of rig.streams) stream.fill();

  const { arena, forwarder } = await rig.takeOver(t, rig.collect());
  await rig.last();
  await rig.pass(50);
  for (const [i, stream] of rig.streams.entries()) {
    assert.deepEqual(
      stream.got,
      [...new Set(stream.got)].sort((a, b) => a - b),
      'none twice, and in order',
    );
    assert.ok(
      stream.lost.every((n) => n < taken[i]!),
      'what was still in the ring arrives',
    );
    const { rx, tx, flow } = rig.counts(arena, i as 0 | 1);
    for (const counted of [rx, flow]) within(counted, stream.sent - BATCH_MAX, stream.sent);
    within(tx, stream.got.length, stream.got.length + BATCH_MAX);
  }
  // The one burst that the PMD held.
  within(rig.streams[0]!.lost.length + rig.streams[1]!.lost.length, 0, BATCH_MAX);
  assert.equal(new Counters(arena).thread(PMD).missUpcalls, 0n);
  assert.deepEqual(forwarder.traps, []);
}

function within(n: number, least: number, most: number): void {
  assert.ok(n >= least && n <= most, `${n} is not from ${least} to ${most}`);
}

function refuses(): void {
  const { arena, fd } = createArena();
  arena.set(ARENA_HEADER + HEADER_VERSION, ARENA_VERSION - 1);
  assert.throws(() => adoptArena(fd), /^Error: arena: layout 54524e41 version \d+ where \d+ is needed$/);
  close(fd);
  const short = memfdCreate('short');
  ftruncate(short, 65536);
  assert.throws(() => adoptArena(short), { message: `arena: a file of 65536 bytes where ${ARENA__SIZE} are needed` });
  close(short);
}

const KEYS = [
  'arena',
  ...PORTS.flatMap((port) =>
    ['call/0', 'call/1', 'conn', 'kick/0', 'kick/1', 'listen', 'mem/0'].map((key) => `vhost/${nameOf(port)}/${key}`),
  ),
];

const forkedDir = process.env.TURNOUT_TEST_PREDECESSOR;
if (forkedDir !== undefined) void predecessor(forkedDir);
else {
  test('what waits in the rings of a switch that is killed arrives, each packet once', ringsFull);
  test('a switch that is killed under load loses no more than the burst that it holds', underLoad);
  test('an arena of another layout is refused', refuses);
}
