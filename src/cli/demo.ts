/**
 * `turnout demo` (npm start): the switch with its own database, `pktgen` on its ports 1 and 2, `testpmd` on 3 and 4, each a program of
 * its own joined by vhost-user; live counters, and a report in which every packet is accounted for.
 *
 *     pktgen 0 ── vhost-user1 ─┐                ┌─ vhost-user4 ── testpmd 1
 *                              ├── ovs-br0 ─────┤      │ forwards 0 ↔ 1
 *     pktgen 1 ── vhost-user2 ─┘  1↔4, 2↔3      └─ vhost-user3 ── testpmd 0
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { strerror } from '../base/errno.ts';
import { DEMO_USAGE, type DemoOptions, parseDemoOptions } from './demo-options.ts';
import { DemoProcess } from './demo-process.ts';
import {
  cutLine,
  type DemoReport,
  type DemoSample,
  type ForwarderCounters,
  liveTable,
  makeDemoReport,
  makeStyle,
  progressLine,
  reportLines,
} from './demo-report.ts';
import { DemoSwitch, type SwitchCounters } from './demo-switch.ts';
import type { PktgenReport } from './pktgen-report.ts';

/** Frames that the default run keeps in flight: fewer than the smallest ring holds, so that no stall can overflow one. */
const WINDOW = 512;
const DEFAULT_RATE = 1;
const PERIOD_MS = 500;
const SET_UP_TIMEOUT_MS = 60_000;
/** The switch writes its statistics into the database every 5 s. */
const STATISTICS_MS = 12_000;
/** How long packets may be on their way, or uncounted, before they are missing. */
const SETTLE_MS = 20_000;

/** `sun_path` without its final zero. */
const MAX_SOCKET_PATH = 107;

const sleepMs = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Returns the exit code: 0 when every packet is accounted for, 130 after Ctrl-C. */
export async function main(argv: string[]): Promise<number> {
  let options: DemoOptions;
  try {
    options = parseDemoOptions(argv);
  } catch (e) {
    process.stderr.write(`turnout demo: ${(e as Error).message}\n`);
    return 1;
  }
  if (options.help) {
    process.stdout.write(DEMO_USAGE);
    return 0;
  }
  let demo: Demo;
  try {
    demo = new Demo(options, makeRundir());
  } catch (e) {
    process.stderr.write(`turnout demo: ${(e as Error).message}\n`);
    return 1;
  }
  const interrupted = Promise.withResolvers<number>();
  process.once('SIGINT', () => interrupted.resolve(130));
  process.once('SIGTERM', () => interrupted.resolve(143));
  process.once('SIGHUP', () => interrupted.resolve(129));
  const ran = demo.run().catch((e: Error) => {
    process.stderr.write(`turnout demo: ${e.message}\n`);
    return 1;
  });
  const code = await Promise.race([ran, interrupted.promise]);
  await demo.stop();
  return code;
}

/** A folder of the demo's own for its sockets. Throws where there is no place for one. */
function makeRundir(): string {
  // The six characters that mkdtemp puts there, and the longest of the sockets.
  const longest = join(tmpdir(), 'turnout-demo-XXXXXX/vhost-user1');
  if (Buffer.byteLength(longest) > MAX_SOCKET_PATH) {
    throw new Error(`${tmpdir()} is too long for the path of a socket: set TMPDIR to a shorter folder`);
  }
  try {
    return mkdtempSync(join(tmpdir(), 'turnout-demo-'));
  } catch (e) {
    throw new Error(`cannot make a folder in ${tmpdir()} (${strerror(e)}): set TMPDIR to one that can be written`);
  }
}

class Demo {
  readonly #options: DemoOptions;
  readonly #rundir: string;
  readonly #processes: DemoProcess[] = [];
  readonly #style = makeStyle(process.stdout.isTTY === true);
  #switch: DemoSwitch | undefined;
  #stopping = false;
  #pktgenReport: PktgenReport | undefined;
  #forwarder: ForwarderCounters = { rxPackets: 0, txPackets: 0, txDropped: 0 };
  /** Lines of the live table on the screen. */
  #drawn = 0;

