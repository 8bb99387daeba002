import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventfd } from '../sys/eventfd.ts';
import { close, isOpen } from '../sys/fd.ts';
import { LocalFdStore } from './fd-store.ts';

test('the store owns what is put, and closes it when it is dropped or replaced', () => {
  const store = new LocalFdStore();
  const [a, b] = [eventfd(), eventfd()];
  store.put('vhost/p/kick/0', a!);
  assert.equal(store.get('vhost/p/kick/0'), a);
  store.put('vhost/p/kick/0', b!);
  assert.equal(isOpen(a!), false);
  store.drop('vhost/p/kick/0');
  assert.equal(isOpen(b!), false);
  store.drop('vhost/p/kick/0');
  assert.equal(store.get('vhost/p/kick/0'), -1);
  assert.throws(() => store.put('x', -1), RangeError);
});

test('what is taken is the caller’s', () => {
  const store = new LocalFdStore();
  const fd = eventfd();
  store.put('arena', fd);
  assert.equal(store.take('arena'), fd);
  assert.equal(store.take('arena'), -1);
  assert.equal(isOpen(fd), true);
  close(fd);
});

test('keys are listed and dropped by prefix', () => {
  const store = new LocalFdStore();
  for (const key of ['vhost/a/listen', 'vhost/a/mem/0', 'vhost/ab/listen']) store.put(key, eventfd());
  const fds = store.keys().map((key) => store.get(key));
  assert.deepEqual(store.keys('vhost/a/'), ['vhost/a/listen', 'vhost/a/mem/0']);
  store.dropAll('vhost/a/');
  assert.deepEqual(store.keys(), ['vhost/ab/listen']);
  store.dropAll('');
  assert.deepEqual(fds.map(isOpen), [false, false, false]);
});
