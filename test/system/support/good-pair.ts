import assert from 'node:assert/strict';
import { buildTemplate, type FrameSpec, flowsRange } from '../../../src/virtio-user/frame.ts';
import type { PortStats } from '../../../src/virtio-user/port-stats.ts';
import { lcoreConfig } from '../../../src/virtio-user/traffic-config.ts';
import { TrafficEngine } from '../../../src/virtio-user/traffic-engine.ts';
import { until } from '../../support/vhost-front-end.ts';

/** Packets a second and port; the window keeps what is in flight within the rings, so that a busy machine loses nothing. */
const PPS = 2000;
const WINDOW = 256;
const FLOWS = 20;
/** What must have got through since the last look. */
const MIN_PROGRESS = 100n;

/** Two ports that send to each other all the time, by a thread of this process. */
export class GoodPair {
  readonly #engine: TrafficEngine;
  #seen = 0n;

  private constructor(engine: TrafficEngine) {
    this.#engine = engine;
  }

  static async start(...paths: [string, string]): Promise<GoodPair> {
    const vdevs = paths.map((path, i) => ({ name: `net_virtio_user${i}`, path, server: false }));
    const engine = await TrafficEngine.start(lcoreConfig({ vdevs, rxd: 1024, txd: 1024, burst: 32, window: WINDOW }));
    const pair = new GoodPair(engine);
    for (const port of [0, 1]) {
      const spec = frameOf(port);
      engine.send({ kind: 'template', port, template: buildTemplate(spec, [flowsRange(spec, FLOWS)]) });
    }
    await pair.linksUp();
    pair.#generate(true);
    return pair;
  }

  linksUp(): Promise<void> {
    return until(() => this.#engine.linkUp.every(Boolean), 'both links of the good pair are up');
  }

  #generate(active: boolean): void {
    for (const port of [0, 1])
      this.#engine.send({ kind: 'generate', port, active, pps: active ? PPS : 0, ...(!active && { count: 0n }) });
  }

  /** Packets that have come back, of both ports. */
  get received(): bigint {
    return this.#sum('rxPackets');
  }

  #sum(counter: keyof PortStats): bigint {
    return this.#engine.allStats().reduce((n, s) => n + s[counter], 0n);
  }

  /** Packets go on getting through. */
  async flows(): Promise<void> {
    const before = this.received;
    await until(() => this.received >= before + MIN_PROGRESS, 'the good pair gets packets through');
  }

  /** Packets got through since the last call, and all that were sent have arrived. The traffic goes on afterwards. */
  async lostNothing(): Promise<void> {
    const before = this.#seen;
    await until(() => this.received >= before + MIN_PROGRESS, 'the good pair gets packets through');
    this.#generate(false);
    await this.#engine.sync();
    await until(() => this.received === this.#sum('txPackets'), 'everything that was sent has arrived');
    assert.deepEqual([this.#sum('txAborted'), this.#sum('rxErrors'), this.#sum('rxNoBuffer')], [0n, 0n, 0n]);
    this.#seen = this.received;
    this.#generate(true);
  }

  async stop(): Promise<void> {
    await this.#engine.quit();
  }
}

function frameOf(port: number): FrameSpec {
  return {
    srcMac: Uint8Array.of(2, 0, 0, 0, 0, 1 + port),
    dstMac: Uint8Array.of(2, 0, 0, 0, 0, 2 - port),
    srcIp: Uint8Array.of(192, 168, port, 1),
    dstIp: Uint8Array.of(192, 168, 1 - port, 1),
    proto: 'udp',
    sport: 1234,
    dport: 5678,
    ttl: 64,
    tos: 0,
    size: 60,
  };
}
