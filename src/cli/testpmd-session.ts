/** The commands of testpmd's prompt, on top of an lcore. Knows no terminal: takes lines, gives text. */
import { parseIp } from '../virtio-user/address.ts';
import type { ForwardMode, Stream } from '../virtio-user/driver.ts';
import { buildTemplate, type FrameSpec, flowsRange, type Range } from '../virtio-user/frame.ts';
import { MAX_BURST } from '../virtio-user/kernel/layout.ts';
import type { LcoreCommand, LcorePort } from '../virtio-user/lcore.ts';
import { type PortStats, subtractStats } from '../virtio-user/port-stats.ts';
import { isForwardMode, parseNumber, type TestpmdOptions, type Topology } from './testpmd-options.ts';
import * as report from './testpmd-report.ts';

/** What a session needs of TrafficEngine. */
export interface Traffic {
  readonly nPorts: number;
  readonly linkUp: readonly boolean[];
  send(command: LcoreCommand): void;
  /** Resolves when all that was sent is obeyed. */
  sync(): Promise<void>;
  stats(port: number): PortStats;
}

/** Which port feeds which, as testpmd's --port-topology has it. */
export function streamsOf(nPorts: number, topology: Topology, mode: ForwardMode): Stream[] {
  const txOf = (rx: number) => {
    if (topology === 'loop' || mode === 'icmpecho') return rx;
    if (topology === 'chained') return (rx + 1) % nPorts;
    const pair = rx ^ 1;
    return pair < nPorts ? pair : rx;
  };
  return Array.from({ length: nPorts }, (_, rx) => ({ rx, tx: txOf(rx) }));
}

/** A command line that testpmd refuses. */
class BadArguments extends Error {
  override message = 'Bad arguments';
}

export class TestpmdSession {
  readonly #traffic: Traffic;
  readonly #ports: readonly LcorePort[];
  readonly #options: TestpmdOptions;
  readonly #nowMs: () => number;
  #mode: ForwardMode;
  #burst: number;
  #txSize: number;
  running = false;
  #cleared: PortStats[];
  #shown: { at: number; stats: PortStats }[];
  /** Counters at `start` or `clear fwd stats`. */
  #forwardFrom: PortStats[];

  constructor(traffic: Traffic, ports: readonly LcorePort[], options: TestpmdOptions, nowMs = () => performance.now()) {
    this.#traffic = traffic;
    this.#ports = ports;
    this.#options = options;
    this.#nowMs = nowMs;
    this.#mode = options.mode;
    this.#burst = options.burst;
    this.#txSize = options.txSize;
    this.#cleared = this.#read();
    this.#forwardFrom = this.#read();
    this.#shown = this.#cleared.map((stats) => ({ at: nowMs(), stats }));
  }

  #read(): PortStats[] {
    return Array.from({ length: this.#traffic.nPorts }, (_, i) => this.#traffic.stats(i));
  }

  get #streams(): Stream[] {
    return streamsOf(this.#traffic.nPorts, this.#options.topology, this.#mode);
  }

  /** Runs one line; returns what to print, or undefined when the session ends. */
  async execute(line: string): Promise<string | undefined> {
    const words = line.trim().split(/\s+/);
    if (words[0] === 'quit') return undefined;
    try {
      return await this.#dispatch(words);
    } catch (e) {
      return `${(e as Error).message}\n`;
    }
  }

  #dispatch(words: string[]): string | Promise<string> {
    const [verb, ...rest] = words;
    switch (verb) {
      case '':
        return '';
      case 'start':
        return this.#startCommand(rest);
      case 'stop':
        return this.stop();
      case 'show':
        return this.#show(rest);
      case 'clear':
        return this.#clear(rest);
      case 'set':
        return this.#set(rest);
      case 'help':
        return HELP;
      default:
        return 'Command not found\n';
    }
  }

