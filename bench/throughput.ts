/** Throughput of one freshly started switch, or of the generator alone. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type BenchSwitch, GENERATOR_CORE, SWITCH_CORE } from './peers/bench-switch.ts';
import { type PortStats, Testpmd } from './peers/testpmd.ts';
import { startVhostForwarder } from './peers/vhost-pmd.ts';

export interface Timing {
  warmupS: number;
  measureS: number;
}

/** Rates are in millions of packets a second, both directions together. */
export interface Throughput {
  /** Packets that came back to testpmd: what the switch delivered. */
  mpps: number;
  /** Packets that testpmd could put into its rings. */
  sentMpps: number;
  /** Delivered packets, in millions, a second of CPU time of the switch's whole process. */
  mppsPerCpu: number;
  /** CPU time divided by the time measured. */
  cpu: number;
  nMegaflows: number;
  /** `dpif-netdev/pmd-stats-show` at the end. */
  pmdStats: string;
}

const sum = (stats: PortStats[], key: 'rxPackets' | 'txPackets') => stats.reduce((total, port) => total + port[key], 0);

/** Two virtio-user ports of one testpmd, whose flowgen sends `nFlows` flows of 64-byte packets on each. */
async function startGenerator(sockets: [string, string], nFlows: number): Promise<Testpmd> {
  return await Testpmd.start('testpmd', {
    ports: sockets.map((path, i) => ({ path, mac: `00:00:00:00:00:0${i + 1}` })),
    core: GENERATOR_CORE,
    forwardMode: 'flowgen',
    memoryMb: 512,
    nMbufs: 65_536,
    args: [`--flowgen-flows=${nFlows}`, '--auto-start'],
  });
}

interface Rates {
  mpps: number;
  sentMpps: number;
  /** Seconds between the two looks at the counters. */
  elapsedS: number;
}

/** Looks at testpmd's counters twice. */
async function rates(generator: Testpmd, measureS: number): Promise<Rates> {
  const before = await generator.stats();
  const start = performance.now();
  await sleep(measureS * 1000);
  const after = await generator.stats();
  const elapsedS = (performance.now() - start) / 1000;
  const rate = (key: 'rxPackets' | 'txPackets') => (sum(after, key) - sum(before, key)) / elapsedS / 1e6;
  return { mpps: rate('rxPackets'), sentMpps: rate('txPackets'), elapsedS };
}

export async function measureThroughput(sw: BenchSwitch, nFlows: number, timing: Timing): Promise<Throughput> {
  const generator = await startGenerator([sw.socket(1), sw.socket(2)], nFlows);
  try {
    await sleep(timing.warmupS * 1000);
    const cpuBefore = sw.cpuSeconds();
    const { mpps, sentMpps, elapsedS } = await rates(generator, timing.measureS);
    const cpu = (sw.cpuSeconds() - cpuBefore) / elapsedS;
    const nMegaflows = await sw.nMegaflows();
    return { mpps, sentMpps, mppsPerCpu: mpps / cpu, cpu, nMegaflows, pmdStats: await sw.pmdStats() };
  } finally {
    await generator.quit();
  }
}

/** How fast the generator goes when nothing but DPDK's own vhost driver stands between its ports. */
export async function measureGeneratorAlone(nFlows: number, timing: Timing): Promise<Rates> {
  const forwarder = await startVhostForwarder(SWITCH_CORE);
  try {
    const generator = await startGenerator(forwarder.sockets, nFlows);
    try {
      await sleep(timing.warmupS * 1000);
      return await rates(generator, timing.measureS);
    } finally {
      await generator.quit();
    }
  } finally {
    await forwarder.stop();
  }
}
