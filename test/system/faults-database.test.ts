import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, statSync, truncateSync } from 'node:fs';
import { after, before, test } from 'node:test';
import type { TxnResult } from '../../src/ovsdb/idl.ts';
import { requirePeer } from '../support/require.ts';
import { until } from '../support/vhost-front-end.ts';
import { FaultSwitch } from './support/fault-switch.ts';

/** Row 26 of the fault table: the database's file is torn or can't grow. */

let sw: FaultSwitch;

before(async () => {
  sw = await FaultSwitch.start();
});
after(() => sw?.stop());

const file = () => `${sw.rundir}/conf.db`;

/** Writes `n` into the database. */
function write(n: number): Promise<TxnResult> {
  const txn = sw.idl.txn();
  const root = sw.idl.snapshot().first('Open_vSwitch')!;
  txn.update('Open_vSwitch', root._uuid, { external_ids: { n: String(n), filler: 'x'.repeat(100) } });
  return txn.commit({ durable: true });
}

/** What was written last. */
function written(): number {
  const ids = sw.idl.snapshot().first('Open_vSwitch')!.external_ids;
  return Number((ids as ReadonlyMap<string, string>).get('n') ?? 0);
}

/** The switch is as it was configured, forwards, and takes transactions. */
async function assertWorks(): Promise<void> {
  await sw.unharmed();
  assert.equal((await write(written() + 1)).status, 'success');
}

test('row 26: killed in the middle of a stream of transactions: what was answered is there', async () => {
  let answered = 0;
  let asked = 0;
  let running = true;
  const stream = (async () => {
    while (running) {
      const n = ++asked;
      if ((await write(n)).status === 'success') answered = n;
      else return;
    }
  })();
  await until(() => answered >= 50, 'transactions are answered');
  await sw.kill();
  running = false;
  await stream;
  await sw.restart();
  assert.ok(written() >= answered && written() <= asked, `${answered} ≤ ${written()} ≤ ${asked}`);
  await assertWorks();
});

/** What a crash or a bad disk can leave where the record at `size` was, and what the log says of it. */
const TORN: Record<string, [tear: (size: number) => void, log: RegExp]> = {
  'the last record lacks its end': [
    (size) => truncateSync(file(), size + 100),
    /conf\.db: error reading \d+ bytes starting at offset \d+ \(End of file\)/,
  ],
  'the last record is a piece of its header': [
    (size) => {
      truncateSync(file(), size);
      appendFileSync(file(), 'OVSDB JSON 31');
    },
    /conf\.db: parse error at offset \d+ in header line "OVSDB JSON 31"/,
  ],
  'the last record is nothing but zeros': [
    (size) => {
      truncateSync(file(), size);
      appendFileSync(file(), Buffer.alloc(512));
    },
    /conf\.db: parse error at offset \d+ in header line/,
  ],
};

for (const [name, [tear, log]] of Object.entries(TORN)) {
  test(`row 26: ${name}: the last whole transaction is recovered`, async () => {
    const n = written() + 1;
    assert.equal((await write(n)).status, 'success');
    await settledSize();
    const whole = statSync(file()).size;
    assert.equal((await write(n + 1)).status, 'success');
    await sw.kill();
    const torn = statSync(file()).size;
    assert.ok(torn > whole);
    tear(whole);
    await sw.restart();
    assert.equal(written(), n);
    assert.match(sw.log, log);
    await assertWorks();
  });
}

/** The switch writes statistics now and then: resolves when the file has not grown for a moment. */
async function settledSize(): Promise<void> {
  for (let before = -1; before !== statSync(file()).size; ) {
    before = statSync(file()).size;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test('row 26: a disk that is full refuses transactions, forwards on, and takes them again when there is room', async (t) => {
  if (!requirePeer(t, 'prlimit')) return;
  const limit = (bytes: number | 'unlimited') =>
    execFileSync('prlimit', ['--pid', String(sw.pid), `--fsize=${bytes}:unlimited`]);
  const n = written() + 1;
  assert.equal((await write(n)).status, 'success');
  limit(statSync(file()).size + 50);
  const refused = await write(n + 1);
  assert.equal(refused.status, 'error');
  assert.match(refused.error ?? '', /I\/O error|File too large|No space/);
  assert.equal(written(), n);
  await sw.good.lostNothing();
  limit('unlimited');
  assert.equal((await write(n + 2)).status, 'success');
  await sw.kill();
  await sw.restart();
  assert.equal(written(), n + 2);
  await assertWorks();
});
