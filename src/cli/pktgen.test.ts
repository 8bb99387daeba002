import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { LcoreCommand } from '../virtio-user/lcore.ts';
import type { PortStats } from '../virtio-user/port-stats.ts';
import { lcoreConfig } from '../virtio-user/traffic-config.ts';
import { parsePktgenOptions } from './pktgen-options.ts';
import { PktgenSession } from './pktgen-session.ts';

const zero = (): PortStats => ({
  rxPackets: 0n,
  rxBytes: 0n,
  rxErrors: 0n,
  rxNoBuffer: 0n,
  txPackets: 0n,
  txBytes: 0n,
  txDropped: 0n,
  txAborted: 0n,
  rxConsumed: 0n,
});

/** A session of two ports over a fake lcore. */
function session() {
  const options = parsePktgenOptions(['--port', '/a', '--port', '/b']);
  const sent: LcoreCommand[] = [];
  const stats = [zero(), zero()];
  const clock = { ms: 0 };
  const traffic = {
    nPorts: 2,
    linkUp: [true, true],
    send: (c: LcoreCommand) => sent.push(c),
    sync: () => Promise.resolve(),
    stats: (port: number) => ({ ...stats[port]! }),
  };
  const { ports } = lcoreConfig(options);
  const s = new PktgenSession(traffic, ports, { flows: 1, replaying: new Set(), nowMs: () => clock.ms });
  const run = async (...lines: string[]) => {
    for (const line of lines) assert.equal(await s.execute(line), '', line);
  };
  const generated = (port: number) => sent.findLast((c) => c.kind === 'generate' && c.port === port);
  const template = (port: number) => {
    const c = sent.findLast((c) => c.kind === 'template' && c.port === port);
    assert.ok(c?.kind === 'template');
    return c.template;
  };
  return { s, run, sent, stats, clock, generated, template };
}

describe('pktgen options', () => {
  it('flags are commands for all ports, and start the generation', () => {
    const o = parsePktgenOptions(['--port', '/a', '--rate', '10', '--count', '5', '--size=128']);
    assert.deepEqual(o.commands, ['set all rate 10', 'set all count 5', 'set all size 128']);
    assert.equal(o.run, true);
    assert.equal(parsePktgenOptions(['--port', '/a', '--size=128']).run, false);
  });

  it('ports come by --port and by --vdev', () => {
    const o = parsePktgenOptions(['--port', '/a', '--vdev', 'net_virtio_user0,path=/b,server=1', '--pcap', '1:f.pcap']);
    assert.deepEqual(
      o.vdevs.map((v) => [v.path, v.server]),
      [
        ['/a', false],
        ['/b', true],
      ],
    );
    assert.equal(o.pcaps.get(1), 'f.pcap');
  });

  for (const argv of [
    [],
    ['--port', '/a', '--burst', '0'],
    ['--port', '/a', '--pcap', 'f'],
    ['--port', '/a', '--duration', 'x'],
  ]) {
    it(`refuses: ${argv.join(' ') || 'nothing'}`, () => assert.throws(() => parsePktgenOptions(argv)));
  }
});

