import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { composePacket } from '../../flow/compose.ts';
import { extract } from '../../flow/extract.ts';
import { Flow, FlowWildcards } from '../../flow/flow.ts';
import { ARENA_THREADS, THREAD_PASSES, UPCALL__SIZE, UPCALL_BACKLOG, UPCALL_WAIT_MS } from '../../gen/arena.ts';
import type { DpAction } from '../dpif.ts';
import { F_MRG_RXBUF, FakeGuest, FakeRing } from './testing/fake-guest.ts';
import { Rig, type RunningRing } from './testing/rig.ts';

/** What a flood of packets without a megaflow does to the established flows of its queue, and to other queues. */

const rig = new Rig();
rig.setCaches(false, false);
const QUEUE = 1024;

const frameOf = (nwSrc: number, known: boolean) =>
  composePacket(
    Object.assign(new Flow(), { dlType: 0x0800, nwProto: 17, nwTtl: 64, nwSrc, tpDst: known ? 80 : 81 }),
    [],
  );

interface Queue extends RunningRing {
  guest: FakeGuest;
  /** Its established flow: all packets to UDP port 80. */
  flow: number;
}

async function queue(): Promise<Queue> {
  const guest = new FakeGuest();
  const ring = new FakeRing(guest, { index: 1, size: QUEUE, hdrSize: 12, features: F_MRG_RXBUF });
  const running = await rig.start(ring);
  const key = new Flow();
  extract(frameOf(1, true), key);
  key.inPort = running.port.port;
  const mask = new FlowWildcards();
  Object.assign(mask, { dlType: 0xffff, nwFrag: 0xff, nwProto: 0xff, tpDst: 0xffff });
  return { ...running, guest, flow: rig.table.insert(key, mask, rig.actions([])) };
}

const forwarded = (q: Queue) => Number(rig.table.stats(q.flow, 1).packets);
const lost = (work: () => void) => rig.dropsDuring(work).upcall_over_budget ?? 0;

const toController: DpAction = { type: 'userspace', userdata: { kind: 'slow_path', reason: 'controller' } };

/** Bytes of a new flow's upcall in the ring. */
const recordSize = () => (UPCALL__SIZE + frameOf(1, false).length + 7) & ~7;

let source = 0;
/** Half new flows, half of the established one. */
function flood(q: Queue, pairs: number): void {
  for (let i = 0; i < pairs; i++) {
    q.ring.send(frameOf(++source, false));
    q.ring.send(frameOf(1, true));
  }
}

let nowMs = 1_000_000;
const poll = (passes = 1) => {
  for (let i = 0; i < passes; i++) rig.poll(nowMs);
};

/** Sends new flows until the queue is left alone, with LEFT of them and as many others in it. */
function fillBacklog(q: Queue): void {
  for (let before = -1; forwarded(q) !== before; ) {
    before = forwarded(q);
    flood(q, LEFT);
    poll();
  }
}
const LEFT = 16;

