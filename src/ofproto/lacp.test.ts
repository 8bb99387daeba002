import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { composeLacpPdu, Lacp, type LacpSettings, parseLacpPdu } from './lacp.ts';

const log = { warn: () => {}, info: () => {}, dbg: () => {} };

function settings(name: string, over: Partial<LacpSettings> = {}): LacpSettings {
  const sysId = Uint8Array.of(0xaa, 0, 0, 0, 0, name.charCodeAt(0));
  return { name, sysId, sysPriority: 65534, active: true, fast: true, fallbackAb: false, ...over };
}

/** Two bonds with two links between them; a frame arrives as soon as it is sent, unless its link is cut. */
class Wires {
  nowMs = 0;
  readonly cut = new Set<string>();
  readonly ends: { lacp: Lacp<string>; sent: number }[];

  constructor(a: Partial<LacpSettings> = {}, b: Partial<LacpSettings> = {}) {
    this.ends = [settings('a', a), settings('b', b)].map((s) => ({
      lacp: new Lacp<string>(s, () => this.nowMs, log),
      sent: 0,
    }));
    this.ends.forEach(({ lacp }, end) => {
      ['p1', 'p2'].forEach((port, i) => {
        lacp.register(port, { name: port, portId: 10 * end + i + 1, priority: 65535, key: 0 });
        lacp.mayEnable(port);
      });
    });
  }

  /** Runs both ends until nothing changes any more. */
  settle(): void {
    for (let i = 0; i < 50; i++) if (!this.#step(0) && !this.#step(1)) return;
    assert.fail('the two ends never come to rest');
  }

  #step(from: 0 | 1): boolean {
    const { lacp } = this.ends[from]!;
    return lacp.run((port, pdu) => {
      this.ends[from]!.sent++;
      if (!this.cut.has(port)) this.ends[1 - from]!.lacp.receive(port, Buffer.concat([Buffer.alloc(14), pdu]));
    });
  }

  wait(ms: number): void {
    for (let i = 0; i < ms; i += 100) {
      this.nowMs += 100;
      this.settle();
    }
  }

  enabled(end: 0 | 1): string[] {
    return ['p1', 'p2'].filter((p) => this.ends[end]!.lacp.mayEnable(p));
  }
}

