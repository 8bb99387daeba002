/** The programs that send a row's traffic, behind one interface: packets sent and received so far, on one core. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { randomCommands, type Traffic } from '../traffic.ts';
import { GENERATOR_CORE } from './bench-switch.ts';
import { Running } from './process.ts';
import { Testpmd } from './testpmd.ts';

export interface Count {
  sent: number;
  received: number;
  receivedBytes: number;
}

export interface Generator {
  /** Packets of each port since it started. */
  counts(): Promise<Count[]>;
  stop(): Promise<void>;
}

/** Sends as fast as it can once this resolves. */
export function startGenerator(sockets: readonly string[], traffic: Traffic): Promise<Generator> {
  return traffic.generator === 'testpmd-flowgen'
    ? startFlowgen(sockets, traffic.nFlows, traffic.size)
    : startPktgen(sockets, traffic);
}

async function startFlowgen(sockets: readonly string[], nFlows: number, size: number): Promise<Generator> {
  const testpmd = await Testpmd.start('testpmd', {
    ports: sockets.map((path, i) => ({ path, mac: `00:00:00:00:00:0${i + 1}` })),
    core: GENERATOR_CORE,
    forwardMode: 'flowgen',
    memoryMb: 512,
    nMbufs: 65_536,
    args: [`--flowgen-flows=${nFlows}`, `--txpkts=${size}`, '--auto-start'],
  });
  return {
    counts: async () =>
      (await testpmd.stats()).map((port) => ({
        sent: port.txPackets,
        received: port.rxPackets,
        receivedBytes: port.rxBytes,
      })),
    stop: async () => void (await testpmd.quit()),
  };
}

const turnout = join(dirname(fileURLToPath(import.meta.url)), '../../bin/turnout');

/** Classic pcap, little endian, Ethernet: see src/base/pcap.ts. */
export function pcapOf(frames: readonly Uint8Array[]): Uint8Array {
  const size = frames.reduce((n, frame) => n + 16 + frame.length, 24);
  const file = new Uint8Array(size);
  const view = new DataView(file.buffer);
  view.setUint32(0, 0xa1b2c3d4, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, 65_535, true);
  view.setUint32(20, 1, true);
  let at = 24;
  for (const frame of frames) {
    view.setUint32(at + 8, frame.length, true);
    view.setUint32(at + 12, frame.length, true);
    file.set(frame, at + 16);
    at += 16 + frame.length;
  }
  return file;
}

/** The last line of a `page stats`: `total` and the sums. */
const TOTAL = /^ *total +\d.*$/m;

/** Reads the ports' lines of pktgen's `page stats`. */
export function parsePktgenPage(text: string): Count[] {
  return [...text.matchAll(/^ *\d+ +(?:up|down) +(\d+) +(\d+) +\d+ +(\d+) /gm)].map((match) => ({
    sent: Number(match[1]),
    received: Number(match[2]),
    receivedBytes: Number(match[3]),
  }));
}

async function startPktgen(
  sockets: readonly string[],
  traffic: Exclude<Traffic, { generator: 'testpmd-flowgen' }>,
): Promise<Generator> {
  const folder = mkdtempSync(join(tmpdir(), 'turnout-bench-'));
  const script = join(folder, 'script');
  const args = sockets.flatMap((path) => ['--port', path]);
  if (traffic.generator === 'pktgen-replay') {
    writeFileSync(join(folder, 'frames.pcap'), pcapOf(traffic.frames));
    args.push('--pcap', `0:${join(folder, 'frames.pcap')}`);
    writeFileSync(script, 'start 0\n');
  } else {
    writeFileSync(script, `${randomCommands(traffic.size).join('\n')}\n`);
  }
  const core = ['taskset', '-c', String(GENERATOR_CORE)];
  const running = await Running.start('pktgen', [...core, turnout, 'pktgen', ...args, '--script', script, '-i']);
  const stop = async () => {
    await running.stop('SIGTERM');
    rmSync(folder, { recursive: true, force: true });
  };
  const counts = async () => {
    const from = running.output.length;
    running.write('page stats');
    await running.waitFor(TOTAL, from);
    return parsePktgenPage(running.output.slice(from));
  };
  try {
    await counts();
  } catch (error) {
    await stop();
    throw error;
  }
  return { counts, stop };
}
