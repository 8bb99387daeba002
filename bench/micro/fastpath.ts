/**
 * Nanoseconds a packet of the fast path alone, on one thread with everything in the cache: receive, extract, look up, send, between two rings of one
 * guest in this process. The rings are refilled between the timed calls. Figures of this kind compare two builds on one machine; for throughput with
 * real peers there is `turnout bench`.
 *
 *     node --no-wasm-dynamic-tiering --no-wasm-deopt --no-liftoff bench/micro/fastpath.ts
 */
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
  THREAD_STAT_DPCLS,
  THREAD_STAT_EMC,
  THREAD_STAT_SIMPLE,
} from '../../src/gen/arena.ts';

const RING_SIZE = 1024;
const ROUNDS = 4000;
const WARM_UP_ROUNDS = 500;
const BUFFER_SIZE = 2176;

interface Row {
  name: string;
  /** Source addresses that the packets go through, one after the other. */
  nFlows: number;
  /** A megaflow for each, or one for all. */
  megaflowEach: boolean;
  /** Look at L3 and L4, or at the port alone. */
  deep: boolean;
  emc: boolean;
}

const ROWS: readonly Row[] = [
  { name: 'bare in_port', nFlows: 1, megaflowEach: false, deep: false, emc: true },
  { name: 'L3/L4, one flow, EMC', nFlows: 1, megaflowEach: false, deep: true, emc: true },
  { name: 'L3/L4, 1,000 flows, one megaflow, dpcls', nFlows: 1000, megaflowEach: false, deep: true, emc: false },
  { name: '1,000 flows, a megaflow each, EMC', nFlows: 1000, megaflowEach: true, deep: true, emc: true },
  { name: '1,000 flows, a megaflow each, dpcls', nFlows: 1000, megaflowEach: true, deep: true, emc: false },
  { name: '100,000 flows, a megaflow each, dpcls', nFlows: 100_000, megaflowEach: true, deep: true, emc: false },
];

const IN_PORT = 0xffffffff;
const SOURCE = 0x0a000000;

function packetFlow(): Flow {
  const flow = new Flow();
  flow.dlType = 0x0800;
  flow.nwProto = 17;
  flow.nwTtl = 64;
  flow.nwSrc = SOURCE;
  flow.nwDst = 0x0a800001;
  flow.tpSrc = 1000;
  flow.tpDst = 2000;
  return flow;
}

function mask({ deep, megaflowEach }: Row): FlowWildcards {
  const wc = new FlowWildcards();
  wc.inPort = IN_PORT;
  wc.recircId = 0xffffffff;
  wc.dlType = 0xffff;
  wc.vlanTci0 = 0xffff;
  wc.nwFrag = 0xff;
  if (!deep) return wc;
  wc.nwProto = 0xff;
  wc.nwDst = 0xffffff00;
  wc.tpDst = 0xffff;
  if (megaflowEach) wc.nwSrc = 0xffffffff;
  return wc;
}

function install(rig: Rig, row: Row, inPort: number, outPort: number): void {
  const words = compileActions([{ type: 'output', port: odpPort(outPort) }], () => 0);
  const code = rig.heap.alloc(words.length * 4);
  if (code === undefined) throw new Error('the arena is full');
  rig.arena.u32.set(words, code >> 2);
  const wc = mask(row);
  for (let i = 0; i < (row.megaflowEach ? row.nFlows : 1); i++) {
    const key = packetFlow();
    key.inPort = inPort;
    key.nwSrc = SOURCE + i;
    if (rig.table.insert(key, wc, code | ACTIONS_F_PLAIN) === 0) throw new Error('the flow table is full');
  }
}

/** Two rings full of buffers, one with packets in them; `refill` hands all of them over again. */
function makeRings(guest: FakeGuest): { tx: FakeRing; rx: FakeRing; refill(nFlows: number): void } {
  const options = { size: RING_SIZE, hdrSize: 12, features: F_MRG_RXBUF } as const;
  const tx = new FakeRing(guest, { ...options, index: 1 });
  const rx = new FakeRing(guest, { ...options, index: 0 });
  // A guest that polls, as DPDK's do: it wants no interrupt.
  for (const ring of [tx, rx]) ring.setAvailFlags(AVAIL_F_NO_INTERRUPT);
  const frame = composePacket(packetFlow(), new Array<number>(18).fill(0));
  const sources: number[] = [];
  for (let i = 0; i < RING_SIZE; i++) {
    const at = guest.alloc(BUFFER_SIZE, 64);
    new Uint8Array(guest.memory.buffer).set(frame, at + 12);
    tx.setDesc(i, { addr: guest.gpa(at), len: 12 + frame.length });
    rx.setDesc(i, { addr: guest.gpa(guest.alloc(BUFFER_SIZE, 64)), len: BUFFER_SIZE, flags: 2 });
    for (const ring of [tx, rx]) ring.publish(i);
    sources.push(at + 12 + 26);
  }
  const view = new DataView(guest.memory.buffer);
  let position = RING_SIZE;
  let flow = 0;
  const refill = (nFlows: number) => {
    position = (position + RING_SIZE) & 0xffff;
    if (nFlows > 1) for (const at of sources) view.setUint32(at, SOURCE + (flow++ % nFlows));
    for (const ring of [tx, rx]) ring.setAvailIdx(position);
  };
  return { tx, rx, refill };
}

async function measure(row: Row): Promise<string> {
  const rig = new Rig();
  rig.setCaches(row.emc, false);
  const guest = new FakeGuest([{ gpa: 0x4000_0000n, size: 16 << 20, offset: 0x10000 }]);
  const { tx, rx, refill } = makeRings(guest);
  const port = rig.vhostPort();
  const outRing = await rig.start(rx, port);
  const inRing = await rig.start(tx, port);
  install(rig, row, port.port, port.port);
  rig.arena.set(ARENA_RXQS + RXQ_SLOT, rxSlot(outRing.port.guest));
  rig.arena.set(ARENA_RXQS + RXQ_VRING, inRing.at);
  rig.arena.set(ARENA_RXQS + RXQ_PORT, port.port);
  rig.arena.set(ARENA_THREADS + THREAD_NRXQS, 1);
  const samples: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    rig.exports.run(RING_SIZE / 32);
    if (round > WARM_UP_ROUNDS) samples.push(((performance.now() - start) / RING_SIZE) * 1e6);
    refill(row.nFlows);
  }
  return report(row, samples, rig, port.port);
}

function report({ name }: Row, samples: number[], rig: Rig, port: number): string {
  samples.sort((a, b) => a - b);
  const at = (q: number) => samples[Math.floor(samples.length * q)]!.toFixed(1);
  const hits = (field: number) => rig.arena.counter(ARENA_THREADS + field);
  const sent = rig.counters.port(port).txPackets;
  return `${name}: median ${at(0.5)} ns, p10 ${at(0.1)} (simple ${hits(THREAD_STAT_SIMPLE)}, emc ${hits(THREAD_STAT_EMC)}, dpcls ${hits(THREAD_STAT_DPCLS)}, sent ${sent})`;
}

for (const row of ROWS) console.log(await measure(row));