describe('Lacp', () => {
  it('brings two active ends together at once', () => {
    const w = new Wires();
    w.settle();
    assert.equal(w.ends[0]!.lacp.status, 'negotiated');
    assert.deepEqual(w.enabled(0), ['p1', 'p2']);
    assert.deepEqual(w.enabled(1), ['p1', 'p2']);
    assert.match(w.ends[0]!.lacp.show(), /actor key: 1\n {2}actor state: activity timeout aggregation synchronized/);
  });

  it('a passive end answers, two passive ones stay silent', () => {
    const one = new Wires({}, { active: false });
    one.settle();
    assert.equal(one.ends[1]!.lacp.status, 'negotiated');
    const none = new Wires({ active: false }, { active: false });
    none.settle();
    none.wait(60_000);
    assert.equal(none.ends[0]!.sent + none.ends[1]!.sent, 0);
    assert.equal(none.ends[0]!.lacp.status, 'configured');
  });

  it('sends once a second when the partner wants it, else every 30 seconds', () => {
    const fast = new Wires();
    fast.wait(1000);
    const before = fast.ends[0]!.sent;
    fast.wait(10_000);
    assert.equal(fast.ends[0]!.sent - before, 20);
    const slow = new Wires({ fast: false }, { fast: false });
    slow.wait(40_000);
    const settled = slow.ends[0]!.sent;
    slow.wait(60_000);
    assert.equal(slow.ends[0]!.sent - settled, 4);
  });

  it('a link whose partner falls silent is expired after three periods, defaulted three seconds later', () => {
    const w = new Wires();
    w.settle();
    w.cut.add('p1');
    w.wait(2900);
    assert.deepEqual(w.enabled(0), ['p1', 'p2']);
    w.wait(200);
    assert.deepEqual(w.enabled(0), ['p2']);
    assert.match(w.ends[0]!.lacp.show(), /member: p1: expired attached/);
    w.wait(3000);
    assert.match(w.ends[0]!.lacp.show(), /member: p1: defaulted detached/);
    assert.equal(w.ends[0]!.lacp.isCurrent('p1'), false);
    w.cut.clear();
    w.wait(31_000);
    assert.deepEqual(w.enabled(1), ['p1', 'p2']);
  });

  it('links to another partner than the leading one are not attached', () => {
    const w = new Wires();
    w.settle();
    const [a] = w.ends;
    const stranger = new Lacp<string>(settings('c'), () => w.nowMs, log);
    stranger.register('p2', { name: 'p2', portId: 7, priority: 65535, key: 0 });
    stranger.mayEnable('p2');
    stranger.run((port, pdu) => a!.lacp.receive(port, Buffer.concat([Buffer.alloc(14), pdu])));
    a!.lacp.run(() => {});
    assert.deepEqual(w.enabled(0), ['p1']);
  });

  it('falls back to links without a partner when it is told to', () => {
    const w = new Wires({ fallbackAb: true });
    w.cut.add('p1').add('p2');
    w.wait(7000);
    assert.equal(w.ends[0]!.lacp.status, 'configured');
    assert.deepEqual(w.enabled(0), ['p1', 'p2']);
    assert.deepEqual(w.enabled(1), []);
  });

  it('counts what it cannot read, and takes none of it', () => {
    const w = new Wires();
    const { lacp } = w.ends[0]!;
    lacp.receive('p1', new Uint8Array(20));
    lacp.receive('p1', new Uint8Array(200));
    const marker = new Uint8Array(200);
    marker[14] = 2;
    lacp.receive('p1', marker);
    assert.match(lacp.showStats(), /RX PDUs: 3\n {2}RX Bad PDUs: 2\n {2}RX Marker Request PDUs: 1/);
    assert.equal(parseLacpPdu(new Uint8Array(0)), 'bad');
  });

  it('a link that goes down is no longer sent on, and is new when it comes up', () => {
    const w = new Wires();
    w.settle();
    w.ends[0]!.lacp.carrierChanged('p1', false);
    const before = w.ends[0]!.sent;
    w.cut.add('p1');
    w.wait(10_000);
    assert.equal(w.ends[0]!.sent - before, 10);
    assert.match(w.ends[0]!.lacp.showStats(), /member: p1:[\s\S]*?Carrier Status Changed: 1/);
  });

  it('takes any bytes from a partner without harm, and what it says again', () => {
    const info = fc.record(
      {
        sysPriority: fc.nat(0xffff),
        sysId: fc.nat(0xffffffff).map((n) => n * 0x10000 + (n & 0xffff)),
        key: fc.nat(0xffff),
        portPriority: fc.nat(0xffff),
        portId: fc.nat(0xffff),
        state: fc.nat(0xff),
      },
      { noNullPrototype: true },
    );
    fc.assert(
      fc.property(info, info, (actor, partner) => {
        assert.deepEqual(parseLacpPdu(composeLacpPdu(actor, partner)), { actor, partner });
      }),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.uint8Array({ maxLength: 140 }), info, info), { maxLength: 20 }), (frames) => {
        const w = new Wires();
        for (const [bytes, actor, partner] of frames) {
          w.ends[0]!.lacp.receive('p1', bytes);
          w.ends[0]!.lacp.receive('p2', Buffer.concat([Buffer.alloc(14), composeLacpPdu(actor, partner)]));
          w.ends[0]!.lacp.run(() => {});
        }
        assert.ok(w.ends[0]!.lacp.nextDueMs() >= 0);
      }),
    );
  });

  it('asks to be run when something is due', () => {
    const w = new Wires();
    w.settle();
    assert.equal(w.ends[0]!.lacp.nextDueMs(), 1000);
  });
});
