import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { Reconnect } from './reconnect.ts';
import type { StreamName } from './stream.ts';
import { connectStream, isPassive, listenStream, needsProbes, parseStreamName } from './stream.ts';

test('connection methods', () => {
  const cases: [string, StreamName | undefined][] = [
    ['unix:/run/db.sock', { kind: 'unix', path: '/run/db.sock' }],
    ['punix:/run/db.sock', { kind: 'punix', path: '/run/db.sock' }],
    ['tcp:10.0.0.1', { kind: 'tcp', host: '10.0.0.1', port: 6640 }],
    ['tcp:10.0.0.1:99', { kind: 'tcp', host: '10.0.0.1', port: 99 }],
    ['ssl:[::1]:99', { kind: 'ssl', host: '::1', port: 99 }],
    ['ptcp:', { kind: 'ptcp', host: undefined, port: 6640 }],
    ['ptcp:99', { kind: 'ptcp', host: undefined, port: 99 }],
    ['pssl:0:127.0.0.1', { kind: 'pssl', host: '127.0.0.1', port: 0 }],
    ['ptcp:99:[::]', { kind: 'ptcp', host: '::', port: 99 }],
    ['ptcp::127.0.0.1', { kind: 'ptcp', host: '127.0.0.1', port: 6640 }],
    ['tcp:', undefined],
    ['tcp:host:70000', undefined],
    ['tcp:host:x', undefined],
    ['unix:', undefined],
    ['fd:3', undefined],
    ['nothing', undefined],
  ];
  for (const [name, expected] of cases) assert.deepEqual(parseStreamName(name), expected, name);
  assert.equal(isPassive(parseStreamName('pssl:1')!), true);
  assert.equal(isPassive(parseStreamName('ssl:a:1')!), false);
  assert.equal(needsProbes(parseStreamName('punix:/x')!), false);
  assert.equal(needsProbes(parseStreamName('ptcp:1')!), true);
});

/** Sends a word from a client to a listener; resolves with what arrives and the peer's name. */
async function exchange(passive: string, active: (boundPort: number) => string): Promise<[string, string]> {
  let accepted: (pair: [Duplex, string]) => void = () => {};
  const peer = new Promise<[Duplex, string]>((resolve) => {
    accepted = resolve;
  });
  const handlers = {
    accepted: (stream: Duplex, name: string) => accepted([stream, name]),
    warn: (line: string) => assert.fail(line),
  };
  const listener = await listenStream(parseStreamName(passive)!, {}, handlers);
  const client = await connectStream(parseStreamName(active(listener.boundPort))!, {});
  client.end('hello');
  const [stream, name] = await peer;
  const received = await text(stream);
  stream.destroy();
  listener.close();
  return [received, name];
}

test('a unix socket, also where one was left behind, also at a path longer than sockaddr_un has room for', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'turnout-stream-'));
  try {
    const deep = join(folder, 'd'.repeat(80), 'e'.repeat(80));
    mkdirSync(deep, { recursive: true });
    for (const path of [join(folder, 'db.sock'), join(deep, 'db.sock')]) {
      writeFileSync(path, '');
      const [received, name] = await exchange(`punix:${path}`, () => `unix:${path}`);
      assert.equal(received, 'hello');
      assert.match(name, /^unix#\d+$/);
      assert.equal(existsSync(path), false);
    }
    assert.deepEqual(readdirSync(deep), []);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('TCP on a port that the kernel chooses', async () => {
  const [received, name] = await exchange('ptcp:0:127.0.0.1', (port) => `tcp:127.0.0.1:${port}`);
  assert.equal(received, 'hello');
  assert.match(name, /^tcp:127\.0\.0\.1:\d+$/);
});

test('what cannot be reached rejects, and so does what is given up', async () => {
  await assert.rejects(connectStream(parseStreamName('unix:/nonexistent/db.sock')!, {}), { code: 'ENOENT' });
  const listener = await listenStream(
    parseStreamName('ptcp:0:127.0.0.1')!,
    {},
    { accepted: (stream) => stream.destroy(), warn: () => {} },
  );
  const { boundPort } = listener;
  await assert.rejects(
    listenStream(parseStreamName(`ptcp:${boundPort}:127.0.0.1`)!, {}, { accepted: () => {}, warn: () => {} }),
    { code: 'EADDRINUSE' },
  );
  await assert.rejects(connectStream(parseStreamName(`tcp:127.0.0.1:${boundPort}`)!, {}, AbortSignal.abort()), {
    code: 'ECONNABORTED',
  });
  listener.close();
});

test('pauses double up to their limit, in silence there, and begin anew after a connection that lasted', () => {
  const lines: string[] = [];
  const reconnect = new Reconnect(8000, (level, text) => lines.push(`${level} ${text}`));
  reconnect.connecting('x');
  assert.deepEqual(
    [1, 2, 3, 4, 5].map(() => reconnect.failed('x', 'why')),
    [1000, 2000, 4000, 8000, 8000],
  );
  reconnect.connecting('x');
  assert.deepEqual(lines, [
    'info x: connecting...',
    'info x: connection attempt failed (why)',
    'info x: connection attempt failed (why)',
    'info x: waiting 2 seconds before reconnect',
    'info x: connection attempt failed (why)',
    'info x: waiting 4 seconds before reconnect',
    'info x: connection attempt failed (why)',
    'info x: continuing to reconnect in the background but suppressing further logging',
  ]);
  const short = new Reconnect(0, () => {});
  short.connected('x');
  assert.equal(short.disconnected('x', null), 0);
  reconnect.reset();
  assert.equal(reconnect.failed('x', 'why'), 1000);
});
