import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { udp } from '../../../test/contract/dpif.ts';
import { type OdpPort, odpPort } from '../../base/types.ts';
import { FlowWildcards } from '../../flow/flow.ts';
import { flowFromPacket } from '../../flow/packet-flow.ts';
import type { DpConfig } from '../dpif.ts';
import { INTERVAL_MS } from '../rxq-loads.ts';
import { UserspaceDpif } from './dpif-userspace.ts';
import { DESC_F_WRITE } from './testing/fake-guest.ts';
import { FakeVhost } from './testing/fake-vhost.ts';

/** The datapath with a PMD worker and guests in this process. */

const DEADLINE_MS = 20_000;
const hex = (frames: readonly Uint8Array[]) => frames.map((f) => Buffer.from(f).toString('hex'));

const inPortOnly = new FlowWildcards();
inPortOnly.inPort = 0xffffffff;

/** Four guests, 1 ⇄ 2 and 3 ⇄ 4. Their rings are big enough for a test that never gives a buffer twice. */
class Bench {
  readonly warnings: string[] = [];
  readonly dpif: UserspaceDpif;
  readonly ports: FakeVhost[] = [];
  #upcalls = 0;

  /** What the datapath takes for the time, for its measurement of loads. */
  nowMs = 1_000_000;

  constructor() {
    const clock = { monotonicMs: () => this.nowMs };
    this.dpif = new UserspaceDpif({ warn: (text) => this.warnings.push(text), clock });
    this.dpif.setUpcallHandler(({ key }) => {
      this.#upcalls++;
      const to = odpPort(((key.inPort - 1) ^ 1) + 1);
      this.dpif.flowPut(key, inPortOnly, [{ type: 'output', port: to }]);
      return [{ type: 'output', port: to }];
    });
  }

  assertOnlyWarningsOf(name: string): void {
    assert.deepEqual(
      this.warnings.filter((text) => !text.startsWith(`${name}: `)),
      [],
    );
  }

  get upcalls(): number {
    return this.#upcalls;
  }

  async open(): Promise<this> {
    for (let i = 1; i <= 4; i++) {
      const port = new FakeVhost(`vhost${i}`);
      assert.equal(await this.dpif.portAdd(port), i);
      await port.start();
      this.ports[i] = port;
    }
    return this;
  }

  async close(): Promise<void> {
    await this.dpif.close();
    for (const port of this.ports.filter((p) => p)) {
      await port.close();
      port.guest.release();
    }
  }

