/** Throughput of one freshly started switch, or of the generator alone. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type BenchSwitch, SWITCH_CORE } from './peers/bench-switch.ts';
import { type Count, type Generator, startGenerator } from './peers/generator.ts';
import { startVhostForwarder } from './peers/vhost-pmd.ts';
import type { PmdStats } from './pmd-stats.ts';
import type { Traffic } from './traffic.ts';

export interface Timing {
  warmupS: number;
  measureS: number;
}

/** Rates are in millions of packets a second, both directions together. */
export interface Throughput {
  /** Packets that came back to the generator: what the switch delivered. */
  mpps: number;
  /** Packets that the generator could put into its rings. */
  sentMpps: number;
  /** Bits of the delivered frames, without FCS, in units of 10^9 a second. */
  gbps: number;
  /** Delivered packets, in millions, a second of CPU time of the switch's whole process. */
  mppsPerCpu: number;
  /** CPU time divided by the time measured. */
  cpu: number;
  nMegaflows: number;
  /** Sums over the threads, at the end. */
  pmdStats: PmdStats;
}

const sum = (counts: readonly Count[], key: keyof Count) => counts.reduce((total, port) => total + port[key], 0);

export interface Rates {
  mpps: number;
  sentMpps: number;
  gbps: number;
  /** Seconds between the two looks at the counters. */
  elapsedS: number;
}

/** Looks at the generator's counters twice. */
export async function rates(generator: Generator, measureS: number): Promise<Rates> {
  const before = await generator.counts();
  const start = performance.now();
  await sleep(measureS * 1000);
  const after = await generator.counts();
  const elapsedS = (performance.now() - start) / 1000;
  const rate = (key: keyof Count) => (sum(after, key) - sum(before, key)) / elapsedS / 1e6;
  return { mpps: rate('received'), sentMpps: rate('sent'), gbps: (rate('receivedBytes') * 8) / 1000, elapsedS };
}

/** Starts the generator, gives it `warmupS`, hands it to `use`, and stops it. */
export async function withGenerator<T>(
  sockets: readonly string[],
  traffic: Traffic,
  warmupS: number,
  use: (generator: Generator) => Promise<T>,
): Promise<T> {
  const generator = await startGenerator(sockets, traffic);
  try {
    await sleep(warmupS * 1000);
    return await use(generator);
  } finally {
    await generator.stop();
  }
}

export function measureThroughput(sw: BenchSwitch, traffic: Traffic, timing: Timing): Promise<Throughput> {
  return withGenerator([sw.socket(1), sw.socket(2)], traffic, timing.warmupS, async (generator) => {
    const cpuBefore = sw.cpuSeconds();
    const { mpps, sentMpps, gbps, elapsedS } = await rates(generator, timing.measureS);
    const cpu = (sw.cpuSeconds() - cpuBefore) / elapsedS;
    const nMegaflows = await sw.nMegaflows();
    return { mpps, sentMpps, gbps, mppsPerCpu: mpps / cpu, cpu, nMegaflows, pmdStats: await sw.pmdStats() };
  });
}

/** How fast the generator goes when nothing but DPDK's own vhost driver stands between its ports. */
export async function measureGeneratorAlone(traffic: Traffic, timing: Timing): Promise<Rates> {
  const forwarder = await startVhostForwarder(SWITCH_CORE);
  try {
    return await withGenerator(forwarder.sockets, traffic, timing.warmupS, (generator) =>
      rates(generator, timing.measureS),
    );
  } finally {
    await forwarder.stop();
  }
}
