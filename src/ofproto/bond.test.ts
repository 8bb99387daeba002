import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Flow, FlowWildcards } from '../flow/flow.ts';
import { Bond, type BondHost, type BondPort, type BondSettings } from './bond.ts';
import { planRebalance } from './bond-rebalance.ts';

class Rig {
  nowMs = 0;
  readonly rules = new Map<number, readonly (string | undefined)[] | undefined>();
  bytes: number[] = [];
  changes = 0;
  readonly ports: (BondPort & { up: boolean })[];
  readonly bond: Bond;

  constructor(over: Partial<BondSettings> = {}, names: readonly string[] = ['p1', 'p2']) {
    const quiet = () => {};
    const host: BondHost = {
      nowMs: () => this.nowMs,
      log: { err: quiet, warn: quiet, info: quiet, dbg: quiet },
      allocRecircId: () => 1,
      freeRecircId: quiet,
      setRules: (id, ports) =>
        this.rules.set(
          id,
          ports?.map((p) => p?.name),
        ),
      ruleBytes: () => this.bytes,
      lbOutput: undefined,
      activeChanged: () => this.changes++,
    };
    this.bond = new Bond(bondSettings(over), host);
    this.ports = names.map((name, i) => fakePort(name, i));
    for (const port of this.ports) this.bond.register(port);
    this.run();
  }

  run(status: 'disabled' | 'configured' | 'negotiated' = 'disabled'): void {
    for (const port of this.ports) this.bond.setMayEnable(port, port.up);
    this.bond.run(status);
  }

  active(): string | undefined {
    return / {2}active member/.test(this.bond.show())
      ? /member (\w+): \w+\n {2}active member/.exec(this.bond.show())?.[1]
      : undefined;
  }
}

function fakePort(name: string, i: number): BondPort & { up: boolean } {
  return {
    name,
    ofpPort: i + 1,
    up: true,
    get carrier(): boolean {
      return (this as unknown as { up: boolean }).up;
    },
    mac: () => Uint8Array.of(2, 0, 0, 0, 0, i),
  } as unknown as BondPort & { up: boolean };
}

function bondSettings(over: Partial<BondSettings>): BondSettings {
  return {
    name: 'bond0',
    mode: 'active-backup',
    updelayMs: 0,
    downdelayMs: 0,
    rebalanceIntervalMs: 0,
    hashBasis: 0,
    primary: undefined,
    lacpFallbackAb: false,
    allMembersActive: false,
    lbOutput: false,
    ...over,
  };
}

function fromStation(n: number): Flow {
  const flow = new Flow();
  flow.dlSrc = Uint8Array.of(0, 0, 0, 0, n >> 8, n & 0xff);
  return flow;
}

const UNICAST = 0x020000000001;
const BROADCAST = 0xffffffffffff;

