import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { eventfd, eventfdDrain, eventfdWrite } from './eventfd.ts';
import { close, dup, isOpen, setNonblocking } from './fd.ts';
import { POLLIN, PollSet } from './poll.ts';
import * as sock from './socket.ts';

const dir = mkdtempSync(join(tmpdir(), 'turnout-sys-'));
after(() => rmSync(dir, { recursive: true }));

const bytes = (s: string) => new TextEncoder().encode(s);
const countFds = () => readdirSync('/proc/self/fd').length;

test('listen, connect, accept, credentials', () => {
  const path = join(dir, 's1');
  const listener = sock.unixListen(path);
  assert.equal(sock.accept4(listener), -1);
  const client = sock.unixConnect(path);
  const server = sock.accept4(listener);
  assert.ok(server >= 0);
  assert.deepEqual(sock.peerCredentials(server), {
    pid: process.pid,
    uid: process.getuid!(),
    gid: process.getgid!(),
  });
  assert.throws(() => sock.unixListen(path), { code: 'EADDRINUSE' });
  assert.equal(sock.recvmsg(client, new Uint8Array(8)).size, -1);
  close(server);
  assert.equal(sock.recvmsg(client, new Uint8Array(8)).size, 0);
  assert.equal(sock.socketError(client), 0);
  assert.throws(() => sock.sendmsg(client, [bytes('x')]), { code: 'EPIPE' });
  close(client);
  close(listener);
  assert.throws(() => sock.unixConnect(path), { code: 'ECONNREFUSED', message: /s1: Connection refused/ });
});

test('a path of more than 107 bytes is refused by name', () => {
  const before = countFds();
  const path = `/${'x'.repeat(107)}`;
  assert.throws(() => sock.unixListen(path), { code: 'ENAMETOOLONG', message: /108 bytes is longer than 107/ });
  assert.throws(() => sock.unixConnect(path), { code: 'ENAMETOOLONG' });
  assert.equal(countFds(), before);
});

test('file descriptors travel with a message; peek gives copies and leaves it', () => {
  const [a, b] = sock.socketpair();
  const efd = eventfd();
  assert.equal(sock.sendmsg(a, [bytes('head'), bytes('body')], [efd]), 8);
  const buf = new Uint8Array(16);
  const peeked = sock.recvmsg(b, buf, { peek: true });
  const got = sock.recvmsg(b, buf);
  assert.equal(got.size, 8);
  assert.equal(new TextDecoder().decode(buf.subarray(0, 8)), 'headbody');
  assert.equal(got.truncated, false);
  assert.deepEqual([peeked.fds.length, got.fds.length], [1, 1]);
  eventfdWrite(got.fds[0]!);
  assert.equal(eventfdDrain(efd), 1);
  for (const fd of [...peeked.fds, ...got.fds, efd, a, b]) close(fd);
});

test('more fds than asked for are reported, and those received can be closed', () => {
  const [a, b] = sock.socketpair();
  const before = countFds();
  const efd = eventfd();
  const many = Array.from({ length: 20 }, () => efd);
  sock.sendmsg(a, [bytes('x')], many);
  const got = sock.recvmsg(b, new Uint8Array(1), { maxFds: 3 });
  assert.equal(got.truncated, true);
  assert.ok(got.fds.length >= 3 && got.fds.length <= 4);
  sock.sendmsg(a, [bytes('x')], many);
  const all = sock.recvmsg(b, new Uint8Array(1));
  assert.equal(all.fds.length, 20);
  assert.equal(all.truncated, false);
  for (const fd of [...got.fds, ...all.fds, efd]) close(fd);
  assert.equal(countFds(), before);
  close(a);
  close(b);
});

test('dup shares, poll sees data, blocking can be switched', () => {
  const [a, b] = sock.socketpair();
  const copy = dup(b);
  assert.notEqual(copy, b);
  const set = new PollSet(1);
  set.set(0, copy, POLLIN);
  assert.equal(set.wait(0), 0);
  sock.sendmsg(a, [bytes('x')]);
  assert.equal(set.wait(1000), 1);
  setNonblocking(b, false);
  assert.equal(sock.recvmsg(b, new Uint8Array(4)).size, 1);
  for (const fd of [a, b, copy]) close(fd);
  assert.equal(isOpen(a), false);
  assert.throws(() => close(a), { code: 'EBADF' });
});