describe('the upcall budget of a queue', () => {
  let q: Queue;
  let other: Queue;

  beforeEach(async () => {
    rig.records();
    [q, other] = [await queue(), await queue()];
    rig.serve([q, other]);
    // Whatever they waited for before.
    nowMs += 1e6;
  });

  afterEach(async () => {
    rig.serve([]);
    for (const { flow, guest, port } of [q, other]) {
      rig.table.remove(flow, 1, () => {});
      await rig.removePort(port);
      guest.release();
    }
    rig.rcu.reap();
  });

  test('a burst of new flows waits for the control thread and loses nothing', () => {
    const drops = lost(() => {
      fillBacklog(q);
      const before = forwarded(q);
      poll(10);
      nowMs += UPCALL_WAIT_MS - 1;
      poll(10);
      assert.equal(forwarded(q), before, 'the queue was polled');
      rig.records();
      poll(10);
      assert.equal(forwarded(q), before + LEFT);
      assert.equal(rig.records().length, LEFT);
    });
    assert.equal(drops, 0);
  });

  test('with nothing but queues that wait there is nothing to poll for', () => {
    fillBacklog(q);
    rig.exports.run(1000);
    assert.equal(rig.arena.get(ARENA_THREADS + THREAD_PASSES), 1);
    other.ring.send(frameOf(1, true));
    const before = forwarded(other);
    rig.exports.run(1000);
    assert.equal(forwarded(other), before + 1);
  });

  test('a flood is polled after a time: established flows go on, new ones are dropped by name', () => {
    fillBacklog(q);
    const before = forwarded(q);
    const drops = lost(() => {
      poll();
      nowMs += UPCALL_WAIT_MS;
      poll(2);
    });
    assert.equal(forwarded(q), before + LEFT);
    assert.equal(drops, LEFT);
    // The control thread catches up: they are sent up again.
    rig.records();
    flood(q, 1);
    assert.equal(
      lost(() => poll()),
      0,
    );
    assert.equal(rig.records().length, 1);
  });

  test('a flood that goes on waits a ninth of the time', () => {
    fillBacklog(q);
    poll();
    nowMs += UPCALL_WAIT_MS;
    let waits = 0;
    const steps = 900;
    for (let i = 0; i < steps; i++, nowMs++) {
      flood(q, 1);
      const before = forwarded(q);
      poll(2);
      if (forwarded(q) === before) waits++;
    }
    assert.ok(Math.abs(waits - steps / 9) < 10, `it was left alone in ${waits} of ${steps} ms`);
  });

  test('a queue that waits does so until half of the backlog is answered', () => {
    fillBacklog(q);
    const before = forwarded(q);
    const all = Math.ceil(UPCALL_BACKLOG / recordSize());
    rig.take(Math.floor(all / 2) - LEFT * 2);
    poll();
    assert.equal(forwarded(q), before);
    rig.take(LEFT * 3);
    poll();
    assert.equal(forwarded(q), before + LEFT);
  });

  test('another queue, whose flows are known, is served all the time; and its first new flow goes up', () => {
    fillBacklog(q);
    const before = forwarded(other);
    for (let i = 0; i < 20; i++) {
      other.ring.send(frameOf(1, true));
      poll();
    }
    assert.equal(forwarded(other), before + 20);
    const sent = rig.counters.thread(0).missUpcalls;
    other.ring.send(frameOf(++source, false));
    poll();
    assert.equal(rig.counters.thread(0).missUpcalls - sent, 1n);
  });

  test('a queue that waits while it has nothing is not charged for it', () => {
    other.ring.send(frameOf(++source, false));
    poll();
    fillBacklog(q);
    poll();
    for (let ms = 0; ms <= UPCALL_WAIT_MS; ms++, nowMs++) poll();
    const sent = rig.counters.thread(0).missUpcalls;
    const drops = lost(() => {
      other.ring.send(frameOf(++source, false));
      poll(3);
      rig.records();
      poll(3);
    });
    assert.equal(drops, 0);
    assert.equal(rig.counters.thread(0).missUpcalls - sent, 1n);
  });

  test('what flows send up by their actions is no miss: a queue with a new flow among it does not wait', () => {
    rig.table.setActions(q.flow, rig.actions([toController]));
    for (let sent = 0; sent < UPCALL_BACKLOG * 2; sent += recordSize() * LEFT) {
      for (let i = 0; i < LEFT; i++) q.ring.send(frameOf(1, true));
      poll();
    }
    const before = rig.counters.thread(0).missUpcalls;
    for (let i = 0; i < 3; i++) {
      q.ring.send(frameOf(++source, false));
      poll();
    }
    assert.equal(rig.counters.thread(0).missUpcalls - before, 3n);
  });

  test('a queue whose flows are known and send up more than there is room for does not miss', () => {
    fillBacklog(q);
    rig.table.setActions(other.flow, rig.actions([toController]));
    const full = () => {
      other.ring.send(frameOf(1, true));
      poll();
    };
    while ((rig.dropsDuring(full).upcall_ring_full ?? 0) === 0) {}
    const before = forwarded(other);
    const lostBefore = rig.counters.thread(0).lostUpcalls;
    for (let i = 0; i < 3; i++) full();
    assert.equal(forwarded(other), before + 3);
    assert.equal(rig.counters.thread(0).lostUpcalls, lostBefore);
  });

  test('what the control thread forwards itself has no budget', () => {
    fillBacklog(q);
    poll();
    nowMs += UPCALL_WAIT_MS;
    assert.ok(lost(() => poll()) > 0);
    rig.place(0, frameOf(++source, false));
    assert.equal(
      lost(() => rig.exports.process(1, other.port.port)),
      0,
    );
  });
});
