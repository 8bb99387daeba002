/**
 * Nanoseconds a packet of the lookup alone, by stage, on one thread: extract, EMC, SMC, dpcls, grouping, actions. The frames are written into the batch
 * between the timed calls; nothing is received and everything is dropped by its action. Each figure is the least mean over a window of batches, which on a busy
 * machine is what repeats. Figures of this kind compare two builds on one machine.
 *
 *     node tools/build.ts stages
 *     node --no-wasm-dynamic-tiering --no-wasm-deopt --no-liftoff bench/micro/lookup.ts [--json] [part of a row's name …]
 */
import { readFileSync } from 'node:fs';
import { type DatapathExports, loadModules } from '../../src/dpif/userspace/datapath-thread.ts';
import { Rig } from '../../src/dpif/userspace/testing/rig.ts';
import { composePacket } from '../../src/flow/compose.ts';
import { Flow, FlowWildcards } from '../../src/flow/flow.ts';
import {
  ARENA_SLOTS,
  ARENA_THREADS,
  BATCH_MAX,
  PACKET_HEADROOM,
  SLOT__SIZE,
  SUBTABLES_MAX,
  THREAD_STAT_DPCLS,
  THREAD_STAT_EMC,
  THREAD_STAT_LOOKUPS,
  THREAD_STAT_MISS,
  THREAD_STAT_SMC,
} from '../../src/gen/arena.ts';
import { explosionMasks, explosionPackets, WHITE_LIST } from '../attack/tuple-space-explosion.ts';

/** See src/fastpath/stages.ts. */
interface Stages extends DatapathExports {
  stageExtract(count: number, inPort: number): void;
  stageEmc(count: number): number;
  stageSmc(count: number): number;
  stageDpcls(count: number): number;
  stageGroup(count: number): number;
  stageActions(nGroups: number): void;
  stageOutput(): void;
}

const IN_PORT = 9;
const WINDOW_BATCHES = 256;
const SOURCE = 0x0a000000;
// Of the fields in an untagged IPv4/UDP frame.
const OFFSET_DL_SRC = 6;
const OFFSET_NW_SRC = 26;
const OFFSET_TP_SRC = 34;
const OFFSET_TP_DST = 36;

const STAGES = ['extract', 'emc', 'smc', 'dpcls', 'group', 'actions'] as const;
type Stage = (typeof STAGES)[number];

interface Row {
  name: string;
  /** Installs the megaflows. */
  install(rig: Rig): void;
  /** Writes the fields of the batch's packet `i` into its frame. */
  write(frame: DataView, i: number): void;
  /** EMC on, the signature cache on. */
  caches: readonly [emc: boolean, smc: boolean];
  windows: number;
}

let state = 0x12345678;

/** xorshift32: the packets are the same each time. */
function random(): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return state >>> 0;
}

function packetFlow(): Flow {
  const flow = new Flow();
  flow.inPort = IN_PORT;
  flow.dlType = 0x0800;
  flow.nwProto = 17;
  flow.nwTtl = 64;
  flow.nwSrc = SOURCE;
  flow.nwDst = 0x0a800001;
  flow.tpSrc = 1000;
  flow.tpDst = 2000;
  return flow;
}

function commonMask(): FlowWildcards {
  const wc = new FlowWildcards();
  Object.assign(wc, { inPort: 0xffffffff, recircId: 0xffffffff, dlType: 0xffff, vlanTci0: 0xffff, nwFrag: 0xff });
  wc.nwProto = 0xff;
  return wc;
}

function insert(rig: Rig, key: Flow, wc: FlowWildcards, actions: number): void {
  if (rig.table.insert(key, wc, actions) === 0) throw new Error('the flow table is full');
}

/** Megaflows of one mask that all the packets of `nFlows` sources share, or one for each source. */
function oneMask(rig: Rig, nFlows: number, each: boolean): void {
  const wc = commonMask();
  wc.tpDst = 0xffff;
  wc.nwDst = 0xffffff00;
  if (each) wc.nwSrc = 0xffffffff;
  const drop = rig.actions([]);
  for (let i = 0; i < (each ? nFlows : 1); i++) {
    const key = packetFlow();
    key.nwSrc = SOURCE + i;
    insert(rig, key, wc, drop);
  }
}

const writeSource = (nFlows: number) => (frame: DataView) =>
  frame.setUint32(OFFSET_NW_SRC, SOURCE + (random() % nFlows));