  constructor(options: DemoOptions, rundir: string) {
    this.#options = options;
    this.#rundir = rundir;
    process.env.OVS_RUNDIR = this.#rundir;
  }

  #say(text: string): void {
    if (!this.#options.json) process.stdout.write(`${text}\n`);
  }

  #start(name: string, args: readonly string[]): DemoProcess {
    const child = new DemoProcess(name, args);
    this.#processes.push(child);
    return child;
  }

  /** Rejects when `child` ends before the demo wants it to. */
  async #diesEarly(child: DemoProcess): Promise<never> {
    const code = await child.ended;
    if (this.#stopping) return new Promise<never>(() => {});
    throw new Error(`${child.name} ended with code ${code}:\n${child.lastWords}`);
  }

  async run(): Promise<number> {
    const started = performance.now();
    this.#say(`${this.#style.bold('turnout demo')}  switch, generator and forwarder in ${this.#rundir}`);
    const up = this.#start('the switch', ['up', '--rundir', this.#rundir, '--foreground']);
    const upEnded = this.#diesEarly(up);
    const late = this.#tooLate(up);
    this.#switch = await Promise.race([this.#setUpSwitch(up), upEnded, late]);
    const testpmd = this.#startTestpmd();
    await Promise.race([this.#forwarderReady(testpmd), upEnded, late]);
    this.#say(this.#style.dim(`  ready after ${((performance.now() - started) / 1000).toFixed(1)} s`));
    const early = [upEnded, this.#diesEarly(testpmd)];
    for (const promise of early) promise.catch(() => {});
    const report = await Promise.race([this.#traffic(testpmd), ...early]);
    return this.#conclude(report);
  }

  /** Rejects when setting up takes too long. */
  #tooLate(up: DemoProcess): Promise<never> {
    return new Promise((_, reject) => {
      const fail = () => reject(new Error(`the switch did not get ready:\n${up.lastWords}`));
      setTimeout(fail, SET_UP_TIMEOUT_MS).unref();
    });
  }

  /** The database must be there before the client asks for it, else it backs off. */
  async #setUpSwitch(up: DemoProcess): Promise<DemoSwitch> {
    await new Promise<void>((resolve) => up.onLine((line) => line.includes('running in') && resolve()));
    return DemoSwitch.setUp(this.#rundir);
  }

  #vdev(n: number): string {
    return `net_virtio_user${n},path=${this.#rundir}/vhost-user${n},queue_size=1024`;
  }

  #startTestpmd(): DemoProcess {
    const args = ['--vdev', this.#vdev(3), '--vdev', this.#vdev(4), '--', '--forward-mode=io', '-i', '-a'];
    const testpmd = this.#start('testpmd', ['testpmd', ...args]);
    testpmd.onLine((line) => this.#readForwardStats(line));
    return testpmd;
  }

  /** Until both of testpmd's links are up, the switch would drop what is sent to it. */
  #forwarderReady(testpmd: DemoProcess): Promise<void> {
    let up = 0;
    return new Promise((resolve) => {
      testpmd.onLine((line) => {
        if (/^Port \d: link state change event: up$/.test(line) && ++up === 2) resolve();
      });
    });
  }

  #inTotal = false;

  /** Picks the accumulated block out of `show fwd stats all`. */
  #readForwardStats(line: string): void {
    if (line.includes('Accumulated forward statistics')) this.#inTotal = true;
    const match = /^ {2}(RX|TX)-packets: (\d+) +(?:RX|TX)-dropped: (\d+)/.exec(line);
    if (!match || !this.#inTotal) return;
    if (match[1] === 'RX') this.#forwarder.rxPackets = Number(match[2]);
    else {
      this.#forwarder.txPackets = Number(match[2]);
      this.#forwarder.txDropped = Number(match[3]);
      this.#inTotal = false;
    }
  }

  #pktgenArgs(): string[] {
    const { rate, count, duration, flows, size } = this.#options;
    const args = ['--vdev', this.#vdev(1), '--vdev', this.#vdev(2), '--json', '--stats-period', '0.25'];
    args.push('--rate', String(rate ?? DEFAULT_RATE), '--flows', String(flows), '--size', String(size));
    if (rate === undefined) args.push('--window', String(WINDOW));
    if (count === undefined) args.push('--duration', String(duration));
    else args.push('--count', String(count));
    return args;
  }

  /** Runs the generator to its end, showing counters; resolves with the report. */
  async #traffic(testpmd: DemoProcess): Promise<DemoReport> {
    const pktgen = this.#start('pktgen', ['pktgen', ...this.#pktgenArgs()]);
    pktgen.onLine((line) => {
      if (line.startsWith('{')) this.#pktgenReport = JSON.parse(line) as PktgenReport;
    });
    const first = await this.#sample(testpmd);
    let before = first;
    this.#show(first, first);
    while (pktgen.running) {
      await Promise.race([sleepMs(PERIOD_MS), pktgen.ended]);
      const now = await this.#sample(testpmd);
      this.#show(now, before);
      before = now;
    }
    const code = await pktgen.ended;
    if (code !== 0) throw new Error(`pktgen ended with code ${code}:\n${pktgen.lastWords}`);
    return this.#close(testpmd, first);
  }

  async #sample(testpmd: DemoProcess): Promise<DemoSample> {
    testpmd.write('show fwd stats all\n');
    const counters = await this.#switch!.counters();
    return {
      seconds: this.#pktgenReport?.seconds ?? 0,
      pktgen: this.#pktgenReport,
      forwarder: { ...this.#forwarder },
      counters,
      drops: this.#drops(counters),
    };
  }

  /** Every place where a packet can end, by name. */
  #drops(counters: SwitchCounters): Map<string, number> {
    const drops = this.#switch!.drops();
    drops.set('switch miss with failed upcall', counters.failedUpcalls);
    drops.set('testpmd tx ring full', this.#forwarder.txDropped);
    drops.set('pktgen tx aborted', this.#pktgenReport?.total.tx_aborted ?? 0);
    return drops;
  }

  /** After the traffic: the last counters of everybody, and in the table the rates over the whole run. */
  async #close(testpmd: DemoProcess, first: DemoSample): Promise<DemoReport> {
    await sleepMs(100);
    let last = await this.#sample(testpmd);
    // Of a machine that is too busy some packets are still on their way; testpmd's answer is seen a sample later.
    for (const end = performance.now() + SETTLE_MS; makeDemoReport(last).unaccounted !== 0; ) {
      if (performance.now() >= end) break;
      await this.#switch!.caughtUp(last.counters, STATISTICS_MS);
      await sleepMs(100);
      last = await this.#sample(testpmd);
    }
    this.#show(last, first, 1);
    return makeDemoReport(last);
  }

  #fraction(s: DemoSample): number {
    const { count, duration } = this.#options;
    if (count === undefined) return Math.min(1, s.seconds / duration);
    return Math.min(1, (s.pktgen?.total.tx_packets ?? 0) / (count * 2));
  }

  #show(now: DemoSample, before: DemoSample, fraction = this.#fraction(now)): void {
    if (this.#options.json || this.#stopping) return;
    if (!process.stdout.isTTY) {
      this.#say(progressLine(now, before));
      return;
    }
    const title = `ovs-br0   pktgen → vhost-user1,2 → flows 1↔4, 2↔3 → vhost-user4,3 → testpmd, and back`;
    const lines = liveTable(now, before, fraction, title, this.#style);
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : '';
    process.stdout.write(`${up}${lines.map((l) => `\x1b[2K${cutLine(l, process.stdout.columns || 80)}\n`).join('')}`);
    this.#drawn = lines.length;
  }

  #conclude(report: DemoReport): number {
    if (this.#options.json) process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
    else this.#say(`\n${reportLines(report, this.#style).join('\n')}`);
    return report.unaccounted === 0 && report.received > 0 ? 0 : 1;
  }

  /** Ends everything that was started, the switch last, and removes its folder. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#switch?.close();
    for (const child of this.#processes.reverse()) await child.stop();
    rmSync(this.#rundir, { recursive: true, force: true });
  }
}