describe('pktgen commands', () => {
  it('a rate is a percentage of 10G line rate, FCS, preamble and gap counted', async () => {
    const t = session();
    await t.run('set all rate 10', 'set 0 size 64', 'set 0 count 200', 'set 1 size 1518', 'str');
    assert.deepEqual(t.generated(0), { kind: 'generate', port: 0, active: true, pps: 1e9 / (84 * 8), count: 200n });
    assert.deepEqual(t.generated(1), { kind: 'generate', port: 1, active: true, pps: 1e9 / (1538 * 8) });
    assert.equal(t.template(0).frame.length, 60);
  });

  it('100 percent is not paced', async () => {
    const t = session();
    await t.run('start 0');
    assert.deepEqual(t.generated(0), { kind: 'generate', port: 0, active: true, pps: Number.POSITIVE_INFINITY });
    assert.equal(t.generated(1), undefined);
  });

  it('sets addresses, ports and protocol', async () => {
    const t = session();
    await t.run(
      'set 0 src mac 02:00:00:00:00:aa',
      'set 0 dst mac 02:00:00:00:00:bb',
      'set 0 src ip 10.1.2.3/24',
      'set ip dst 0 10.9.9.9',
      'set 0 sport 4000   # a comment',
      'set 0 dport 4001',
      'set 0 proto tcp',
      'set 0 vlan 7',
      'enable 0 vlan',
      'start 0',
    );
    const hex = Buffer.from(t.template(0).frame).toString('hex');
    assert.match(hex, /^0200000000bb0200000000aa81000007080045/);
    assert.match(hex, /0a0102030a0909090fa00fa1/);
  });

  it('ranges in one line, with bars and value by value', async () => {
    const t = session();
    await t.run(
      'range 0 src ip 10.0.0.5 10.0.0.1 10.0.0.9 2',
      'range 0 sport 1|1|100|3',
      'range 0 dst mac start 02:00:00:00:00:01',
      'range 0 dst mac min 02:00:00:00:00:00',
      'range 0 dst mac max 02:00:00:00:00:ff',
      'range 0 dst mac inc 1',
      'range 0 size 64 64 1518 10',
      'start 0',
    );
    assert.equal(t.template(0).ranges.length, 0, 'ranges are off until enabled');
    await t.run('enable 0 range', 'start 0');
    const ranges = new Map(t.template(0).ranges.map((r) => [r.range.field, r.range]));
    assert.deepEqual(ranges.get('src ip'), {
      field: 'src ip',
      start: 0x0a000005n,
      min: 0x0a000001n,
      max: 0x0a000009n,
      inc: 2n,
    });
    assert.deepEqual(ranges.get('sport'), { field: 'sport', start: 1n, min: 1n, max: 100n, inc: 3n });
    assert.equal(ranges.get('dst mac')!.max, 0x0200000000ffn);
    assert.deepEqual(ranges.get('size'), { field: 'size', start: 60n, min: 60n, max: 1514n, inc: 10n });
  });

  it('port lists', async () => {
    const t = session();
    await t.run('set 0,1 count 3', 'set 0-1 rate 50', 'start all');
    assert.ok([0, 1].every((p) => (t.generated(p) as { count: bigint }).count === 3n));
    assert.match((await t.s.execute('set 2 count 1'))!, /there are ports 0 to 1/);
    assert.match((await t.s.execute('set x count 1'))!, /not a list of ports/);
  });

  it('wait ends when the counts are sent', async () => {
    const t = session();
    await t.run('set all count 3', 'str');
    const waiting = t.s.execute('wait');
    t.s.portDone(0);
    t.s.portDone(1);
    assert.equal(await waiting, '');
  });

  it('stp stops every port', async () => {
    const t = session();
    await t.run('str', 'stp');
    assert.deepEqual(
      t.sent.slice(-2).map((c) => c.kind === 'generate' && c.active),
      [false, false],
    );
  });

  it('reports counters since clr and rates since the last report', async () => {
    const t = session();
    t.stats[0]!.txPackets = 100n;
    await t.run('clr', 'str');
    t.stats[0]!.txPackets = 2_000_100n;
    t.clock.ms = 1000;
    const report = t.s.report();
    assert.equal(report.ports[0]!.tx_packets, 2_000_000);
    assert.equal(report.total.tx_mpps, 2);
    t.clock.ms = 2000;
    assert.equal(t.s.report().total.tx_mpps, 0);
  });

  for (const line of [
    'bogus',
    'set 0 rate 0',
    'set 0 size 63',
    'set 0 proto gre',
    'range 0 foo 1 1 1 1',
    'enable 0 fire',
    'set 0 src ip x',
    'range 0 sport 1 2',
  ]) {
    it(`refuses: ${line}`, async () => {
      const t = session();
      assert.notEqual(await t.s.execute(line), '');
      assert.deepEqual(t.sent, []);
    });
  }
});

describe('pktgen scripts', () => {
  const inScript = async (text: string, use: (file: string) => Promise<void>) => {
    const dir = mkdtempSync(join(tmpdir(), 'turnout-pktgen-'));
    try {
      writeFileSync(join(dir, 's'), text.replaceAll('SELF', join(dir, 's')));
      await use(join(dir, 's'));
    } finally {
      rmSync(dir, { recursive: true });
    }
  };

  it('runs line by line until quit', async () => {
    await inScript('# title\nset 0 count 9\n\nstart 0\nquit\nstart 1\n', async (file) => {
      const t = session();
      assert.equal(await t.s.runScript(file, () => {}), false);
      assert.equal((t.generated(0) as { count: bigint }).count, 9n);
      assert.equal(t.generated(1), undefined);
    });
  });

  it('names the line that is wrong', async () => {
    await inScript('clr\nset 0 rate 500\n', async (file) => {
      await assert.rejects(
        session().s.runScript(file, () => {}),
        /s:2: rate: not a percentage: 500/,
      );
    });
  });

  it('a script that loads itself ends', async () => {
    await inScript('load SELF\n', async (file) => {
      await assert.rejects(
        session().s.runScript(file, () => {}),
        /too many scripts/,
      );
    });
  });
});
