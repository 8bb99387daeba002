/** A switch with two connected ports and nothing to do: its CPU, and how long the first packet after the silence takes. */
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type BenchSwitch, GENERATOR_CORE, SWITCH_CORE } from './peers/bench-switch.ts';
import { Running } from './peers/process.ts';
import { startVhostForwarder } from './peers/vhost-pmd.ts';
import { type Spread, spread } from './statistics.ts';

export interface Idle {
  /** CPU time of the switch's process divided by the time of each silence. */
  cpu: Spread;
  /** Microseconds from send to arrival of the first packet after each silence. */
  firstPacketUs: Spread;
  firstPacketsUs: number[];
}

const program = join(dirname(fileURLToPath(import.meta.url)), 'peers/first-packet-probe.ts');

async function startProbe(sockets: [string, string]): Promise<Running> {
  const node = [
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    '--no-liftoff',
    '--no-wasm-lazy-compilation',
  ];
  const probe = await Running.start('first-packet-probe', [
    'taskset',
    '-c',
    String(GENERATOR_CORE),
    ...node,
    program,
    ...sockets,
  ]);
  try {
    await probe.waitFor(/^ready$/m);
    return probe;
  } catch (error) {
    await probe.stop('SIGKILL');
    throw error;
  }
}

/** One packet's time in microseconds. */
async function sendOne(probe: Running): Promise<number> {
  const from = probe.output.length;
  probe.write('');
  return Number((await probe.waitFor(/^([\d.]+|Infinity)$/m, from))[1]);
}

/** `nSamples` silences of `silenceS` each, after packets that warm everything up. */
export async function measureIdle(sw: BenchSwitch, nSamples: number, silenceS: number): Promise<Idle> {
  const probe = await startProbe([sw.socket(1), sw.socket(2)]);
  try {
    for (let i = 0; i < 20; i += 1) await sendOne(probe);
    const cpus: number[] = [];
    const times: number[] = [];
    for (let i = 0; i < nSamples; i += 1) {
      const [cpuBefore, start] = [sw.cpuSeconds(), performance.now()];
      await sleep(silenceS * 1000);
      cpus.push(((sw.cpuSeconds() - cpuBefore) * 1000) / (performance.now() - start));
      times.push(await sendOne(probe));
    }
    return { cpu: spread(cpus), firstPacketUs: spread(times), firstPacketsUs: times };
  } finally {
    await probe.stop('SIGKILL');
  }
}

/** The same probe on a forwarder that polls all the time: what of the time is the probe's own. */
export async function measureProbeFloor(nSamples: number): Promise<Spread> {
  const forwarder = await startVhostForwarder(SWITCH_CORE);
  try {
    const probe = await startProbe(forwarder.sockets);
    try {
      const times: number[] = [];
      for (let i = 0; i < nSamples; i += 1) {
        await sleep(200);
        times.push(await sendOne(probe));
      }
      return spread(times);
    } finally {
      await probe.stop('SIGKILL');
    }
  } finally {
    await forwarder.stop();
  }
}
