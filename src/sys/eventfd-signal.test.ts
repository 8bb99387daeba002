import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EFD_CLOEXEC, eventfd, eventfdDrain } from './eventfd.ts';
import { eventfdSignal } from './eventfd-signal.ts';
import { close, write } from './fd.ts';
import { isSysError } from './sys-error.ts';

const FULL = new Uint8Array(8).fill(0xff);
FULL[0] = 0xfe;

test('signals add up, also more of them than are in flight at a time', () => {
  const fd = eventfd();
  for (let i = 0; i < 1000; i++) eventfdSignal(fd);
  assert.equal(eventfdDrain(fd), 1000);
  close(fd);
});

test('an eventfd that is full, or empty, and of the blocking kind holds nobody', () => {
  const fd = eventfd(0, EFD_CLOEXEC);
  assert.equal(eventfdDrain(fd), 0);
  write(fd, FULL);
  eventfdSignal(fd);
  assert.notEqual(eventfdDrain(fd), 0);
  close(fd);
});

test('what is not open is an error', () => {
  const fd = eventfd();
  close(fd);
  assert.throws(
    () => eventfdSignal(fd),
    (e) => isSysError(e, 'EBADF'),
  );
});
