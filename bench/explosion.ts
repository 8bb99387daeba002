/**
 * What a port's ordinary traffic keeps while the tuple space explosion (attack/tuple-space-explosion.ts) comes in by the same port: the same frames in the
 * same order, once without the attack's frames between them and once with. The ordinary traffic is what the white list's first line allows, with a new
 * source address and port in each of many frames, so that no cache of exact matches knows it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { composePacket } from '../src/flow/compose.ts';
import { Flow } from '../src/flow/flow.ts';
import { explosionPackets, WHITE_LIST } from './attack/tuple-space-explosion.ts';
import type { BenchSwitch } from './peers/bench-switch.ts';
import type { Generator } from './peers/generator.ts';
import { inPairs, type PeerName, type Plan, type Runs, ratiosOf, spreadOf, spreadsOf } from './plan.ts';
import type { ExplosionRow } from './rows.ts';
import type { Spread } from './statistics.ts';
import { type Timing, withGenerator } from './throughput.ts';

export interface Explosion {
  /** Packets of the ordinary traffic that arrive, in millions a second. */
  beforeMpps: number;
  underAttackMpps: number;
  /** The second divided by the first. */
  kept: number;
  nMasks: number;
}

export interface ExplosionResult {
  row: ExplosionRow;
  runs: Runs<Explosion>;
  kept: Partial<Record<PeerName, Spread>>;
  /** Turnout's `underAttackMpps` divided by Open vSwitch's, of each pair. */
  ratio?: Spread;
}

/** One frame of the attack after so many of the ordinary ones: the attack takes three per cent of the port's packets, and all of it comes round at once a quarter of a million. */
const ORDINARY_PER_ATTACK = 32;
const NO_ADDRESSES = new Array<number>(18).fill(0);

function frameOf(fields: { nwSrc: number; tpSrc: number; tpDst: number }): Uint8Array {
  const flow = new Flow();
  Object.assign(flow, { dlType: 0x0800, nwProto: 17, nwTtl: 64, nwDst: 0x0a800001, ...fields });
  return composePacket(flow, NO_ADDRESSES);
}

/** The `i`th frame of the ordinary traffic: multiplicative hashing spreads sources over 172.16.0.0/12 and the ports above 1023. */
function ordinary(i: number): Uint8Array {
  const hash = Math.imul(i + 1, 0x9e3779b1) >>> 0;
  return frameOf({
    nwSrc: (0xac100000 + (hash >>> 12)) >>> 0,
    tpSrc: 20_000 + (hash % 40_000),
    tpDst: WHITE_LIST.tpDst,
  });
}

/** The ordinary frames, and the same with the attack's between them. */
export function explosionFrames(): { before: Uint8Array[]; underAttack: Uint8Array[]; nAttack: number } {
  const before: Uint8Array[] = [];
  const underAttack: Uint8Array[] = [];
  let nAttack = 0;
  for (const packet of explosionPackets()) {
    for (let i = 0; i < ORDINARY_PER_ATTACK; i += 1) before.push(ordinary(before.length));
    underAttack.push(...before.slice(-ORDINARY_PER_ATTACK), frameOf(packet));
    nAttack += 1;
  }
  return { before, underAttack, nAttack };
}

/** Millions of packets a second that come out of the second port. */
async function arrivals(generator: Generator, seconds: number): Promise<number> {
  const before = (await generator.counts())[1]!.received;
  const start = performance.now();
  await sleep(seconds * 1000);
  const after = (await generator.counts())[1]!.received;
  return (after - before) / (performance.now() - start) / 1000;
}

/** Every one of the masks is to be there before the measurement. */
const ATTACK_WARMUP_S = 6;

async function measureExplosion(sw: BenchSwitch, timing: Timing): Promise<Explosion> {
  const { before, underAttack } = explosionFrames();
  const sockets = [sw.socket(1), sw.socket(2)];
  const replay = (frames: readonly Uint8Array[]) => ({ generator: 'pktgen-replay', frames }) as const;
  const beforeMpps = await withGenerator(sockets, replay(before), timing.warmupS, (generator) =>
    arrivals(generator, timing.measureS),
  );
  const warmupS = Math.max(timing.warmupS, ATTACK_WARMUP_S);
  return await withGenerator(sockets, replay(underAttack), warmupS, async (generator) => {
    const underAttackMpps = await arrivals(generator, timing.measureS);
    return { beforeMpps, underAttackMpps, kept: underAttackMpps / beforeMpps, nMasks: await sw.nMasks() };
  });
}

export async function compareExplosion(row: ExplosionRow, plan: Plan): Promise<ExplosionResult> {
  const tell = (run: Explosion) =>
    `${run.beforeMpps.toFixed(2)} Mpps before, ${run.underAttackMpps.toFixed(3)} under attack (${(run.kept * 100).toFixed(1)} %), ${run.nMasks} masks`;
  const measure = (sw: BenchSwitch) => measureExplosion(sw, plan.timing);
  const runs = await inPairs(row.name, plan, { ruleset: 'white-list.flows' }, measure, tell);
  return {
    row,
    runs,
    kept: spreadsOf(runs, (run) => run.kept),
    ...spreadOf(ratiosOf(runs, (run) => run.underAttackMpps)),
  };
}
