import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import type { OfpPort } from '../../src/base/types.ts';
import type { Bridge } from '../../src/ofproto/bridge.ts';
import { OfStream } from '../../src/ofproto/of-stream.ts';
import { Ofconn } from '../../src/ofproto/ofconn.ts';
import { handleRequest } from '../../src/ofproto/requests.ts';
import { encode } from '../../src/openflow/codec.ts';
import { parse } from '../../src/openflow/flow-text.ts';
import { catchallMatch } from '../../src/openflow/match.ts';
import { BF_ATOMIC, BF_ORDERED, type Message } from '../../src/openflow/messages.ts';
import { MessageStream } from '../../src/openflow/stream.ts';
import { OfprotoRig } from '../../test/support/ofproto-rig.ts';

/**
 * How long OpenFlow holds the control thread: bundles of 100,000 flow-mods, a dump of 200,000 flows, and their deletion, over a socket from another
 * thread. `node bench/micro/openflow-hold.ts [FLOWS]`. A hold is the time of one turn of the event loop, by the clock and by the thread's CPU (which
 * other work on the machine does not lengthen).
 */

const N = Number(process.argv[2] ?? 100_000);
const VERSION = 5;
const FLAGS = BF_ATOMIC | BF_ORDERED;
const OFPT_BARRIER_REPLY = 21;
const OFPT_BUNDLE_CONTROL = 33;
const OFPT_MULTIPART_REPLY = 19;

// The client, in a thread of its own: does one thing a message from the main thread.

const flowMod = (i: number) =>
  parse(
    `priority=${1 + (i % 7)},udp,nw_dst=10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255} actions=output:1`,
    'add',
  );
const isType = (type: number) => (m: Uint8Array) => m[1] === type;
const nextTurn = (): Promise<void> => new Promise((r) => setImmediate(r));

async function runClient(path: string): Promise<void> {
  const socket = createConnection(path);
  const stream = new MessageStream();
  let received = 0;
  let wanted: { is: (m: Uint8Array) => boolean; done: () => void } | undefined;
  socket.on('data', (chunk: Uint8Array) => {
    for (const m of stream.push(new Uint8Array(chunk))) {
      received += m.length;
      if (wanted?.is(m)) wanted.done();
    }
  });
  const until = (is: (m: Uint8Array) => boolean) =>
    new Promise<void>((done) => {
      wanted = { is, done };
    });
  const send = (m: Message, xid: number) => {
    for (const raw of encode(m, VERSION, xid)) socket.write(raw);
  };
  const all = {
    match: catchallMatch(),
    cookie: 0n,
    cookieMask: 0n,
    tableId: 255,
    outPort: 0xffffffff as OfpPort,
    outGroup: 0xffffffff,
  };
  const jobs: Record<string, (n: number) => Promise<void>> = {
    async messages(first) {
      send({ type: 'bundle_control', bundleId: 1, control: 'open_request', flags: FLAGS }, 2);
      for (let i = 0; i < N; i++) {
        const message = encode(flowMod(first + i), VERSION, 3)[0];
        send({ type: 'bundle_add_message', bundleId: 1, flags: FLAGS, message }, 3);
        if (socket.writableLength > 1 << 20) await new Promise<void>((r) => socket.once('drain', () => r()));
        else if (i % 256 === 255) await nextTurn();
      }
      send({ type: 'barrier_request' }, 4);
      await until(isType(OFPT_BARRIER_REPLY));
    },
    async commit() {
      send({ type: 'bundle_control', bundleId: 1, control: 'commit_request', flags: FLAGS }, 5);
      await until(isType(OFPT_BUNDLE_CONTROL));
    },
    async dump() {
      send({ type: 'flow_stats_request', ...all }, 6);
      await until((m) => m[1] === OFPT_MULTIPART_REPLY && (m[11] & 1) === 0);
    },
    async remove() {
      send({ ...flowMod(0), ...all, command: 'delete' }, 7);
      send({ type: 'barrier_request' }, 8);
      await until(isType(OFPT_BARRIER_REPLY));
    },
  };
  await new Promise<void>((r) => socket.once('connect', () => r()));
  send({ type: 'hello', versions: 1 << VERSION }, 1);
  parentPort!.on('message', ([job, n]: [string, number]) => {
    if (job === 'end') {
      socket.destroy();
      parentPort!.close();
      return;
    }
    received = 0;
    void jobs[job](n).then(() => parentPort!.postMessage(received));
  });
}

// The switch.

/** The longest turn of the event loop while `work` runs. */
async function longestHold(work: () => Promise<unknown>): Promise<string> {
  const cpuMs = () => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  };
  let [wall, cpu, turns, running] = [0, 0, 0, true];
  const begin = performance.now();
  let [last, lastCpu] = [begin, cpuMs()];
  const turn = () => {
    const [now, nowCpu] = [performance.now(), cpuMs()];
    wall = Math.max(wall, now - last);
    cpu = Math.max(cpu, nowCpu - lastCpu);
    [last, lastCpu] = [now, nowCpu];
    turns++;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  await work();
  running = false;
  const totalMs = performance.now() - begin;
  return `${totalMs.toFixed(0).padStart(6)} ms; longest hold ${wall.toFixed(1).padStart(5)} ms, of CPU ${cpu.toFixed(1).padStart(5)} ms; ${turns} turns`;
}

function listen(bridge: Bridge, path: string): Promise<void> {
  const none = () => undefined;
  const accept = (socket: Socket) => {
    const stream: OfStream = new OfStream(socket, { message: (m) => conn.receive(m), closed: none });
    const conn = new Ofconn('service', 'bench', stream, 1 << VERSION, {
      request: (c, env, raw) => handleRequest(bridge.openflow, c, env, raw),
      ready: none,
      badVersion: none,
      error: none,
      traffic: none,
      negotiated: none,
    });
    conn.start();
  };
  const server = createServer(accept);
  server.unref();
  return new Promise((r) => server.listen(path, r));
}

async function runSwitch(): Promise<void> {
  const rig = new OfprotoRig();
  const folder = mkdtempSync(join(tmpdir(), 'turnout-hold-'));
  const path = join(folder, 'mgmt');
  const bridge = await rig.bridge('br0', ['p1', 'p2'], true);
  await listen(bridge, path);
  const worker = new Worker(new URL(import.meta.url), { workerData: path, argv: process.argv.slice(2) });
  const ask = (job: string, n = 0): Promise<unknown> => {
    worker.postMessage([job, n]);
    return new Promise((r) => worker.once('message', r));
  };
  const report = async (what: string, job: string, n = 0) => {
    console.log(`${what.padEnd(32)} ${await longestHold(() => ask(job, n))}; ${bridge.flowTables.flowCount} flows`);
  };
  for (const round of [0, 1]) {
    await report(`${N} bundle messages arrive`, 'messages', round * N);
    await report('the bundle is committed', 'commit');
  }
  await report('all flows are dumped', 'dump');
  await report('all flows are deleted', 'remove');
  worker.postMessage(['end', 0]);
  await rig.close();
  rmSync(folder, { recursive: true });
}

await (isMainThread ? runSwitch() : runClient(workerData as string));
