import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UnixctlCommands, UnixctlError } from '../base/unixctl.ts';
import type { Dpif, DpThread } from '../dpif/dpif.ts';
import { registerPmdCommands } from './pmd-commands.ts';

const IDLE: DpThread['stats'] = {
  packetsReceived: 0n,
  recirculations: 0n,
  simpleHits: 0n,
  emcHits: 0n,
  smcHits: 0n,
  megaflowHits: 0n,
  megaflowLookups: 0n,
  missUpcalls: 0n,
  lostUpcalls: 0n,
  rxBatches: 0n,
  busyNs: 0n,
  idleNs: 0n,
};
const BUSY: DpThread['stats'] = {
  ...IDLE,
  packetsReceived: 100n,
  recirculations: 50n,
  emcHits: 60n,
  megaflowHits: 40n,
  megaflowLookups: 60n,
  missUpcalls: 2n,
  rxBatches: 10n,
  busyNs: 250n,
  idleNs: 750n,
};
const THREADS: DpThread[] = [
  { core: -1, numa: 0, rxqs: [], stats: IDLE },
  {
    core: 1,
    numa: 0,
    isolated: true,
    rxqs: [
      { port: 'p2', queue: 0, enabled: false, usagePercent: 0 },
      { port: 'p1', queue: 0, enabled: true, usagePercent: 20 },
    ],
    stats: BUSY,
  },
  { core: 0, numa: 0, rxqs: [{ port: 'p1', queue: 1, enabled: true, usagePercent: 0 }], stats: IDLE },
];

function setUp(names: string[]) {
  const unixctl = new UnixctlCommands();
  const cleared: string[] = [];
  const dpifs = names.map(
    (name) => ({ name, threads: () => [...THREADS], clearThreadStats: () => cleared.push(name) }) as unknown as Dpif,
  );
  registerPmdCommands(unixctl, () => dpifs);
  return { unixctl, cleared };
}

test('pmd-stats-show, in the layout of Open vSwitch', async () => {
  const { unixctl } = setUp(['ovs-netdev']);
  const text = await unixctl.run('dpif-netdev/pmd-stats-show', []);
  assert.deepEqual(text.match(/^\S.*/gm), [
    'pmd thread numa_id 0 core_id 0:',
    'pmd thread numa_id 0 core_id 1:',
    'main thread:',
  ]);
  assert.equal(
    await unixctl.run('dpif-netdev/pmd-stats-show', ['-pmd', '1']),
    `pmd thread numa_id 0 core_id 1:
  packets received: 100
  packet recirculations: 50
  avg. datapath passes per packet: 1.50
  phwol hits: 0
  mfex opt hits: 0
  simple match hits: 0
  emc hits: 60
  smc hits: 0
  megaflow hits: 40
  avg. subtable lookups per megaflow hit: 1.50
  miss with success upcall: 2
  miss with failed upcall: 0
  avg. packets per output batch: 10.00
  idle cycles: 750 (75.00%)
  processing cycles: 250 (25.00%)
  avg cycles per packet: 10.00 (1000/100)
  avg processing cycles per packet: 2.50 (250/100)
`,
  );
});

test('pmd-rxq-show, in the layout of Open vSwitch', async () => {
  const { unixctl } = setUp(['ovs-netdev']);
  assert.equal(
    await unixctl.run('dpif-netdev/pmd-rxq-show', ['-secs', '8']),
    `Displaying last 10 seconds pmd usage %
pmd thread numa_id 0 core_id 0:
  isolated : false
  port: p1                queue-id:  1 (enabled)   pmd usage: NOT AVAIL
  overhead: NOT AVAIL
pmd thread numa_id 0 core_id 1:
  isolated : true
  port: p1                queue-id:  0 (enabled)   pmd usage: 20 %
  port: p2                queue-id:  0 (disabled)  pmd usage:  0 %
  overhead:  5 %
`,
  );
});

test('with several datapaths one must be named', async () => {
  const { unixctl, cleared } = setUp(['ovs-netdev', 'ovs-dummy']);
  await assert.rejects(
    unixctl.run('dpif-netdev/pmd-stats-clear', []),
    new UnixctlError('please specify an existing datapath'),
  );
  await unixctl.run('dpif-netdev/pmd-stats-clear', ['ovs-dummy']);
  assert.deepEqual(cleared, ['ovs-dummy']);
});
