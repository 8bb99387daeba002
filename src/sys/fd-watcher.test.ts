import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { close } from './fd.ts';
import { FdWatcher } from './fd-watcher.ts';
import { recvmsg, sendmsg, socketpair } from './socket.ts';

const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

test('a watcher reports once for each time it is armed', async () => {
  const [a, b] = socketpair();
  let n = 0;
  let seen = () => {};
  const watcher = new FdWatcher(b, () => {
    n++;
    seen();
  });
  const report = () =>
    new Promise<void>((resolve) => {
      seen = resolve;
    });
  let reported = report();
  watcher.arm();
  watcher.arm();
  sendmsg(a, [new Uint8Array(3)]);
  await reported;
  await turn();
  assert.equal(n, 1, 'though the data is still there');
  reported = report();
  watcher.arm();
  await reported;
  assert.equal(n, 2);
  recvmsg(b, new Uint8Array(8));
  watcher.arm();
  watcher.disarm();
  sendmsg(a, [new Uint8Array(3)]);
  await turn();
  assert.equal(n, 2);
  reported = report();
  recvmsg(b, new Uint8Array(8));
  watcher.arm();
  close(a);
  await reported;
  assert.equal(recvmsg(b, new Uint8Array(8)).size, 0, 'the end is reported too');
  watcher.close();
  watcher.close();
  watcher.arm();
  watcher.disarm();
  close(b);
});

test('promises go on after a report, also with nothing else to wake the loop', async () => {
  const [a, b] = socketpair();
  sendmsg(a, [new Uint8Array(1)]);
  const order: string[] = [];
  await new Promise<void>((resolve) => {
    const watcher = new FdWatcher(b, () => {
      order.push('report');
      void Promise.resolve().then(() => {
        order.push('promise');
        watcher.close();
        resolve();
      });
    });
    watcher.arm();
  });
  assert.deepEqual(order, ['report', 'promise']);
  close(a);
  close(b);
});

test('a worker may end with a watcher armed', async () => {
  const [a, b] = socketpair();
  const here = JSON.stringify(new URL('./fd-watcher.ts', import.meta.url).href);
  const source = `import { parentPort } from 'node:worker_threads';
    import { FdWatcher } from ${here};
    globalThis.watcher = new FdWatcher(${b}, () => {});
    globalThis.watcher.arm();
    parentPort.postMessage('armed');`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
  await once(worker, 'message');
  await worker.terminate();
  assert.equal(sendmsg(a, [new Uint8Array(1)]), 1);
  close(a);
  close(b);
});