const PREFIXED_MASKS = 20;

/** One megaflow under each of 20 masks: a destination port and a prefix of the destination of its own length. */
function prefixes(rig: Rig): void {
  const drop = rig.actions([]);
  for (let i = 0; i < PREFIXED_MASKS; i++) {
    const wc = commonMask();
    wc.tpDst = 0xffff;
    wc.nwDst = (-1 << (24 - i)) >>> 0;
    const key = packetFlow();
    key.tpDst = i;
    insert(rig, key, wc, drop);
  }
}

function writeRandomTuple(frame: DataView): void {
  frame.setUint32(OFFSET_NW_SRC, random());
  frame.setUint16(OFFSET_TP_SRC, random());
  frame.setUint16(OFFSET_TP_DST, random() % PREFIXED_MASKS);
}

const VICTIM_FLOWS = 262_144;
/** As many as there can be, but for the victim's. */
const ATTACK_MASKS = SUBTABLES_MAX - 8;

/** The masks that the attack makes, and last the victim's one. */
function explosion(rig: Rig): void {
  const drop = rig.actions([]);
  let n = 0;
  for (const { key: fields, mask } of explosionMasks(IN_PORT)) {
    const { nwSrc, tpSrc, tpDst } = fields;
    const key = Object.assign(packetFlow(), { nwSrc, tpSrc, tpDst });
    const used = rig.table.admit(key, mask);
    if (n++ < ATTACK_MASKS && rig.table.find(key, used) === 0) insert(rig, key, used, drop);
  }
  const wc = commonMask();
  wc.tpDst = 0xffff;
  const key = packetFlow();
  key.tpDst = WHITE_LIST.tpDst;
  insert(rig, key, wc, drop);
}

const attackPackets = [...explosionPackets()].slice(0, ATTACK_MASKS);

/** Each `attackEvery`-th packet is the attacker's, with noise in what the masks do not look at or without. */
const writeVictim =
  (attackEvery: number, noise = true) =>
  (frame: DataView, i: number) => {
    const attacks = attackEvery > 0 && i % attackEvery === 0;
    const packet = attacks ? attackPackets[random() % attackPackets.length]! : undefined;
    frame.setUint32(OFFSET_DL_SRC + 2, packet ? (noise ? random() : 0) : 0x1234);
    frame.setUint32(OFFSET_NW_SRC, packet?.nwSrc ?? SOURCE + (random() % VICTIM_FLOWS));
    frame.setUint16(OFFSET_TP_SRC, packet?.tpSrc ?? 1000);
    frame.setUint16(OFFSET_TP_DST, packet?.tpDst ?? WHITE_LIST.tpDst);
  };

const K = 1000;
const rowOfFlows = (nFlows: number, each: boolean, caches: Row['caches']): Row => ({
  name: `${nFlows} flows, ${each ? 'a megaflow each' : 'one megaflow'}, EMC ${caches[0] ? 'on' : 'off'}, SMC ${caches[1] ? 'on' : 'off'}`,
  install: (rig) => oneMask(rig, nFlows, each),
  write: writeSource(nFlows),
  caches,
  windows: nFlows >= 1000 * K ? 200 : 400,
});

const ROWS: readonly Row[] = [
  rowOfFlows(K, false, [true, false]),
  rowOfFlows(100 * K, false, [true, false]),
  rowOfFlows(1000 * K, false, [true, false]),
  rowOfFlows(K, true, [true, false]),
  rowOfFlows(100 * K, true, [true, false]),
  rowOfFlows(100 * K, true, [true, true]),
  rowOfFlows(1000 * K, true, [true, false]),
  rowOfFlows(1000 * K, true, [false, false]),
  {
    name: 'random 5-tuples over 20 masks',
    install: prefixes,
    write: writeRandomTuple,
    caches: [true, false],
    windows: 400,
  },
  {
    name: 'mask explosion, victim alone',
    install: explosion,
    write: writeVictim(0),
    caches: [true, false],
    windows: 40,
  },
  {
    name: 'mask explosion, each 32nd packet the attacker’s',
    install: explosion,
    write: writeVictim(32),
    caches: [true, false],
    windows: 40,
  },
  {
    name: 'mask explosion, each 32nd packet the attacker’s, the same ones again',
    install: explosion,
    write: writeVictim(32, false),
    caches: [true, false],
    windows: 40,
  },
];

