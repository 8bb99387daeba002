import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseDemoOptions } from './demo-options.ts';
import {
  cachesText,
  cutLine,
  type DemoSample,
  grouped,
  liveTable,
  makeDemoReport,
  makeStyle,
  progressBar,
  reportLines,
} from './demo-report.ts';
import { namedDrops, parsePmdStats } from './demo-switch.ts';
import { makeReport } from './pktgen-report.ts';

function sample(sent: number, received: number, drops: [string, number][] = []): DemoSample {
  const pktgen = makeReport('stats', [], 1, 2);
  pktgen.total.tx_packets = sent;
  pktgen.total.rx_packets = received;
  const ports = [1, 2, 3, 4].map((n) => ({ name: `vhost-user${n}`, rxPackets: sent, txPackets: received }));
  return {
    seconds: 2,
    pktgen,
    forwarder: { rxPackets: sent, txPackets: sent, txDropped: 0 },
    counters: { ports, caches: { emc: 30, smc: 20, megaflow: 40, upcall: 10 }, failedUpcalls: 0 },
    drops: new Map(drops),
  };
}

const plain = makeStyle(false);

describe('the demo accounts for every packet', () => {
  it('sent = received + named drops', () => {
    const report = makeDemoReport(
      sample(1000, 900, [
        ['vhost-user1 ovs_tx_failure_drops', 100],
        ['testpmd tx ring full', 0],
      ]),
    );
    assert.equal(report.unaccounted, 0);
    assert.deepEqual(report.drops, { 'vhost-user1 ovs_tx_failure_drops': 100 });
    assert.match(
      reportLines(report, plain).join('\n'),
      /\+ vhost-user1 ovs_tx_failure_drops +100\n[\s\S]*Every packet is accounted for/,
    );
  });

  it('says so when some are missing', () => {
    const report = makeDemoReport(sample(1000, 900));
    assert.equal(report.unaccounted, 100);
    assert.match(reportLines(report, plain).join('\n'), /100 packets are not accounted for/);
  });

  it("takes every named drop of an interface's statistics, and no sums", () => {
    const drops = namedDrops(
      new Map([
        ['rx_packets', 5],
        ['tx_dropped', 7],
        ['ovs_tx_failure_drops', 6],
        ['rx_bad_header_drops', 1],
      ]),
    );
    assert.deepEqual(
      [...drops],
      [
        ['ovs_tx_failure_drops', 6],
        ['rx_bad_header_drops', 1],
      ],
    );
  });

  it('adds up the threads of pmd-stats-show', () => {
    const thread =
      '  emc hits: 1\n  smc hits: 2\n  megaflow hits: 3\n  miss with success upcall: 4\n  miss with failed upcall: 5\n';
    const stats = parsePmdStats(`pmd thread numa_id 0 core_id 0:\n${thread}pmd thread numa_id 0 core_id 1:\n${thread}`);
    assert.deepEqual(stats, { caches: { emc: 2, smc: 4, megaflow: 6, upcall: 8 }, failedUpcalls: 10 });
  });
});

describe('the demo on the screen', () => {
  it('groups digits and draws bars', () => {
    assert.deepEqual([0, 999, 1000, 1234567].map(grouped), ['0', '999', '1,000', '1,234,567']);
    assert.equal(progressBar(0.5, 4), '██░░');
    assert.equal(progressBar(0.53125, 4), '██▏░');
    assert.equal(progressBar(2, 3), '███');
  });

  it('shows ports, rates, caches, drops and progress', () => {
    const before = { ...sample(0, 0), seconds: 1 };
    const text = liveTable(sample(2_000_000, 1_000_000, [['x', 3]]), before, 0.25, 'title', plain).join('\n');
    assert.match(text, /vhost-user1 +pktgen 0 +1→4 +2,000,000 +1,000,000 +2\.000 +1\.000/);
    assert.match(text, /sent 2,000,000 {3}received 1,000,000 {3}on the way 1,000,000/);
    assert.match(text, /drops {4}x 3/);
    assert.match(text, /25 %$/);
    assert.ok(!text.includes('\x1b'));
  });

  it('cuts lines by cells, and keeps the codes that end a colour', () => {
    const { red } = makeStyle(true);
    assert.equal(cutLine(`ab${red('cdef')}g`, 3), `ab${red('c')}`);
    assert.equal(cutLine('abc', 3), 'abc');
  });

  it('gives the share of each cache', () => {
    assert.equal(
      cachesText(sample(0, 0).counters.caches),
      'emc 30 (30.0 %)   smc 20 (20.0 %)   megaflow 40 (40.0 %)   upcall 10 (10.0 %)',
    );
  });
});

describe('demo options', () => {
  it('has defaults and takes all flags', () => {
    assert.deepEqual(parseDemoOptions([]), {
      duration: 10,
      rate: undefined,
      count: undefined,
      flows: 100,
      size: 64,
      json: false,
      help: false,
    });
    const o = parseDemoOptions([
      '--duration',
      '2',
      '--rate=5',
      '--count',
      '7',
      '--flows',
      '9',
      '--size',
      '128',
      '--json',
    ]);
    assert.deepEqual(o, { duration: 2, rate: 5, count: 7, flows: 9, size: 128, json: true, help: false });
  });
  for (const argv of [['--size', '20'], ['--rate', '0'], ['--count', '1.5'], ['x'], ['--bogus']]) {
    it(`refuses ${argv.join(' ')}`, () => assert.throws(() => parseDemoOptions(argv)));
  }
});
