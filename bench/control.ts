/**
 * The control plane of one switch: flow-mods a second in a bundle, what a bundle and a dump do to others' echo requests, and memory.
 * All by the real ovs-ofctl on the generator's core, over the bridge's management socket.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BenchSwitch, GENERATOR_CORE } from './peers/bench-switch.ts';
import { type Spread, spread } from './statistics.ts';

/** Of one fresh start. Times in milliseconds unless named otherwise. */
export interface Control {
  /** Flow-mods a second of `ovs-ofctl --bundle add-flows`, wall clock, the client's own work included. */
  flowModsPerSecond: number;
  /** The longest that an echo waited while the bundle ran. */
  bundleEcho: number;
  /** Proportional set size of the daemon's processes, in MiB: without flows, and with 100k. */
  memoryEmpty: number;
  memory100k: number;
  /** `ovs-ofctl dump-flows` of 200k flows, in seconds, and the longest that an echo waited. */
  dumpSeconds: number;
  dumpEcho: number;
  /** `ovs-vsctl show`, the median of some. */
  vsctlShow: number;
}

const BUNDLE = 100_000;
const SHOWS = 15;

function ruleset(from: number, count: number): string {
  let text = '';
  for (let i = from; i < from + count; i++) {
    const low = `${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`;
    text += `priority=${100 + (i % 7)},udp,in_port=${1 + (i & 1)},nw_src=10.${low},nw_dst=11.${low},tp_dst=${i % 5000} actions=output:${2 - (i & 1)}\n`;
  }
  return text;
}

const ECHO_REQUEST = Uint8Array.of(1, 2, 0, 8, 0, 0, 0, 1);
const ECHO_REPLY = 3;
const HELLO = Uint8Array.of(1, 0, 0, 8, 0, 0, 0, 1);
const ECHO_INTERVAL_MS = 2;

/** Asks again and again for an echo, one at a time; `longest` is the longest wait of an answered or open request. */
class EchoProbe {
  readonly #socket: Socket;
  #stopped = false;
  #asked = 0;
  #longest = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    let buffered: Buffer = Buffer.alloc(0);
    socket.on('data', (data: Buffer) => {
      buffered = Buffer.concat([buffered, data]);
      while (buffered.length >= 8 && buffered.length >= buffered.readUInt16BE(2)) {
        if (buffered[1] === ECHO_REPLY) void this.#answered();
        buffered = buffered.subarray(buffered.readUInt16BE(2));
      }
    });
    socket.write(HELLO);
    this.#ask();
  }

  static async start(path: string): Promise<EchoProbe> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new EchoProbe(socket);
  }

  #ask(): void {
    this.#asked = performance.now();
    this.#socket.write(ECHO_REQUEST);
  }

  async #answered(): Promise<void> {
    this.#longest = Math.max(this.#longest, performance.now() - this.#asked);
    await sleep(ECHO_INTERVAL_MS);
    if (!this.#stopped) this.#ask();
  }

  stop(): number {
    this.#stopped = true;
    this.#socket.destroy();
    return this.#longest;
  }
}

/** How long `what` takes, in milliseconds, and the longest that an echo waited meanwhile. */
async function withEchos(sw: BenchSwitch, what: () => Promise<unknown>): Promise<{ took: number; longest: number }> {
  const probe = await EchoProbe.start(join(sw.rundir, 'br0.mgmt'));
  await sleep(50);
  const began = performance.now();
  await what();
  return { took: performance.now() - began, longest: probe.stop() };
}

const memoryMib = (sw: BenchSwitch): number => sw.memoryBytes() / 1024 / 1024;

export async function measureControl(sw: BenchSwitch): Promise<Control> {
  const onCore = ['taskset', '-c', String(GENERATOR_CORE)];
  const ofctl = (...args: string[]) => sw.run(...onCore, 'ovs-ofctl', ...args);
  const file = join(sw.rundir, 'flows');
  writeFileSync(file, ruleset(0, BUNDLE));
  await ofctl('del-flows', 'br0');
  const memoryEmpty = memoryMib(sw);
  const bundle = await withEchos(sw, () => ofctl('--bundle', 'add-flows', 'br0', file));
  const memory100k = memoryMib(sw);
  writeFileSync(file, ruleset(BUNDLE, BUNDLE));
  await ofctl('add-flows', 'br0', file);
  const dumped = join(sw.rundir, 'dumped');
  // Into a file: this process would be busy with the text, and late for the echos.
  const dump = await withEchos(sw, () => sw.run(...onCore, 'sh', '-c', 'ovs-ofctl dump-flows br0 >"$0"', dumped));
  const shows: number[] = [];
  for (let i = 0; i < SHOWS; i++) {
    const began = performance.now();
    await sw.run(...onCore, sw.vsctl, 'show');
    shows.push(performance.now() - began);
  }
  const lines = readFileSync(dumped, 'utf8').split('cookie=').length - 1;
  if (lines !== 2 * BUNDLE) throw new Error(`${sw.name}: ${lines} flows of ${2 * BUNDLE} were dumped`);
  return {
    flowModsPerSecond: (BUNDLE / bundle.took) * 1000,
    bundleEcho: bundle.longest,
    memoryEmpty,
    memory100k,
    dumpSeconds: dump.took / 1000,
    dumpEcho: dump.longest,
    vsctlShow: spread(shows).median,
  };
}

export type ControlSpreads = { [K in keyof Control]: Spread };

/** Each figure's spread over the starts. */
export function controlSpreads(runs: readonly Control[]): ControlSpreads {
  const keys = Object.keys(runs[0]) as (keyof Control)[];
  return Object.fromEntries(keys.map((key) => [key, spread(runs.map((run) => run[key]))])) as ControlSpreads;
}
