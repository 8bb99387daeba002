/** The commands of pktgen's prompt and scripts, after pktgen-dpdk's. Knows no terminal: takes lines, gives text. */
import { readFileSync } from 'node:fs';
import type { LcorePort } from '../virtio-user/lcore.ts';
import { type PortStats, subtractStats } from '../virtio-user/port-stats.ts';
import { PktgenError, PktgenPort } from './pktgen-port.ts';
import { mainPageText, makeReport, type PktgenReport, reportText } from './pktgen-report.ts';
import type { Traffic } from './testpmd-session.ts';

const sleepMs = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
/** Scripts that load themselves. */
const MAX_DEPTH = 16;

export interface PktgenSessionOptions {
  flows: number;
  /** Ports that replay a capture. */
  replaying: ReadonlySet<number>;
  nowMs?: () => number;
}

export class PktgenSession {
  readonly ports: readonly PktgenPort[];
  readonly #traffic: Traffic;
  readonly #paths: readonly string[];
  readonly #nowMs: () => number;
  #cleared: PortStats[];
  #last: { at: number; stats: PortStats[] };
  #started: { at: number; stats: PortStats[] };
  #idleAt: number;
  #onIdle: (() => void)[] = [];

  constructor(traffic: Traffic, ports: readonly LcorePort[], options: PktgenSessionOptions) {
    this.#traffic = traffic;
    this.#paths = ports.map((p) => p.vdev.path);
    this.#nowMs = options.nowMs ?? (() => performance.now());
    this.ports = ports.map((p, i) => {
      const port = new PktgenPort(i, p.mac, options.flows);
      port.replaying = options.replaying.has(i);
      return port;
    });
    this.#cleared = this.#read();
    this.#idleAt = this.#nowMs();
    this.#started = { at: this.#idleAt, stats: this.#read() };
    this.#last = this.#started;
  }

  #read(): PortStats[] {
    return this.ports.map((_, i) => this.#traffic.stats(i));
  }

  /** Runs one line; returns what to print, or undefined when the session ends. Errors of the line become its text. */
  async execute(line: string): Promise<string | undefined> {
    try {
      return await this.#run(line, 0);
    } catch (e) {
      return `${(e as Error).message}\n`;
    }
  }

