import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { JsonSplitter } from './json-splitter.ts';
import { setProgramName } from './program.ts';
import { UnixctlError, UnixctlServer } from './unixctl.ts';
import { unixctlCall } from './unixctl-client.ts';

setProgramName('test-program');

async function setUp(t: { after(f: () => void): void }, path?: string) {
  const dir = mkdtempSync(join(tmpdir(), 'turnout-unixctl-'));
  const server = new UnixctlServer();
  t.after(() => server.close());
  server.register('echo', 'WORD', 1, 2, (args) => args.join(' '));
  server.register('fail', '', 0, 0, () => {
    throw new UnixctlError('it failed');
  });
  server.register('slow', '', 0, 0, () => new Promise((resolve) => setTimeout(resolve, 20, 'slow')));
  server.register('hidden', undefined, 0, 0, () => '');
  await server.listen(path ?? join(dir, 'test.ctl'));
  return { server, path: server.path! };
}

test('commands are run and listed', async (t) => {
  const { path } = await setUp(t);
  assert.deepEqual(await unixctlCall(path, 'echo', ['a', 'b']), { result: 'a b\n', error: undefined });
  assert.deepEqual(await unixctlCall(path, 'fail', []), { result: undefined, error: 'it failed\n' });
  const { result } = await unixctlCall(path, 'list-commands', []);
  assert.match(result!, /^The available commands are:\n {2}echo {20}WORD\n {2}fail +\n/);
  assert.doesNotMatch(result!, /hidden/);
  assert.equal((await unixctlCall(path, 'version', [])).result, 'test-program (Open vSwitch) 3.1.0\n');
  assert.equal(statSync(path).mode & 0o777, 0o750);
});

test('a folder that is not there is named as the reason', async (t) => {
  await assert.rejects(
    setUp(t, '/proc/absent/x.ctl'),
    new Error('/proc/absent/x.ctl: could not initialize control socket (No such file or directory)'),
  );
});

test('wrong calls are refused in words that scripts know', async (t) => {
  const { server } = await setUp(t);
  const refused = (name: string, args: unknown[], message: string) =>
    assert.rejects(server.run(name, args), new UnixctlError(message));
  await refused(
    'nonsense',
    [],
    '"nonsense" is not a valid command (use "list-commands" to see a list of valid commands)',
  );
  await refused('echo', [], '"echo" command requires at least 1 arguments');
  await refused('echo', ['a', 'b', 'c'], '"echo" command takes at most 2 arguments');
  await refused('echo', [1], '"echo" command has non-string argument');
});

test('replies come in the order of the requests', async (t) => {
  const { path } = await setUp(t);
  const socket = createConnection(path);
  socket.setEncoding('utf8');
  socket.write('{"id":1,"method":"slow","params":[]}{"id":2,"method":"echo","params":["x"]}');
  const splitter = new JsonSplitter();
  const replies: { id: number }[] = [];
  for await (const chunk of socket) {
    replies.push(...splitter.push(chunk as string).map((text) => JSON.parse(text) as { id: number }));
    if (replies.length === 2) break;
  }
  assert.deepEqual(replies, [
    { id: 1, result: 'slow\n', error: null },
    { id: 2, result: 'x\n', error: null },
  ]);
});

for (const [name, bytes] of Object.entries({
  'no JSON': 'GET / HTTP/1.1\r\n\r\n',
  'JSON that is cut wrong': '{"id":1,"method":}',
  'a request without a method': '{"id":1,"params":[]}',
  'a reply': '{"id":1,"result":"x","error":null}',
  'an array': '[1]',
})) {
  test(`${name} closes the connection and harms no other`, async (t) => {
    const { path } = await setUp(t);
    const socket = createConnection(path);
    socket.on('error', () => {});
    socket.write(bytes);
    await new Promise((resolve) => socket.on('close', resolve));
    assert.equal((await unixctlCall(path, 'echo', ['still here'])).result, 'still here\n');
  });
}

test('nesting without end and size without end are bounded', async (t) => {
  const { path } = await setUp(t);
  const deep = `{"id":1,"method":"echo","params":[${'['.repeat(100_000)}${']'.repeat(100_000)}]}`;
  const long = `{"id":1,"method":"echo","params":["${'x'.repeat(5 << 20)}`;
  for (const bytes of [deep, long]) {
    const socket = createConnection(path);
    let reply = '';
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      reply += chunk.toString();
      socket.end();
    });
    socket.write(bytes);
    await new Promise((resolve) => socket.on('close', resolve));
    assert.ok(reply === '' || reply.includes('has non-string argument'));
    assert.equal((await unixctlCall(path, 'echo', ['still here'])).result, 'still here\n');
  }
});

test('who does not read replies is not read from either', async (t) => {
  const { path } = await setUp(t);
  const socket = createConnection(path);
  socket.on('error', () => {});
  socket.pause();
  const request = JSON.stringify({ id: 1, method: 'echo', params: ['x'.repeat(100_000)] });
  let taken = 0;
  while (socket.write(request)) taken++;
  for (let i = 0; i < 200; i++) socket.write(request);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(socket.writableLength > 100 * request.length, `${taken} requests were taken before`);
  socket.destroy();
  assert.equal((await unixctlCall(path, 'echo', ['others'])).result, 'others\n');
});

test('a path longer than a socket address can hold works', async (t) => {
  const dir = join(mkdtempSync(join(tmpdir(), 'turnout-unixctl-')), 'x'.repeat(120));
  mkdirSync(dir);
  const { path } = await setUp(t, join(dir, 'test.ctl'));
  assert.equal((await unixctlCall(path, 'echo', ['far'])).result, 'far\n');
});

test('the socket goes with the server', async (t) => {
  const { server, path } = await setUp(t);
  server.close();
  assert.equal(existsSync(path), false);
  await assert.rejects(unixctlCall(path, 'version', []), /cannot connect to ".*" \(No such file or directory\)/);
});

test('values are cut out of a stream wherever it is cut', () => {
  const text = '{"a":"}\\"{"} [1,[2]]\n{"b":{"c":"\\\\"}}';
  for (let at = 0; at <= text.length; at++) {
    const splitter = new JsonSplitter();
    const values = [...splitter.push(text.slice(0, at)), ...splitter.push(text.slice(at))];
    assert.deepEqual(
      values.map((v) => JSON.parse(v) as unknown),
      [{ a: '}"{' }, [1, [2]], { b: { c: '\\' } }],
    );
  }
  assert.throws(() => new JsonSplitter().push('x'), SyntaxError);
  assert.throws(() => new JsonSplitter(10).push('{"aaaaaaaaaaaaaaaaa'), SyntaxError);
});
