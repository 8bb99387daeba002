/**
 * A program with two virtio-user ports that sends one packet on the first and polls the second until it is there:
 *   node first-packet-probe.ts SOCKET1 SOCKET2
 * It says `ready` when both links are up; for each line on stdin it answers with the time in microseconds. It polls from well before
 * the send to the arrival, as a program that is about to send does, so that its own wake-up is no part of the time.
 */
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventfd } from '../../src/sys/eventfd.ts';
import { parseIp, parseMac } from '../../src/virtio-user/address.ts';
import { buildTemplate } from '../../src/virtio-user/frame.ts';
import { INTERRUPT, RX_PACKETS } from '../../src/virtio-user/kernel/layout.ts';
import { Lcore, type LcoreEvent } from '../../src/virtio-user/lcore.ts';
import { counterOf } from '../../src/virtio-user/port-stats.ts';

const MACS = ['00:00:00:00:00:01', '00:00:00:00:00:02'].map(parseMac);
const LIVENESS_MS = 10_000;
/** Polls for so long before a send: the core, its caches and the compiler's feedback are then those of a program that runs. */
const AWAKE_MS = 20;

/** What testpmd's flowgen sends first. */
const TEMPLATE = buildTemplate({
  srcMac: MACS[0],
  dstMac: MACS[1],
  srcIp: parseIp('10.254.0.0'),
  dstIp: parseIp('10.253.0.0'),
  proto: 'udp',
  sport: 1000,
  dport: 1001,
  ttl: 64,
  tos: 0,
  size: 60,
});

class Probe {
  readonly #lcore: Lcore;
  readonly #up = new Set<number>();

  constructor(sockets: string[]) {
    const ports = sockets.map((path, i) => ({
      vdev: { name: `net_virtio_user${i}`, path, server: false },
      mac: MACS[i],
      peerMac: MACS[1 - i],
      rxd: 256,
      txd: 256,
    }));
    const note = (event: LcoreEvent) => {
      if (event.kind === 'link' && event.up) this.#up.add(event.port);
    };
    this.#lcore = new Lcore({ ports, burst: 1, replay: [[], []], replaySize: 0, window: 0 }, eventfd(), note);
    // With a command announced, the lcore never sleeps.
    Atomics.store(new Int32Array(this.#lcore.driver.mem.memory.buffer, INTERRUPT, 1), 0, 1);
  }

  async connect(): Promise<void> {
    while (this.#up.size < 2) {
      this.#turn();
      await sleep(1);
    }
    this.#lcore.command({ kind: 'template', port: 0, template: TEMPLATE });
    this.#lcore.command({ kind: 'forward', mode: 'rxonly', streams: [{ rx: 1, tx: 1 }] });
    this.#lcore.turn();
  }

  /** Microseconds from the send to the arrival of one packet; Infinity when it is lost. */
  sendOne(): number {
    for (const end = performance.now() + AWAKE_MS; performance.now() < end; ) this.#turn();
    const before = this.#received();
    this.#lcore.command({ kind: 'generate', port: 0, active: true, pps: Number.POSITIVE_INFINITY, count: 1n });
    const start = performance.now();
    while (this.#received() === before) {
      this.#turn();
      if (performance.now() - start > LIVENESS_MS) return Number.POSITIVE_INFINITY;
    }
    return (performance.now() - start) * 1000;
  }

  /** A command counts as movement, without which the lcore would think of rest. */
  #turn(): void {
    this.#lcore.command({ kind: 'burst', burst: 1 });
    this.#lcore.turn();
  }

  #received(): number {
    return counterOf(this.#lcore.driver.mem, 1, RX_PACKETS);
  }
}

const probe = new Probe(process.argv.slice(2));
await probe.connect();
console.log('ready');
for await (const _ of createInterface({ input: process.stdin })) console.log(probe.sendOne().toFixed(1));
process.exit(0);