  /** Sends frames from one guest to the other, a burst at a time; every one arrives, in order. */
  async pass(from: number, to: number, first: number, n: number): Promise<void> {
    const [sender, receiver] = [this.ports[from]!, this.ports[to]!];
    // The first one alone: a packet that goes up may be overtaken by those that find the flow it brings.
    for (let i = 0, size = 1; i < n; i += size, size = Math.min(16, n - i)) {
      const burst = Array.from({ length: size }, (_, j) => udp(first + i + j));
      for (const frame of burst) {
        receiver.rx.post([200]);
        sender.tx.send(frame);
      }
      sender.kick();
      const got: Uint8Array[] = [];
      await until(() => got.push(...receiver.rx.received()) >= burst.length, `a burst from ${from} to ${to}`);
      assert.deepEqual(hex(got), hex(burst));
    }
  }
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const end = Date.now() + DEADLINE_MS;
  while (!condition()) {
    assert.ok(Date.now() < end, `waited in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

const scenario = (name: string, body: (bench: Bench) => Promise<void>) =>
  void test(name, async () => {
    const bench = await new Bench().open();
    try {
      await body(bench);
    } finally {
      await bench.close();
    }
  });

describe('a PMD worker', () => {
  scenario('forwards between guests; the first packet goes up, the others do not', async (b) => {
    await b.pass(1, 2, 0, 1);
    assert.equal(b.upcalls, 1);
    await b.pass(1, 2, 1, 200);
    await b.pass(2, 1, 0, 50);
    assert.equal(b.upcalls, 2);
    assert.deepEqual(b.warnings, []);
    const stats = (n: number) => b.dpif.portStats(odpPort(n));
    assert.deepEqual([stats(1).rxPackets, stats(2).txPackets], [201n, 201n]);
    assert.deepEqual([stats(1).rxBytes, stats(2).txBytes], [201n * 64n, 201n * 64n]);
    assert.deepEqual([stats(2).rxPackets, stats(1).txPackets], [50n, 50n]);
    const { hit, missed } = b.dpif.stats();
    assert.deepEqual([hit, missed], [249n, 2n]);
    const flow = [...b.dpif.flows()].find((f) => f.key.inPort === 1)!;
    assert.equal(b.dpif.flowStats(flow).packets, 200n);
    assert.ok(b.ports[2]!.interrupts() > 0, 'the guest was never interrupted');
    assert.ok([...b.dpif.drops().values()].every((n) => n === 0n));
  });

  scenario('sleeps while all that it has waits for the control thread, which may want its core', async (b) => {
    const sleeps = () => b.dpif.threads()[1]!.perf!.sleeps;
    let slept = 0n;
    let waited = false;
    b.dpif.setUpcallHandler(() => {
      if (slept > 0n) return [];
      const before = sleeps();
      // This is the control thread: nothing that was sent up is answered meanwhile, and the flood's queue is never empty.
      const end = Date.now() + DEADLINE_MS;
      while (slept === 0n && Date.now() < end) slept = sleeps() - before;
      waited = b.dpif.portStats(odpPort(1)).rxPackets < 250n;
      return [];
    });
    for (let i = 0; i < 250; i++) b.ports[1]!.tx.send(udp(i, 1000));
    b.ports[1]!.kick();
    await until(() => b.dpif.portStats(odpPort(1)).rxPackets === 250n, 'all packets');
    assert.ok(slept > 0n && waited, 'it slept while the queue waited, and not when that was empty');
  });

  scenario('counts every packet: received = sent + dropped by name', async (b) => {
    await b.pass(1, 2, 0, 1);
    // No buffers at the receiver for 40 of 50.
    for (let i = 0; i < 10; i++) b.ports[2]!.rx.post([200]);
    for (let i = 0; i < 50; i++) b.ports[1]!.tx.send(udp(i));
    b.ports[1]!.kick();
    await until(() => b.dpif.portStats(odpPort(1)).rxPackets === 51n, 'all packets');
    await until(() => b.dpif.drops().get('vhost_tx_ring_full') === 40n, 'the drops');
    const to = b.dpif.portStats(odpPort(2));
    assert.deepEqual([to.txPackets, to.txDropped, to.custom.get('ovs_tx_failure_drops')], [11n, 40n, 40n]);
    assert.equal(b.ports[2]!.rx.received().length, 10);
  });

  scenario('deletes and installs flows under traffic', async (b) => {
    for (let i = 0; i < 30; i++) {
      await b.pass(1, 2, i, 8);
      for (const flow of [...b.dpif.flows()]) b.dpif.flowDel(flow);
    }
    assert.deepEqual(b.warnings, []);
    assert.equal(b.upcalls >= 30, true);
  });

  scenario('faults row 12: a ring that is stopped under traffic is left before its memory goes', async (b) => {
    for (let round = 0; round < 3; round++) {
      await b.pass(1, 2, 0, 32);
      for (let i = 0; i < 200; i++) b.ports[1]!.tx.send(udp(i, 64));
      for (let i = 0; i < 100; i++) b.ports[2]!.rx.post([200]);
      b.ports[1]!.kick();
      await b.ports[1]!.stop();
      await b.ports[2]!.stop();
      // From here a touch of any byte traps, or kills the process.
      for (const n of [1, 2]) b.ports[n]!.guest.protect(0, 2 ** 32);
      await b.pass(3, 4, 0, 64);
      assert.deepEqual(b.warnings, []);
      for (const n of [1, 2]) {
        await b.dpif.portDel(n as OdpPort);
        await b.ports[n]!.close();
        b.ports[n]!.guest.release();
        b.ports[n] = new FakeVhost(`again${n}`);
        assert.equal(await b.dpif.portAdd(b.ports[n], odpPort(n)), n);
        await b.ports[n].start();
      }
    }
  });

  scenario('faults row 11: memory that is gone breaks the port that sends from it, and no other', async (b) => {
    await b.pass(1, 2, 0, 16);
    const bad = b.ports[1]!.guest.alloc(4096, 4096);
    b.ports[1]!.guest.protect(bad);
    b.ports[1]!.tx.publish(b.ports[1]!.tx.writeChain([{ addr: b.ports[1]!.guest.gpa(bad), len: 100 }]));
    b.ports[1]!.kick();
    await until(() => b.warnings.length > 0, 'a warning');
    assert.match(b.warnings[0]!, /^vhost1: /);
    await b.pass(3, 4, 0, 64);
    await b.pass(4, 3, 0, 64);
    b.ports[1]!.tx.send(udp(1));
    b.ports[1]!.kick();
    await b.pass(2, 1, 0, 16);
    b.assertOnlyWarningsOf('vhost1');
    assert.equal(b.dpif.portStats(odpPort(1)).rxPackets, 16n);
  });

  scenario('faults row 11: memory that is gone breaks the port that receives into it, and no other', async (b) => {
    await b.pass(1, 2, 0, 16);
    await b.pass(3, 4, 0, 16);
    const { guest, rx } = b.ports[2]!;
    const bad = guest.alloc(4096, 4096);
    guest.protect(bad);
    rx.publish(rx.writeChain([{ addr: guest.gpa(bad), len: 200, flags: DESC_F_WRITE }]));
    b.ports[1]!.tx.send(udp(1));
    b.ports[1]!.kick();
    await until(() => b.warnings.length > 0, 'a warning');
    assert.match(b.warnings[0]!, /^vhost2: /);
    await b.pass(3, 4, 0, 64);
    // The sender goes on, and so does what its packets' receiver sends.
    b.ports[1]!.tx.send(udp(1));
    b.ports[1]!.kick();
    await until(() => b.dpif.drops().get('vhost_tx_not_ready') === 1n, 'a named drop');
    await b.pass(2, 1, 0, 16);
    b.assertOnlyWarningsOf('vhost2');
  });

  scenario('faults row 11: the control thread survives it as well', async (b) => {
    const { guest, rx } = b.ports[2]!;
    const bad = guest.alloc(4096, 4096);
    guest.protect(bad);
    rx.publish(rx.writeChain([{ addr: guest.gpa(bad), len: 200, flags: DESC_F_WRITE }]));
    b.dpif.execute(udp(1), flowFromPacket(udp(1), 0xffffffff), [{ type: 'output', port: odpPort(2) }]);
    assert.match(b.warnings[0]!, /^vhost2: /);
    b.dpif.execute(udp(1), flowFromPacket(udp(1), 0xffffffff), [{ type: 'output', port: odpPort(2) }]);
    assert.equal(b.dpif.drops().get('vhost_tx_not_ready'), 1n);
    await b.pass(1, 2, 0, 0);
    await b.pass(2, 1, 0, 16);
    await b.pass(3, 4, 0, 16);
    b.assertOnlyWarningsOf('vhost2');
  });

  scenario('a guest that breaks its ring ends its own traffic only, is counted and named in the log', async (b) => {
    await b.pass(1, 2, 0, 16);
    b.ports[1]!.tx.publish(0xffff);
    b.ports[1]!.kick();
    await until(() => b.dpif.drops().get('vhost_rx_bad_chain') === 1n, 'a named drop');
    await until(() => b.warnings.length > 0, 'a warning');
    assert.match(b.warnings[0]!, /^vhost1: the guest broke its ring 1 /);
    await b.pass(3, 4, 0, 16);
    await b.pass(2, 1, 0, 16);
  });

  scenario('they come and go under traffic: each ring has one reader at a time', async (b) => {
    await b.pass(1, 2, 0, 1);
    await b.pass(3, 4, 0, 1);
    const config: DpConfig = { pmdCpus: [0], emcInsertInvProb: 1, smcEnable: true, rxqAffinity: new Map() };
    for (const pmdCpus of [[0, 1], [0], [1, 0], [1], [0, 1], [0]]) {
      const changed = b.dpif.configure({ ...config, pmdCpus });
      await Promise.all([b.pass(1, 2, 0, 200), b.pass(3, 4, 0, 200)]);
      await changed;
      await Promise.all([b.pass(2, 1, 0, 50), b.pass(4, 3, 0, 50)]);
    }
    assert.deepEqual(b.warnings, []);
  });

  scenario('pmd-rxq-rebalance shares the queues out by what each of them cost', async (b) => {
    const config: DpConfig = { pmdCpus: [0, 1], emcInsertInvProb: 1, smcEnable: true, rxqAffinity: new Map() };
    await b.dpif.configure(config);
    const coreOf = (port: string) => b.dpif.threads().find((t) => t.rxqs.some((q) => q.port === port))?.core;
    // Nothing is known of them yet: up the cores and down again, by port.
    assert.deepEqual(['vhost1', 'vhost2', 'vhost3', 'vhost4'].map(coreOf), [0, 1, 1, 0]);
    const end = Date.now() + DEADLINE_MS;
    for (let first = 0; coreOf('vhost1') === coreOf('vhost4') && Date.now() < end; first += 50) {
      await Promise.all([b.pass(1, 2, first, 50), b.pass(4, 3, first, 50)]);
      b.nowMs += INTERVAL_MS;
      // The datapath looks at the clock on a timer of its own.
      await new Promise((resolve) => setTimeout(resolve, 1));
      b.dpif.rebalance();
    }
    assert.deepEqual([coreOf('vhost1'), coreOf('vhost4')].sort(), [0, 1]);
    await Promise.all([b.pass(1, 2, 0, 50), b.pass(4, 3, 0, 50), b.pass(3, 4, 0, 50)]);
    // A ring that comes or goes moves no queue.
    const before = ['vhost1', 'vhost2', 'vhost3', 'vhost4'].map(coreOf);
    await b.ports[2]!.stop();
    await b.ports[2]!.start();
    assert.deepEqual(['vhost1', 'vhost2', 'vhost3', 'vhost4'].map(coreOf), before);
    assert.deepEqual(b.warnings, []);
  });

  scenario('two of them share a receive ring', async (b) => {
    const config: DpConfig = { pmdCpus: [0, 1], emcInsertInvProb: 1, smcEnable: true, rxqAffinity: new Map() };
    await b.dpif.configure(config);
    b.dpif.setUpcallHandler(() => [{ type: 'output', port: odpPort(4) }]);
    const senders = [1, 2, 3].map((n) => b.ports[n]!);
    const got: Uint8Array[] = [];
    let sent = 0;
    for (let round = 0; round < 20; round++) {
      for (const sender of senders) {
        for (let i = 0; i < 8; i++) {
          b.ports[4]!.rx.post([200]);
          sender.tx.send(udp(sent++));
        }
        sender.kick();
      }
      await until(() => got.push(...b.ports[4]!.rx.received()) >= sent, 'all packets of a round');
    }
    assert.deepEqual(hex(got).sort(), hex(Array.from({ length: sent }, (_, i) => udp(i))).sort());
    assert.deepEqual(
      b.dpif.threads().map((t) => t.core),
      [-1, 0, 1],
    );
    await b.dpif.configure({ ...config, pmdCpus: [0] });
    b.dpif.setUpcallHandler(() => [{ type: 'output', port: odpPort(2) }]);
    await b.pass(1, 2, 0, 32);
    assert.deepEqual(b.warnings, []);
  });
});