describe('Bond', () => {
  it('active-backup: one member carries all, the next takes over, the primary comes back', () => {
    const rig = new Rig({ primary: 'p2' });
    assert.equal(rig.active(), 'p2');
    rig.ports[1]!.up = false;
    rig.run();
    assert.equal(rig.active(), 'p1');
    assert.equal(rig.bond.chooseMember(fromStation(1), undefined, 0).port?.name, 'p1');
    assert.equal(rig.bond.check(rig.ports[0]!, BROADCAST), 'accept');
    assert.equal(rig.bond.check(rig.ports[1]!, UNICAST), 'drop');
    rig.ports[1]!.up = true;
    rig.run();
    assert.equal(rig.active(), 'p2');
    assert.equal(rig.changes, 3);
  });

  it('waits for updelay and downdelay, but not when nothing else is left', () => {
    const rig = new Rig({ updelayMs: 1000, downdelayMs: 500 });
    rig.ports[0]!.up = false;
    rig.run();
    assert.match(rig.bond.show(), /member p1: enabled\n {2}active member\n {2}downdelay expires in 500 ms/);
    assert.equal(rig.bond.nextDueMs(), 500);
    rig.nowMs = 500;
    rig.run();
    assert.equal(rig.active(), 'p2');
    rig.ports[0]!.up = true;
    rig.run();
    assert.match(rig.bond.show(), /member p1: disabled\n {2}updelay expires in 1000 ms/);
    rig.ports[1]!.up = false;
    rig.run();
    rig.nowMs = 1000;
    rig.run();
    assert.equal(rig.active(), 'p1');
  });

  it('the member that was active before a restart is so again', () => {
    assert.equal(new Rig({ activeMac: Uint8Array.of(2, 0, 0, 0, 0, 1) }).active(), 'p2');
  });

  it('balance-slb: stations are spread by address, and stay where they are', () => {
    const rig = new Rig({ mode: 'balance-slb' }, ['p1', 'p2', 'p3']);
    const choose = () =>
      Array.from({ length: 300 }, (_, i) => rig.bond.chooseMember(fromStation(i), undefined, 0).port?.name);
    const first = choose();
    for (const name of ['p1', 'p2', 'p3']) assert.ok(first.filter((p) => p === name).length > 50, name);
    assert.deepEqual(choose(), first);
    const wc = new FlowWildcards();
    rig.bond.chooseMember(fromStation(1), wc, 0);
    assert.deepEqual([...wc.dlSrc], new Array(6).fill(0xff));
    assert.equal(rig.bond.check(rig.ports[2]!, UNICAST), 'drop_if_moved');
    assert.equal(rig.bond.check(rig.ports[2]!, BROADCAST), 'drop');
    rig.ports[0]!.up = false;
    rig.run();
    assert.ok(!choose().includes('p1'));
  });

  it('balance-slb with all members active takes multicast on each', () => {
    const rig = new Rig({ mode: 'balance-slb', allMembersActive: true });
    assert.equal(rig.bond.check(rig.ports[1]!, BROADCAST), 'drop_if_moved');
  });

  it('balance-tcp: carries nothing without LACP, and lets the datapath choose with it', () => {
    const rig = new Rig({ mode: 'balance-tcp' });
    assert.equal(rig.bond.check(rig.ports[0]!, UNICAST), 'drop');
    assert.equal(rig.bond.chooseMember(fromStation(1), undefined, 0).port, undefined);
    rig.run('negotiated');
    assert.equal(rig.bond.check(rig.ports[0]!, UNICAST), 'accept');
    assert.deepEqual(rig.bond.recirculation(), { recircId: 1, basis: 0, lbOutput: false });
    const rules = rig.rules.get(1)!;
    assert.equal(rules.length, 256);
    assert.equal(rules.filter((p) => p === 'p1').length, 128);
    rig.ports[0]!.up = false;
    rig.run('negotiated');
    assert.deepEqual(new Set(rig.rules.get(1)), new Set(['p2']));
  });

  it('balance-tcp: buckets stay with the member that was up first; with other settings they are given out anew, at once', () => {
    const rig = new Rig({ mode: 'balance-tcp' });
    rig.ports[1]!.up = false;
    rig.run('negotiated');
    rig.ports[1]!.up = true;
    rig.run('negotiated');
    assert.deepEqual(new Set(rig.rules.get(1)), new Set(['p1']));
    rig.bond.configure(bondSettings({ mode: 'balance-tcp', hashBasis: 1 }));
    assert.deepEqual(new Set(rig.rules.get(1)), new Set(['p1', 'p2']));
  });

  it('balance-tcp falls back to active-backup when LACP finds no partner', () => {
    const rig = new Rig({ mode: 'balance-tcp', lacpFallbackAb: true });
    rig.run('configured');
    assert.equal(rig.bond.recirculation(), undefined);
    assert.equal(rig.bond.chooseMember(fromStation(1), undefined, 0).port?.name, 'p1');
    assert.equal(rig.bond.check(rig.ports[1]!, UNICAST), 'drop');
    assert.equal(rig.rules.get(1), undefined);
  });

  it('moves load from the heaviest member when its time has come', () => {
    const rig = new Rig({ mode: 'balance-tcp', rebalanceIntervalMs: 10_000 });
    rig.run('negotiated');
    rig.bytes = new Array(256).fill(0);
    rig.bytes[0] = 600_000; // Even buckets are p1's.
    rig.bytes[2] = 500_000;
    rig.nowMs = 9999;
    rig.bond.rebalance();
    assert.equal(rig.rules.get(1)![2], 'p1');
    rig.nowMs = 10_000;
    rig.bond.rebalance();
    assert.deepEqual([rig.rules.get(1)![0], rig.rules.get(1)![2]], ['p1', 'p2']);
    assert.match(rig.bond.show(), /hash 2: 244 kB load/);
    assert.equal(rig.bond.rebalanceDueMs, 20_000);
  });

  it('commands answer in words', () => {
    const rig = new Rig();
    assert.equal(rig.bond.setActive('p2'), 'done');
    assert.equal(rig.bond.setActive('p2'), 'no change');
    assert.deepEqual(rig.bond.setActive('p9'), { error: 'no such member' });
    assert.equal(rig.bond.enableMember('p1', false), 'disabled');
    assert.deepEqual(rig.bond.setActive('p1'), { error: 'cannot make disabled member active' });
    assert.deepEqual(rig.bond.migrate('3', 'p1'), { error: 'not an SLB bond' });
  });
});

describe('planRebalance', () => {
  const bucket = (member: string, txBytes: number) => ({ member, txBytes });

  it('leaves small differences and single buckets alone', () => {
    assert.deepEqual(planRebalance([bucket('a', 90_000), bucket('a', 9000)], ['a', 'b']), []);
    assert.deepEqual(planRebalance([bucket('a', 9_000_000)], ['a', 'b']), []);
  });

  it('moves what brings both to the middle, and nothing twice', () => {
    const shifts = planRebalance(
      [400_000, 300_000, 200_000, 100_000].map((n) => bucket('a', n)),
      ['a', 'b'],
    );
    assert.deepEqual(
      shifts.map((s) => [s.hash, s.from, s.to]),
      [
        [0, 'a', 'b'],
        [3, 'a', 'b'],
      ],
    );
    assert.deepEqual([shifts.at(-1)!.fromBytes, shifts.at(-1)!.toBytes], [500_000, 500_000]);
  });
});
