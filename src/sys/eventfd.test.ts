import assert from 'node:assert/strict';
import { test } from 'node:test';
import v8 from 'node:v8';
import vm from 'node:vm';
import { EPOLLIN, Epoll } from './epoll.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE, eventfd, eventfdDrain, eventfdWrite } from './eventfd.ts';
import { close, write } from './fd.ts';
import { POLLIN, POLLNVAL, PollSet } from './poll.ts';

test('an eventfd adds up and drains to zero', () => {
  const fd = eventfd();
  assert.equal(eventfdDrain(fd), 0);
  assert.equal(eventfdWrite(fd), true);
  assert.equal(eventfdWrite(fd), true);
  assert.equal(eventfdDrain(fd), 2);
  assert.equal(eventfdDrain(fd), 0);
  close(fd);
  assert.throws(() => eventfdWrite(fd), { code: 'EBADF' });
});

test('what is written stays 1 after a garbage collection', () => {
  v8.setFlagsFromString('--expose-gc');
  const gc: () => void = vm.runInNewContext('gc');
  for (let i = 0; i < 20; i++) {
    gc();
    new Uint8Array(new ArrayBuffer(8)).fill(i);
  }
  const fd = eventfd();
  eventfdWrite(fd);
  assert.equal(eventfdDrain(fd), 1);
  close(fd);
});

test('a full eventfd does not block: the write reports false', () => {
  const fd = eventfd();
  const most = new Uint8Array(8).fill(0xff);
  most[0] = 0xfe;
  assert.equal(write(fd, most), 8);
  assert.equal(eventfdWrite(fd), false);
  close(fd);
});

test('a semaphore is taken one at a time', () => {
  const fd = eventfd(2, EFD_NONBLOCK | EFD_CLOEXEC | EFD_SEMAPHORE);
  assert.deepEqual([eventfdDrain(fd), eventfdDrain(fd), eventfdDrain(fd)], [1, 1, 0]);
  close(fd);
});

test('PollSet finds the ready slot, skips cleared ones and names bad fds', () => {
  const [a, b] = [eventfd(), eventfd(1)];
  const set = new PollSet(4);
  set.set(0, a!, POLLIN);
  set.set(2, b!, POLLIN);
  assert.equal(set.wait(0), 1);
  assert.equal(set.revents(0), 0);
  assert.equal(set.revents(2), POLLIN);
  set.clear(2);
  assert.equal(set.wait(0), 0);
  close(a!);
  assert.equal(set.wait(0), 1);
  assert.equal(set.revents(0), POLLNVAL);
  close(b!);
});

test('Epoll returns the data of ready fds', () => {
  const [a, b] = [eventfd(), eventfd(1)];
  const epoll = new Epoll();
  epoll.add(a!, EPOLLIN, 100);
  epoll.add(b!, EPOLLIN, 4_000_000_000);
  assert.equal(epoll.wait(0), 1);
  assert.equal(epoll.data(0), 4_000_000_000);
  assert.equal(epoll.events(0), EPOLLIN);
  epoll.remove(b!);
  assert.equal(epoll.wait(0), 0);
  epoll.modify(a!, EPOLLIN, 7);
  eventfdWrite(a!);
  assert.equal(epoll.wait(0), 1);
  assert.equal(epoll.data(0), 7);
  epoll.close();
  close(a!);
  close(b!);
});
