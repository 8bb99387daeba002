/**
 * A program with two virtio-user ports that sends on the first at a given rate and tells how long the packets take to the second:
 *   node latency-probe.ts SOCKET1 SOCKET2
 * It says `ready` when both links are up. For each line `PPS SECONDS` on stdin (PPS 0: as fast as it goes) it answers with one line of JSON.
 *
 * One thread sends and receives, and packets of one ring come out in their order, so that the counters tell which packet has arrived: a burst counts from
 * just before the call that sent it to just after the one that received its last packet. Every so often the sending stops until all has come back; a round
 * in which a packet was lost gives no samples, and its packets are told.
 */
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventfd } from '../../src/sys/eventfd.ts';
import { parseIp, parseMac } from '../../src/virtio-user/address.ts';
import { buildTemplate } from '../../src/virtio-user/frame.ts';
import { RX_PACKETS, TX_PACKETS } from '../../src/virtio-user/kernel/layout.ts';
import { Lcore, type LcoreEvent } from '../../src/virtio-user/lcore.ts';
import { counterOf } from '../../src/virtio-user/port-stats.ts';
import { Histogram } from '../histogram.ts';

const MACS = ['00:00:00:00:00:01', '00:00:00:00:00:02'].map(parseMac);
const ROUND_S = 0.1;
/** Without an arrival for so long, what is out is lost. */
const LOST_AFTER_MS = 50;
const BURST = 8;
/** Bursts that may be out at a time: more than a ring holds packets. */
const QUEUE = 4096;
const N_FLOWS = 1000n;
const NEXT_TO_NONE = 1e-6;

/** What flowgen sends, a thousand destinations in turn. */
const FIRST = 0x0afd0000n;
const TEMPLATE = buildTemplate(
  {
    srcMac: MACS[0]!,
    dstMac: MACS[1]!,
    srcIp: parseIp('10.254.0.0'),
    dstIp: parseIp('10.253.0.0'),
    proto: 'udp',
    sport: 1000,
    dport: 1001,
    ttl: 64,
    tos: 0,
    size: 60,
  },
  [{ field: 'dst ip', start: FIRST, min: FIRST, max: FIRST + N_FLOWS - 1n, inc: 1n }],
);

/** Nanoseconds. */
export interface LatencyAnswer {
  /** Packets a second that arrived. */
  pps: number;
  p50: number;
  p99: number;
  p9999: number;
  max: number;
  nBursts: number;
  sent: number;
  lost: number;
}

class Probe {
  readonly #lcore: Lcore;
  readonly #up = new Set<number>();
  readonly #sentUpTo = new Float64Array(QUEUE);
  readonly #sentAt = new Float64Array(QUEUE);
  readonly #all = new Histogram();
  readonly #round = new Histogram();

  constructor(sockets: string[]) {
    const ports = sockets.map((path, i) => ({
      vdev: { name: `net_virtio_user${i}`, path, server: false },
      mac: MACS[i]!,
      peerMac: MACS[1 - i]!,
      rxd: 1024,
      txd: 1024,
    }));
    const note = (event: LcoreEvent) => {
      if (event.kind === 'link' && event.up) this.#up.add(event.port);
    };
    this.#lcore = new Lcore({ ports, burst: BURST, replay: [[], []], replaySize: 0, window: 0 }, eventfd(), note);
  }

  async connect(): Promise<void> {
    while (this.#up.size < 2) {
      this.#turn();
      await sleep(1);
    }
    this.#lcore.command({ kind: 'template', port: 0, template: TEMPLATE });
    // With nothing left to send on any port, an lcore that finds no packet for a while would sleep until one comes; a lost one never does.
    this.#lcore.command({ kind: 'generate', port: 1, active: true, pps: NEXT_TO_NONE });
  }

  /** A command counts as movement, without which the lcore would go to sleep. */
  #turn(): void {
    this.#lcore.command({ kind: 'burst', burst: BURST });
    this.#lcore.turn();
  }

  #count(port: number, counter: number): number {
    return counterOf(this.#lcore.driver.mem, port, counter);
  }

  measure(pps: number, seconds: number): LatencyAnswer {
    this.#all.clear();
    let [sent, lost, sendingMs] = [0, 0, 0];
    for (const end = performance.now() + seconds * 1000; performance.now() < end; ) {
      this.#round.clear();
      const round = this.#runRound(pps > 0 ? pps : Number.POSITIVE_INFINITY);
      sent += round.sent;
      lost += round.lost;
      sendingMs += round.ms;
      if (round.lost === 0) this.#all.addAll(this.#round);
    }
    const at = (fraction: number) => this.#all.quantile(fraction);
    const quantiles = { p50: at(0.5), p99: at(0.99), p9999: at(0.9999), max: this.#all.max };
    return { pps: ((sent - lost) / sendingMs) * 1000, ...quantiles, nBursts: this.#all.total, sent, lost };
  }

  #runRound(pps: number): { sent: number; lost: number; ms: number } {
    const [sent0, received0] = [this.#count(0, TX_PACKETS), this.#count(1, RX_PACKETS)];
    const generate = { kind: 'generate', port: 0, pps } as const;
    this.#lcore.command({ ...generate, active: true });
    let [head, tail, sent, received] = [0, 0, 0, 0];
    let lastMs = performance.now();
    let arrivedMs = lastMs;
    const start = lastMs;
    let stopMs = 0;
    while (received < sent || stopMs === 0) {
      this.#turn();
      const nowMs = performance.now();
      const nowSent = this.#count(0, TX_PACKETS) - sent0;
      if (nowSent > sent) {
        sent = nowSent;
        this.#sentUpTo[head % QUEUE] = sent;
        this.#sentAt[head % QUEUE] = lastMs;
        head += 1;
      }
      const nowReceived = this.#count(1, RX_PACKETS) - received0;
      if (nowReceived > received) [received, arrivedMs] = [nowReceived, nowMs];
      while (tail < head && this.#sentUpTo[tail % QUEUE]! <= received) {
        this.#round.add((nowMs - this.#sentAt[tail % QUEUE]!) * 1e6);
        tail += 1;
      }
      lastMs = nowMs;
      if (stopMs === 0 && nowMs - start > ROUND_S * 1000) {
        stopMs = nowMs;
        this.#lcore.command({ ...generate, active: false, count: 0n });
      }
      if (stopMs > 0 && nowMs - Math.max(arrivedMs, stopMs) > LOST_AFTER_MS) break;
    }
    return { sent, lost: sent - received, ms: (stopMs || lastMs) - start };
  }
}

const probe = new Probe(process.argv.slice(2));
await probe.connect();
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const [pps, seconds] = line.split(' ').map(Number);
  console.log(JSON.stringify(probe.measure(pps!, seconds!)));
}
process.exit(0);
