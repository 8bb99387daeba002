/** `turnout pktgen`: generates packets on virtio-user ports; flags, a script or a prompt say which. */
import { accessSync, constants, readFileSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { type PcapFrame, parsePcap } from '../base/pcap.ts';
import type { LcoreConfig } from '../virtio-user/lcore.ts';
import { lcoreConfig } from '../virtio-user/traffic-config.ts';
import { TrafficEngine } from '../virtio-user/traffic-engine.ts';
import { PKTGEN_USAGE, type PktgenOptions, parsePktgenOptions } from './pktgen-options.ts';
import { type PktgenReport, reportText } from './pktgen-report.ts';
import { PktgenSession } from './pktgen-session.ts';

const LINK_TIMEOUT_MS = 30_000;
/** What was sent last gets so long to come back, and this long without news ends the wait. */
const SETTLE_MS = 2000;
const QUIET_MS = 300;
const MAX_FRAME = 9600;

const sleepMs = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const complain = (text: string) => process.stderr.write(`pktgen: ${text}\n`);

/** Returns the exit code. */
export async function main(argv: string[]): Promise<number> {
  try {
    const options = parsePktgenOptions(argv);
    if (!options.help) return await new Pktgen(options).run();
    process.stdout.write(PKTGEN_USAGE);
    return 0;
  } catch (e) {
    complain((e as Error).message);
    return 1;
  }
}

function loadPcaps(options: PktgenOptions): Map<number, Uint8Array[]> {
  const replay = new Map<number, Uint8Array[]>();
  for (const [port, file] of options.pcaps) {
    if (port >= options.vdevs.length) throw new Error(`--pcap: there is no port ${port}`);
    const usable = (f: PcapFrame) => f.data.length >= 14 && f.data.length <= MAX_FRAME;
    const frames = parsePcap(new Uint8Array(readFileSync(file))).filter(usable);
    if (frames.length === 0) throw new Error(`${file}: no frames of 14 to ${MAX_FRAME} bytes`);
    replay.set(
      port,
      frames.map((f) => f.data),
    );
  }
  return replay;
}

class Pktgen {
  readonly #options: PktgenOptions;
  #engine!: TrafficEngine;
  #session!: PktgenSession;
  /** Resolves with an exit code when a signal or a failure ends the program early. */
  readonly #ended = Promise.withResolvers<number>();

  constructor(options: PktgenOptions) {
    this.#options = options;
  }

  async run(): Promise<number> {
    const options = this.#options;
    const replay = loadPcaps(options);
    // What can't be read shall not be found out when the links are up.
    for (const script of options.scripts) accessSync(script, constants.R_OK);
    const config = lcoreConfig({ ...options, replay });
    this.#engine = await TrafficEngine.start(config);
    try {
      return await this.#converse(config, new Set(replay.keys()));
    } finally {
      await this.#engine.quit();
    }
  }

  async #converse(config: LcoreConfig, replaying: ReadonlySet<number>): Promise<number> {
    const options = this.#options;
    this.#session = new PktgenSession(this.#engine, config.ports, {
      flows: options.flows,
      replaying,
    });
    this.#listen();
    const code = await Promise.race([this.#ended.promise, this.#work()]);
    if (options.json || options.run) this.#show(this.#session.report('final'));
    return code;
  }

  #listen(): void {
    const engine = this.#engine;
    engine.on('done', ({ port }) => this.#session.portDone(port));
    engine.on('broken', ({ port, reason }) => complain(`port ${port} stopped: ${reason}`));
    engine.on('link', ({ port, up, reason }) => {
      if (!up) complain(`port ${port}: link down (${reason})`);
    });
    engine.once('error', (e) => {
      complain(e.message);
      process.exit(1);
    });
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => this.#interrupted());
  }

  /** A signal ends the generation; a run by flags then still collects what comes back. */
  #interrupted(): void {
    const sending = this.#session.ports.some((p) => p.sending);
    void this.#session.execute('stp');
    if (!this.#options.run || !sending) this.#ended.resolve(0);
  }

  /** The whole program, after the ports are made. */
  async #work(): Promise<number> {
    const { commands, scripts } = this.#options;
    for (const command of commands) {
      const text = await this.#session.execute(command);
      if (text) throw new Error(text.trim());
    }
    const timer = this.#periodically();
    try {
      for (const script of scripts) if (!(await this.#script(script))) return 0;
      if (this.#options.run) await this.#generate();
      else if (scripts.length > 0 && !this.#options.interactive) await this.#session.idle();
      if (this.#options.interactive || (!this.#options.run && scripts.length === 0)) await this.#prompt();
      await this.#settle();
      return 0;
    } finally {
      clearInterval(timer);
    }
  }

  #periodically(): NodeJS.Timeout | undefined {
    const { statsPeriod } = this.#options;
    if (statsPeriod === 0) return undefined;
    return setInterval(() => this.#show(this.#session.report()), statsPeriod * 1000);
  }

  #show(report: PktgenReport): void {
    const text = this.#options.json ? `${JSON.stringify(report)}\n` : reportText(report);
    writeSync(this.#options.json ? this.#options.statsFd : 1, text);
  }

  /** False when the script says quit. */
  async #script(file: string): Promise<boolean> {
    await this.#linksUp();
    return this.#session.runScript(file, (text) => process.stdout.write(text));
  }

  async #linksUp(): Promise<void> {
    const deadline = performance.now() + LINK_TIMEOUT_MS;
    while (!this.#engine.linkUp.every((up) => up)) {
      if (performance.now() > deadline) {
        const down = this.#engine.linkUp.flatMap((up, i) => (up ? [] : [`${i} (${this.#options.vdevs[i]!.path})`]));
        throw new Error(`no link on port ${down.join(', ')}`);
      }
      await sleepMs(20);
    }
  }

  async #generate(): Promise<void> {
    await this.#linksUp();
    await this.#session.execute('start all');
    const { duration } = this.#options;
    const timer =
      duration === undefined ? undefined : setTimeout(() => void this.#session.execute('stp'), duration * 1000);
    await this.#session.idle();
    clearTimeout(timer);
  }

  /** Gives what is in flight time to come back. */
  async #settle(): Promise<void> {
    await this.#engine.sync();
    const until = performance.now() + SETTLE_MS;
    let [received, changedAt] = [-1n, performance.now()];
    while (performance.now() < until) {
      const all = this.#engine.allStats();
      const rx = all.reduce((n, s) => n + s.rxPackets, 0n);
      const tx = all.reduce((n, s) => n + s.txPackets, 0n);
      if (rx >= tx) return;
      if (rx !== received) [received, changedAt] = [rx, performance.now()];
      else if (performance.now() - changedAt > QUIET_MS) return;
      await sleepMs(10);
    }
  }

  /** Resolves at `quit` or the end of the input. */
  async #prompt(): Promise<void> {
    const terminal = process.stdin.isTTY === true;
    const lines = createInterface({
      input: process.stdin,
      ...(terminal && { output: process.stdout }),
      prompt: 'Turnout:/> ',
    });
    if (terminal) lines.prompt();
    for await (const line of lines) {
      const text = await this.#session.execute(line);
      if (text === undefined) break;
      process.stdout.write(text);
      if (terminal) lines.prompt();
    }
    lines.close();
  }
}
