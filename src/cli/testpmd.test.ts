import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LcoreCommand } from '../virtio-user/lcore.ts';
import type { PortStats } from '../virtio-user/port-stats.ts';
import { lcoreConfig } from '../virtio-user/traffic-config.ts';
import { parseTestpmdOptions } from './testpmd-options.ts';
import { nicStatsText } from './testpmd-report.ts';
import { streamsOf, TestpmdSession } from './testpmd-session.ts';

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

const VDEVS = [
  '--vdev=net_virtio_user0,path=/a,mac=02:00:00:00:00:0a',
  '--vdev=net_virtio_user1,path=/b,queue_size=256',
];

/** A session over a fake lcore whose counters the test sets. */
function session(...argv: string[]) {
  const options = parseTestpmdOptions([...VDEVS, ...argv]);
  const sent: LcoreCommand[] = [];
  const stats = [zero(), zero()];
  const clock = { ms: 0 };
  const traffic = {
    nPorts: 2,
    linkUp: [true, false],
    send: (c: LcoreCommand) => sent.push(c),
    sync: () => Promise.resolve(),
    stats: (port: number) => ({ ...stats[port]! }),
  };
  const config = lcoreConfig(options);
  return { session: new TestpmdSession(traffic, config.ports, options, () => clock.ms), sent, stats, clock };
}

describe('testpmd options', () => {
  it("takes a dpdk-testpmd command line with EAL's half", () => {
    const o = parseTestpmdOptions(
      `--lcores 0@1,1@1 --no-pci --in-memory --single-file-segments -m 512 --vdev net_virtio_user1,mac=00:00:00:00:00:01,path=/s,queue_size=1024
       --vdev net_virtio_user2,path=/t,server=1 -- --stats-period 1 --forward-mode=flowgen --flowgen-flows=1000 --nb-cores=1 --burst=64
       --txd=1024 --rxd=1024 -a`.split(/\s+/),
    );
    assert.deepEqual(
      o.vdevs.map((v) => [v.path, v.server, v.queueSize]),
      [
        ['/s', false, 1024],
        ['/t', true, undefined],
      ],
    );
    assert.deepEqual([o.mode, o.flows, o.burst, o.autoStart, o.statsPeriod], ['flowgen', 1000, 64, true, 1]);
  });

  const bad: [string, RegExp, string[]][] = [
    ['no port', /no ports/, []],
    ['a mode that is not known', /forward-mode fly/, [...VDEVS, '--forward-mode=fly']],
    ['a burst of 0', /burst must be/, [...VDEVS, '--burst=0']],
    ['a ring that is no power of two', /power of two/, [...VDEVS, '--rxd=1000']],
    ['another driver', /only net_virtio_user/, ['--vdev', 'net_tap0']],
    ['a vdev without path', /path is missing/, ['--vdev', 'net_virtio_user0']],
    ['a stray word', /unexpected argument/, [...VDEVS, 'x']],
  ];
  for (const [name, message, argv] of bad) {
    it(`refuses ${name}`, () => assert.throws(() => parseTestpmdOptions(argv), message));
  }
});

describe('testpmd streams', () => {
  it('pairs, chains and loops ports as testpmd does', () => {
    const tx = (...args: Parameters<typeof streamsOf>) => streamsOf(...args).map((s) => s.tx);
    assert.deepEqual(tx(4, 'paired', 'io'), [1, 0, 3, 2]);
    assert.deepEqual(tx(3, 'paired', 'io'), [1, 0, 2]);
    assert.deepEqual(tx(3, 'chained', 'io'), [1, 2, 0]);
    assert.deepEqual(tx(2, 'loop', 'io'), [0, 1]);
    assert.deepEqual(tx(2, 'paired', 'icmpecho'), [0, 1]);
  });
});

describe('testpmd session', () => {
  it("prints port statistics in testpmd's columns", () => {
    const stats = { ...zero(), rxPackets: 12n, rxBytes: 720n, txPackets: 5n, txBytes: 300n };
    const text = nicStatsText(0, stats, { rxPps: 6n, txPps: 2n, rxBps: 2880n, txBps: 1200n });
    assert.deepEqual(text.split('\n'), [
      '',
      '  ######################## NIC statistics for port 0  ########################',
      '  RX-packets: 12         RX-missed: 0          RX-bytes:  720',
      '  RX-errors: 0',
      '  RX-nombuf:  0         ',
      '  TX-packets: 5          TX-errors: 0          TX-bytes:  300',
      '',
      '  Throughput (since last show)',
      '  Rx-pps:            6          Rx-bps:         2880',
      '  Tx-pps:            2          Tx-bps:         1200',
      '  ############################################################################',
      '',
    ]);
  });

  it('shows counters since the last clear, and rates since the last show', async () => {
    const t = session();
    t.stats[0]!.rxPackets = 100n;
    await t.session.execute('clear port stats 0');
    t.stats[0]!.rxPackets = 350n;
    t.clock.ms = 2000;
    const text = await t.session.execute('show port stats 0');
    assert.match(text!, /RX-packets: 250 /);
    assert.match(text!, /Rx-pps: {10}175 /);
  });

  it('starts a mode on its streams, and says what was forwarded when it stops', async () => {
    const t = session('--forward-mode=macswap');
    t.stats[1]!.txDropped = 5n;
    assert.match((await t.session.execute('start'))!, /^macswap packet forwarding - ports=2 - cores=1 - streams=2 /);
    assert.equal(await t.session.execute('start'), 'Packet forwarding already started\n');
    const forward = t.sent.find((c) => c.kind === 'forward');
    assert.deepEqual(forward, {
      kind: 'forward',
      mode: 'macswap',
      streams: streamsOf(2, 'paired', 'macswap'),
      txFirst: 0,
    });
    t.stats[1]!.txPackets = 7n;
    t.stats[1]!.txDropped = 8n;
    const text = (await t.session.execute('stop'))!;
    assert.match(text, / {2}TX-packets: 7 {14}TX-dropped: 3 {13}TX-total: 10\n/);
    assert.match(text, /\+ Accumulated forward statistics for all ports\+/);
    assert.deepEqual(t.sent.at(-1), { kind: 'stop' });
    assert.equal(await t.session.execute('stop'), 'Packet forwarding not started\n');
  });

  it('set fwd takes effect at the next start', async () => {
    const t = session();
    assert.equal(await t.session.execute('set fwd rxonly'), 'Set rxonly packet forwarding mode\n');
    await t.session.execute('start tx_first 3');
    const forward = t.sent.find((c) => c.kind === 'forward');
    assert.ok(forward?.kind === 'forward' && forward.mode === 'rxonly' && forward.txFirst === 3);
  });

  it("answers wrong commands in testpmd's words", async () => {
    const t = session();
    assert.equal(await t.session.execute('bogus'), 'Command not found\n');
    assert.equal(await t.session.execute('set fwd fly'), 'Bad arguments\n');
    assert.equal(await t.session.execute('show port stats 7'), 'Invalid port 7\n');
    assert.equal(await t.session.execute('quit'), undefined);
  });

  it('tells what a port is', async () => {
    const text = (await session().session.execute('show port info all'))!;
    assert.match(text, /Infos for port 0 {2}\*+\nMAC address: 02:00:00:00:00:0A\nDevice name: net_virtio_user0\n/);
    assert.match(text, /Link status: down[\s\S]*RXDs per queue: 256/);
  });
});