  /** Runs a script's lines; false when it says quit. Throws PktgenError with the line's number. */
  async runScript(file: string, print: (text: string) => void, depth = 0): Promise<boolean> {
    if (depth > MAX_DEPTH) throw new PktgenError(`load: ${file}: too many scripts in each other`);
    for (const [i, line] of readFileSync(file, 'utf8').split('\n').entries()) {
      const text = await this.#run(line, depth).catch((e: Error) => {
        throw new PktgenError(`${file}:${i + 1}: ${e.message}`);
      });
      if (text === undefined) return false;
      if (text !== '') print(text);
    }
    return true;
  }

  async #load(file: string | undefined, depth: number): Promise<string | undefined> {
    if (file === undefined) throw new PktgenError('load: which file?');
    let output = '';
    const goOn = await this.runScript(file, (text) => (output += text), depth + 1);
    return goOn ? output : undefined;
  }

  async #run(line: string, depth: number): Promise<string | undefined> {
    const words = line.replace(/#.*/, '').trim().split(/\s+/);
    const [verb, ...rest] = words;
    switch (verb) {
      case '':
        return '';
      case 'quit':
      case 'q':
      case 'exit':
        return undefined;
      case 'load':
        return this.#load(rest[0], depth);
      case 'sleep':
        await sleepMs(Number(rest[0]) * 1000);
        return '';
      case 'delay':
        await sleepMs(Number(rest[0]));
        return '';
      case 'wait':
        await this.idle();
        return '';
      default:
        return this.#command(verb!, rest);
    }
  }

  #command(verb: string, rest: string[]): string {
    switch (verb) {
      case 'set':
        return this.#set(rest);
      case 'range':
        return this.#each(rest[0], (p) => p.setRange(rest.slice(1)));
      case 'enable':
      case 'disable':
        return this.#each(rest[0], (p) => p.enable(rest[1], verb === 'enable'));
      case 'start':
        return this.#each(rest[0] ?? 'all', (p) => this.#start(p));
      case 'str':
        return this.#each('all', (p) => this.#start(p));
      case 'stop':
        return this.#each(rest[0] ?? 'all', (p) => this.#stop(p));
      case 'stp':
        return this.#each('all', (p) => this.#stop(p));
      case 'clr':
        return this.#each('all', (p) => this.#clear(p));
      case 'clear':
        return this.#each(rest[0] ?? 'all', (p) => this.#clear(p));
      case 'page':
      case 'show':
        return this.#page(rest.filter((w) => !/^(all|port|\d+)$/.test(w))[0] ?? 'stats');
      case 'help':
        return HELP;
      default:
        throw new PktgenError(`${verb}: command not found; try help`);
    }
  }

  /** `set PORTS what value`; also the older `set ip|mac src|dst PORTS value` and `set mac PORTS value`. */
  #set(words: string[]): string {
    const [a, b, c, d] = words;
    if (a === 'ip' && (b === 'src' || b === 'dst')) return this.#each(c, (p) => p.set([b, 'ip', d ?? '']));
    if (a === 'mac') return this.#each(b, (p) => p.set(['dst', 'mac', c ?? '']));
    return this.#each(a, (p) => p.set(words.slice(1)));
  }

  #each(list: string | undefined, action: (port: PktgenPort) => void): string {
    for (const port of this.#portList(list)) action(port);
    return '';
  }

  /** `all`, `0`, `0,2`, `0-3`. */
  #portList(list: string | undefined): PktgenPort[] {
    if (list === 'all') return [...this.ports];
    const numbers = (list ?? '').split(',').flatMap((part) => {
      const match = /^(\d+)(?:-(\d+))?$/.exec(part);
      if (!match) throw new PktgenError(`${list ?? 'nothing'}: not a list of ports`);
      const first = Number(match[1]);
      const last = Number(match[2] ?? first);
      if (last >= this.ports.length || first > last)
        throw new PktgenError(`${part}: there are ports 0 to ${this.ports.length - 1}`);
      return Array.from({ length: last - first + 1 }, (_, i) => first + i);
    });
    return numbers.map((n) => this.ports[n]!);
  }

  #start(port: PktgenPort): void {
    if (!this.ports.some((p) => p.sending)) {
      this.#started = { at: this.#nowMs(), stats: this.#read() };
      this.#last = this.#started;
    }
    for (const command of port.startCommands()) this.#traffic.send(command);
  }

  #stop(port: PktgenPort): void {
    for (const command of port.stopCommands()) this.#traffic.send(command);
    this.#wakeIdle();
  }

  /** The lcore has sent a port's count. */
  portDone(number: number): void {
    this.ports[number]!.sending = false;
    this.#wakeIdle();
  }

  #wakeIdle(): void {
    if (this.ports.some((p) => p.sending)) return;
    this.#idleAt = this.#nowMs();
    for (const wake of this.#onIdle.splice(0)) wake();
  }

  /** Resolves when no port sends. */
  idle(): Promise<void> {
    if (!this.ports.some((p) => p.sending)) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  #clear(port: PktgenPort): void {
    this.#cleared[port.number] = this.#traffic.stats(port.number);
  }

  /** Counters since `clr`, rates since the last report; of the final one, over the time of generation. */
  report(type: PktgenReport['type'] = 'stats'): PktgenReport {
    const at = this.#nowMs();
    const stats = this.#read();
    const from = type === 'final' ? this.#started : this.#last;
    this.#last = { at, stats };
    const samples = stats.map((now, i) => ({
      path: this.#paths[i]!,
      linkUp: this.#traffic.linkUp[i]!,
      now: subtractStats(now, this.#cleared[i]!),
      before: subtractStats(from.stats[i]!, this.#cleared[i]!),
    }));
    const until = this.ports.some((p) => p.sending) ? at : Math.max(this.#idleAt, this.#started.at);
    const seconds = type === 'final' ? until - from.at : at - from.at;
    return makeReport(type, samples, seconds / 1000, (until - this.#started.at) / 1000);
  }

  #page(name: string): string {
    if (name === 'stats') return reportText(this.report());
    if (name === 'main' || name === 'range' || name === 'config')
      return mainPageText(this.ports.map((p) => p.describe()));
    throw new PktgenError(`page: ${name} is not stats, main or range`);
  }
}

const HELP = `PORTS is all, 0, 0,1 or 0-3. Sizes count the FCS; a rate is a percentage of 10 Gbit/s line rate, 100: as fast as it goes.
set PORTS rate PERCENT | pps N | count N (0: for ever) | size BYTES
set PORTS src|dst mac|ip ADDRESS    sport|dport N    proto udp|tcp|icmp    type ipv4|ipv6    ttl N    vlan N    flows N
range PORTS src|dst mac|ip|port START MIN MAX INC      also: size, vlan, ttl; or: … start|min|max|inc VALUE
enable|disable PORTS range|vlan
start|stop PORTS                    str, stp: all of them
clr, clear PORTS                    counters to zero
page stats|main, show               counters, settings
wait                                until every count is sent
sleep SECONDS, delay MS, load FILE, quit
`;