  #startCommand(words: string[]): string {
    if (words.length === 0) return this.start(0);
    if (words[0] !== 'tx_first') throw new BadArguments();
    return this.start(words[1] === undefined ? 1 : parseNumber('tx_first', words[1], 1, 10000));
  }

  /** Starts forwarding, after `txFirst` bursts on each port. */
  start(txFirst: number): string {
    if (this.running) return 'Packet forwarding already started\n';
    this.running = true;
    this.#forwardFrom = this.#read();
    for (let port = 0; port < this.#traffic.nPorts; port++) this.#sendTemplate(port);
    this.#traffic.send({ kind: 'burst', burst: this.#burst });
    this.#traffic.send({ kind: 'forward', mode: this.#mode, streams: this.#streams, txFirst });
    const text = report.streamsText(this.#mode, this.#traffic.nPorts, this.#streams, (p) => this.#ports[p]!.peerMac);
    return `${text}  ${this.#mode} packet forwarding packets/burst=${this.#burst}\n`;
  }

  /** txonly's frame: addresses of RFC 2544's block, the discard port. flowgen varies the destination. */
  #sendTemplate(port: number): void {
    const spec: FrameSpec = {
      srcMac: this.#ports[port]!.mac,
      dstMac: this.#ports[port]!.peerMac,
      srcIp: parseIp('198.18.0.1'),
      dstIp: parseIp('198.18.0.2'),
      proto: 'udp',
      sport: 9,
      dport: 9,
      ttl: 64,
      tos: 0,
      size: this.#txSize,
    };
    const flows: Range[] = [];
    if (this.#mode === 'flowgen') {
      flows.push({ ...flowsRange({ ...spec, srcIp: spec.dstIp }, this.#options.flows), field: 'dst ip' });
    }
    this.#traffic.send({ kind: 'template', port, template: buildTemplate(spec, flows) });
  }

  async stop(): Promise<string> {
    if (!this.running) return 'Packet forwarding not started\n';
    this.running = false;
    this.#traffic.send({ kind: 'stop' });
    await this.#traffic.sync();
    const text = report.forwardStatsText(this.#forwarded());
    return `Telling cores to stop...\nWaiting for lcores to finish...\n${text}\nDone.\n`;
  }

  #forwarded(): PortStats[] {
    return this.#read().map((s, i) => subtractStats(s, this.#forwardFrom[i]!));
  }

  /** `all` or one port's number. */
  #portList(word: string | undefined): number[] {
    if (word === 'all') return Array.from({ length: this.#traffic.nPorts }, (_, i) => i);
    const port = Number(word);
    if (word === undefined || !Number.isInteger(port)) throw new BadArguments();
    if (port < 0 || port >= this.#traffic.nPorts) throw new Error(`Invalid port ${word}`);
    return [port];
  }

  #show(words: string[]): string {
    const [a, b, c] = words;
    if (a === 'port' && b === 'stats') return this.nicStats(this.#portList(c));
    if (a === 'port' && b === 'info') return this.#infos(this.#portList(c));
    if (a === 'port' && b === 'summary') return report.portSummaryText(this.#portList(c).map((p) => this.#info(p)));
    if (a === 'fwd' && b === 'stats' && c === 'all') return report.forwardStatsText(this.#forwarded());
    if (a === 'config' && b === 'fwd') {
      const peer = (p: number) => this.#ports[p]!.peerMac;
      return report.streamsText(this.#mode, this.#traffic.nPorts, this.#streams, peer);
    }
    throw new BadArguments();
  }

  /** `show port stats`; the throughput is that since the last call for the port. */
  nicStats(ports = this.#portList('all')): string {
    return ports.map((port) => this.#nicStatsOf(port)).join('');
  }

  #nicStatsOf(port: number): string {
    const stats = this.#traffic.stats(port);
    const at = this.#nowMs();
    const last = this.#shown[port]!;
    this.#shown[port] = { at, stats };
    const speed = report.throughput(stats, last.stats, (at - last.at) / 1000);
    return report.nicStatsText(port, subtractStats(stats, this.#cleared[port]!), speed);
  }

  #info(port: number): report.PortInfo {
    return { ...this.#ports[port]!, linkUp: this.#traffic.linkUp[port]! };
  }

  #infos(ports: number[]): string {
    return ports.map((port) => report.portInfoText(port, this.#info(port))).join('');
  }

  #clear(words: string[]): string {
    const [a, b, c] = words;
    if (a === 'fwd' && b === 'stats' && c === 'all') {
      this.#forwardFrom = this.#read();
      return '';
    }
    if (a !== 'port' || b !== 'stats') throw new BadArguments();
    const ports = this.#portList(c);
    for (const port of ports) this.#cleared[port] = this.#traffic.stats(port);
    return ports.map((port) => `\n  NIC statistics for port ${port} cleared\n`).join('');
  }

  #set(words: string[]): string {
    const [what, value] = words;
    if (value === undefined) throw new BadArguments();
    if (what === 'fwd') return this.#setMode(value);
    if (what === 'burst') {
      this.#burst = parseNumber('burst', value, 1, MAX_BURST);
      this.#traffic.send({ kind: 'burst', burst: this.#burst });
      return `Number of packets per burst set to ${this.#burst}\n`;
    }
    if (what !== 'txpkts') throw new BadArguments();
    this.#txSize = parseNumber('txpkts', value, 60, 9600);
    return '';
  }

  #setMode(mode: string): string {
    if (!isForwardMode(mode)) throw new BadArguments();
    this.#mode = mode;
    return `Set ${mode} packet forwarding mode\n`;
  }
}

const HELP = `start [tx_first [N]]        start forwarding
stop                        stop, and show the forward statistics
set fwd MODE                the mode of the next start
set burst N                 packets a burst
set txpkts N                bytes of a generated frame
show port stats all|N       counters of the ports
show port info all|N        what a port is
show port summary all
show fwd stats all          counters since start
show config fwd             streams
clear port stats all|N
clear fwd stats all
quit
`;
