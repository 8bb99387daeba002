import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { getAffinity, gettid, setAffinity } from './sched.ts';

test('the main thread is the process', () => {
  assert.equal(gettid(), process.pid);
});

test('affinity can be set and read back; a CPU that is not there is refused', () => {
  const all = getAffinity();
  assert.ok(all.length >= 1);
  setAffinity([all[0]!]);
  assert.deepEqual(getAffinity(), [all[0]]);
  setAffinity(all);
  assert.deepEqual(getAffinity(), all);
  assert.throws(() => setAffinity([1023]), { code: 'EINVAL', message: /1023/ });
});

test('a worker pins itself alone', async () => {
  const all = getAffinity();
  const source = `import { parentPort } from 'node:worker_threads';
    import * as sched from ${JSON.stringify(new URL('./sched.ts', import.meta.url).href)};
    sched.setAffinity([${all[0]}]);
    parentPort.postMessage({ tid: sched.gettid(), cpus: sched.getAffinity() });`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
  const reply = await new Promise<{ tid: number; cpus: number[] }>((resolve, reject) => {
    worker.on('message', resolve).on('error', reject);
  });
  assert.notEqual(reply.tid, process.pid);
  assert.deepEqual(reply.cpus, [all[0]]);
  assert.deepEqual(getAffinity(), all);
});