function makeRig(): { rig: Rig; stages: Stages } {
  const stages = new WebAssembly.Module(readFileSync(new URL('../../build/stages.wasm', import.meta.url)));
  const rig = new Rig({ ...loadModules(), datapath: stages });
  return { rig, stages: rig.exports as Stages };
}

function frames(rig: Rig): DataView[] {
  const frame = composePacket(packetFlow(), new Array<number>(18).fill(0));
  return Array.from({ length: BATCH_MAX }, (_, i) => {
    rig.place(i, frame);
    return new DataView(rig.arena.memory.buffer, ARENA_SLOTS + i * SLOT__SIZE + PACKET_HEADROOM, frame.length);
  });
}

/** Runs one batch; adds the time of each stage in ms to `spent`. */
function runBatch(stages: Stages, [emc, smc]: Row['caches'], spent: Float64Array): void {
  const n = BATCH_MAX;
  const t0 = performance.now();
  stages.stageExtract(n, IN_PORT);
  const t1 = performance.now();
  let known = emc ? stages.stageEmc(n) : 0;
  const t2 = performance.now();
  if (smc && known < n) known += stages.stageSmc(n);
  const t3 = performance.now();
  if (known < n) stages.stageDpcls(n);
  const t4 = performance.now();
  const groups = stages.stageGroup(n);
  const t5 = performance.now();
  stages.stageActions(groups);
  stages.stageOutput();
  const t6 = performance.now();
  spent[0]! += t1 - t0;
  spent[1]! += t2 - t1;
  spent[2]! += t3 - t2;
  spent[3]! += t4 - t3;
  spent[4]! += t5 - t4;
  spent[5]! += t6 - t5;
}

interface Result {
  row: string;
  ns: Record<Stage | 'all', number>;
  hits: Record<'emc' | 'smc' | 'dpcls' | 'subtables' | 'miss', number>;
}

function measure(row: Row): Result {
  const { rig, stages } = makeRig();
  rig.setCaches(...row.caches);
  row.install(rig);
  const batch = frames(rig);
  let best: Float64Array | undefined;
  const all = (spent: Float64Array) => spent.reduce((sum, ms) => sum + ms, 0);
  for (let w = 0; w < row.windows; w++) {
    const spent = new Float64Array(STAGES.length);
    for (let b = 0; b < WINDOW_BATCHES; b++) {
      batch.forEach(row.write);
      runBatch(stages, row.caches, spent);
    }
    rig.table.rank();
    rig.rcu.reap();
    if (w > row.windows / 2 && (!best || all(spent) < all(best))) best = spent;
  }
  const ns = (ms: number) => (ms * 1e6) / (WINDOW_BATCHES * BATCH_MAX);
  const share = (field: number) =>
    Number(rig.arena.counter(ARENA_THREADS + field)) / (row.windows * WINDOW_BATCHES * BATCH_MAX);
  return {
    row: row.name,
    ns: { ...byStage(best!, ns), all: ns(all(best!)) },
    hits: {
      emc: share(THREAD_STAT_EMC),
      smc: share(THREAD_STAT_SMC),
      dpcls: share(THREAD_STAT_DPCLS),
      subtables: share(THREAD_STAT_LOOKUPS),
      miss: share(THREAD_STAT_MISS),
    },
  };
}

function byStage(spent: Float64Array, ns: (ms: number) => number): Record<Stage, number> {
  return Object.fromEntries(STAGES.map((stage, i) => [stage, ns(spent[i]!)])) as Record<Stage, number>;
}

function print({ row, ns, hits }: Result): void {
  const parts = STAGES.map((stage) => `${stage} ${ns[stage].toFixed(1)}`).join(', ');
  const found = Object.entries(hits)
    .map(([name, n]) => `${name} ${n.toFixed(2)}`)
    .join(' ');
  console.log(`${row}: ${ns.all.toFixed(1)} ns (${parts}) a packet: ${found}`);
}

const json = process.argv.includes('--json');
const wanted = process.argv.slice(2).filter((arg) => arg !== '--json');
const results = ROWS.filter(({ name }) => wanted.length === 0 || wanted.some((w) => name.includes(w))).map((row) => {
  const result = measure(row);
  if (!json) print(result);
  return result;
});
if (json) console.log(JSON.stringify(results, undefined, 2));
