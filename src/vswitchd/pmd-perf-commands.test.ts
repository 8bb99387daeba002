import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UnixctlCommands } from '../base/unixctl.ts';
import type { Dpif, DpThread } from '../dpif/dpif.ts';
import { registerPerf } from './pmd-perf-commands.ts';

const BUSY: DpThread = {
  core: 1,
  numa: 0,
  rxqs: [],
  stats: {
    packetsReceived: 4n,
    recirculations: 0n,
    simpleHits: 0n,
    emcHits: 0n,
    smcHits: 0n,
    megaflowHits: 3n,
    megaflowLookups: 3n,
    missUpcalls: 1n,
    lostUpcalls: 0n,
    rxBatches: 4n,
    busyNs: 1_000_000n,
    idleNs: 249_000_000n,
  },
  perf: {
    seconds: 0.5,
    iterations: 100_000n,
    busyIterations: 4n,
    sleeps: 10n,
    sleepNs: 250_000_000n,
    txPackets: 8n,
    txBatches: 8n,
  },
};
const IDLE: DpThread = {
  ...BUSY,
  core: 2,
  stats: { ...BUSY.stats, packetsReceived: 0n },
  perf: { ...BUSY.perf!, txPackets: 0n, txBatches: 0n },
};
const MAIN: DpThread = { core: -1, numa: 0, rxqs: [], stats: BUSY.stats };

function show(...args: string[]): Promise<string> {
  const unixctl = new UnixctlCommands();
  const dpif = { name: 'ovs-netdev', threads: () => [MAIN, BUSY, IDLE] } as unknown as Dpif;
  registerPerf(unixctl, () => [dpif]);
  return unixctl.run('dpif-netdev/pmd-perf-show', args);
}

/** What Open vSwitch 3.1 prints, with the numbers of the thread above. */
const EXPECTED = `
Measurement duration: 0.500 s

pmd thread numa_id 0 core_id 1:

  Iterations:               100000  (2.50 us/it)
  - Used TSC cycles:     250000000  ( 50.0 % of total cycles)
  - idle iterations:         99996  ( 99.6 % of used cycles)
  - busy iterations:             4  (  0.4 % of used cycles)
  - sleep iterations:           10  (  0.0 % of iterations)
  Sleep time (us):          250000  (25000 us/iteration avg.)
  Rx packets:                    4  (0 Kpps, 250000 cycles/pkt)
  Datapath passes:               4  (1.00 passes/pkt)
  - PHWOL hits:                  0  (  0.0 %)
  - MFEX Opt hits:               0  (  0.0 %)
  - Simple Match hits:           0  (  0.0 %)
  - EMC hits:                    0  (  0.0 %)
  - SMC hits:                    0  (  0.0 %)
  - Megaflow hits:               3  ( 75.0 %, 1.00 subtbl lookups/hit)
  - Upcalls:                     1  ( 25.0 %, 0.0 us/upcall)
  - Lost upcalls:                0  (  0.0 %)
  Tx packets:                    8  (0 Kpps)
  Tx batches:                    8  (1.00 pkts/batch)
`;

test('pmd-perf-show, in the layout of Open vSwitch', async () => {
  const text = await show('-pmd', '1');
  assert.match(text, /^\nTime: \d\d:\d\d:\d\d\.\d{3}\n/);
  assert.equal(text.replace(/Time: .*\n/, ''), EXPECTED);
});

test('all PMDs and not the main thread; one without packets says so in one line each way', async () => {
  const text = await show('-nh', '-it', '5', '-ms', '5', 'ovs-netdev');
  assert.deepEqual(
    [...text.matchAll(/core_id (-?\d+)/g)].map(([, core]) => core),
    ['1', '2'],
  );
  assert.match(text, / {2}Rx packets: {20}0\n {2}Tx packets: {20}0\n\n$/);
  assert.equal(await show('-pmd', '7'), '');
  await assert.rejects(show('no-such'), /please specify an existing datapath/);
});
