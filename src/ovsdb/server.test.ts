import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import type { Json, JsonObject } from './json.ts';
import { toText } from './json.ts';
import { JsonStream } from './json-stream.ts';
import { RemoteManager } from './remote-manager.ts';
import { schemaFromJson, schemaToJson } from './schema.ts';
import { TEST_SCHEMA } from './schema-for-tests.ts';
import { OvsdbServer } from './server.ts';
import { VSWITCH_SCHEMA } from './vswitch-schema.ts';

/** A client that speaks what it is told to. */
class Client {
  readonly stream: Duplex;
  readonly notifications: JsonObject[] = [];
  readonly closed: Promise<void>;
  private readonly parser = new JsonStream();
  private readonly waiters = new Map<Json, (reply: JsonObject) => void>();
  private wake: () => void = () => {};
  private nextId = 1;

  constructor(stream: Duplex) {
    this.stream = stream;
    stream.on('data', (chunk: Buffer) => {
      for (const message of this.parser.feed(chunk)) this.received(message as JsonObject);
    });
    stream.on('error', () => {});
    this.closed = new Promise((resolve) => {
      stream.on('close', () => resolve());
    });
  }

  private received(message: JsonObject): void {
    if (message.method === undefined) {
      this.waiters.get(message.id!)?.(message);
      return;
    }
    this.notifications.push(message);
    this.wake();
  }

  send(json: Json): void {
    this.stream.write(toText(json));
  }

  /** The whole reply to a request. */
  ask(method: string, params: Json, id: Json = this.nextId++): Promise<JsonObject> {
    return new Promise((resolve) => {
      this.waiters.set(id, resolve);
      this.send({ method, params, id });
    });
  }

  transact(...operations: Json[]): Promise<JsonObject> {
    return this.ask('transact', ['zoo', ...operations]);
  }

  /** The next notification of that kind. */
  async notified(method: string): Promise<JsonObject> {
    for (;;) {
      const at = this.notifications.findIndex((notification) => notification.method === method);
      if (at >= 0) return this.notifications.splice(at, 1)[0]!;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}

let server: OvsdbServer;
let warnings: string[];

beforeEach(() => {
  warnings = [];
  server = new OvsdbServer({
    log: (level, module, message) => {
      if (level === 'warn') warnings.push(`${module}: ${message}`);
    },
  });
  server.addInMemory(schemaFromJson(TEST_SCHEMA));
});

afterEach(() => server.close());

function connect(): Client {
  return new Client(server.connectInMemory());
}

const insert = (name: string): Json => ({ op: 'insert', table: 'Item', row: { name, number: name.length } });

describe('requests', () => {
  test('what a server knows about itself', async () => {
    const client = connect();
    assert.deepEqual((await client.ask('list_dbs', [])).result, ['_Server', 'zoo']);
    assert.equal((await client.ask('get_server_id', [])).result, server.uuid);
    assert.deepEqual((await client.ask('get_schema', ['zoo'])).result, schemaToJson(schemaFromJson(TEST_SCHEMA)));
    assert.deepEqual((await client.ask('echo', ['x', { y: 1 }])).result, ['x', { y: 1 }]);
    assert.equal((await client.ask('fly', [])).error, 'unknown method');
    const unknown = (await client.ask('get_schema', ['nope'])).error as JsonObject;
    assert.deepEqual(
      [unknown.error, unknown.details],
      ['unknown database', 'get_schema request specifies unknown database nope'],
    );
    const rows = (
      await client.ask('transact', [
        '_Server',
        { op: 'select', table: 'Database', where: [], columns: ['name', 'model'] },
      ])
    ).result;
    assert.equal(((rows as JsonObject[])[0]!.rows as Json[]).length, 2);
    const [refused] = (await client.ask('transact', ['_Server', { op: 'delete', table: 'Database', where: [] }]))
      .result as JsonObject[];
    assert.equal(refused!.error, 'not allowed');
  });

  test('a wait ends when another client makes it true, or at its time, or when it is canceled', async () => {
    const [one, other] = [connect(), connect()];
    const wait = (name: string, timeout?: number): Json => ({
      op: 'wait',
      table: 'Item',
      where: [['name', '==', name]],
      columns: ['name'],
      until: '==',
      rows: [{ name }],
      ...(timeout === undefined ? {} : { timeout }),
    });
    const waiting = one.transact(wait('a'), { op: 'select', table: 'Item', where: [], columns: ['name'] });
    await other.transact(insert('a'));
    assert.deepEqual((await waiting).result, [{}, { rows: [{ name: 'a' }] }]);
    const [timedOut] = (await one.transact(wait('never', 20))).result as JsonObject[];
    assert.equal(timedOut!.error, 'timed out');
    const canceled = one.ask('transact', ['zoo', wait('never')], 'my id');
    one.send({ method: 'cancel', params: ['my id'], id: null });
    assert.equal((await canceled).error, 'canceled');
    assert.equal(server.dbs.get('zoo')!.nWaiting, 0);
  });

  test('the news comes before the reply that it belongs to', async () => {
    const client = connect();
    await client.ask('monitor', ['zoo', 'm', { Item: { columns: ['name'] } }]);
    await client.transact(insert('a'));
    assert.equal(client.notifications.length, 1);
    assert.equal(client.notifications[0]!.method, 'update');
    assert.deepEqual((await client.ask('monitor_cancel', ['m'])).result, {});
    assert.equal((await client.ask('monitor_cancel', ['m'])).error, 'unknown monitor');
    await client.transact(insert('bb'));
    assert.equal(client.notifications.length, 1);
  });

  test('a monitor that begins from the last known transaction gets everything', async () => {
    const client = connect();
    await client.transact(insert('a'));
    const since = await client.ask('monitor_cond_since', [
      'zoo',
      'm',
      { Item: [{ columns: ['name'] }] },
      '00000000-0000-4000-8000-000000000001',
    ]);
    const [found, , updates] = since.result as [boolean, string, JsonObject];
    assert.equal(found, false);
    assert.equal(Object.keys(updates.Item as JsonObject).length, 1);
    await client.transact(insert('bb'));
    assert.equal((client.notifications[0]!.params as Json[]).length, 3);
  });
});

describe('locks', () => {
  test('are given in turn, can be stolen, and guard transactions', async () => {
    const [a, b, c] = [connect(), connect(), connect()];
    const guarded = (client: Client) => client.transact({ op: 'assert', lock: 'l' });
    assert.deepEqual((await a.ask('lock', ['l'])).result, { locked: true });
    assert.deepEqual((await b.ask('lock', ['l'])).result, { locked: false });
    assert.deepEqual((await guarded(a)).result, [{}]);
    assert.equal(((await guarded(b)).result as JsonObject[])[0]!.error, 'not owner');
    assert.deepEqual((await c.ask('steal', ['l'])).result, { locked: true });
    assert.deepEqual((await a.notified('stolen')).params, ['l']);
    assert.match(
      String(((await c.ask('lock', ['l'])).error as JsonObject).details),
      /must issue "unlock" before new "lock"/,
    );
    c.stream.destroy();
    assert.deepEqual((await a.notified('locked')).params, ['l']);
    assert.deepEqual((await a.ask('unlock', ['l'])).result, {});
    assert.deepEqual((await b.notified('locked')).params, ['l']);
    assert.match(
      String(((await a.ask('unlock', ['l'])).error as JsonObject).details),
      /"unlock" without "lock" or "steal"/,
    );
  });
});

describe('databases that come and go', () => {
  test('clients that do not watch _Server are disconnected, the others are told', async () => {
    const [aware, unaware] = [connect(), connect()];
    await aware.ask('set_db_change_aware', [true]);
    await aware.ask('monitor_cond', ['_Server', 's', { Database: [{ columns: ['name'] }] }]);
    await aware.ask('monitor', ['zoo', 'm', { Item: {} }]);
    const waiting = aware.transact({ op: 'wait', table: 'Item', where: [], columns: ['name'], until: '!=', rows: [] });
    server.remove(server.dbs.get('zoo')!, 'for the test');
    await unaware.closed;
    assert.deepEqual((await aware.notified('monitor_canceled')).params, ['m']);
    assert.equal((await waiting).error, 'canceled');
    assert.match(toText((await aware.notified('update2')).params!), /"delete":null/);
  });

  test('convert', async () => {
    const client = connect();
    await client.ask('set_db_change_aware', [true]);
    await client.transact(insert('a'));
    const schema = { ...(TEST_SCHEMA as JsonObject), version: '2.0.0' };
    assert.deepEqual((await client.ask('convert', ['zoo', schema])).result, {});
    assert.equal(((await client.ask('get_schema', ['zoo'])).result as JsonObject).version, '2.0.0');
    const [{ rows }] = (await client.transact({ op: 'select', table: 'Item', where: [], columns: ['name'] }))
      .result as [JsonObject];
    assert.deepEqual(rows, [{ name: 'a' }]);
    const wrong = (await client.ask('convert', ['zoo', { ...schema, name: 'other' }])).error as JsonObject;
    assert.match(String(wrong.details), /new schema name \(other\) does not match database name \(zoo\)/);
  });
});

describe('bad input (faults, row 24): that client is closed, the others notice nothing', () => {
  let folder: string;
  let path: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'turnout-ovsdb-'));
    path = join(folder, 'db.sock');
  });
  after(() => rmSync(folder, { recursive: true }));

  async function attack(attacker: (socket: net.Socket) => void): Promise<void> {
    const remotes = new RemoteManager(server, {});
    remotes.configured.add(`punix:${path}`);
    assert.equal(await remotes.start(), '');
    const good = new Client(net.connect(path));
    await good.transact(insert('a'));
    const socket = net.connect(path);
    socket.on('error', () => {});
    socket.resume();
    const closed = new Promise<void>((resolve) => {
      socket.on('close', () => resolve());
    });
    attacker(socket);
    await closed;
    assert.deepEqual((await good.ask('echo', ['still here'])).result, ['still here']);
    assert.equal(server.sessions.size, 1);
    remotes.stop();
  }

  test('100,000 levels of nesting', async () => {
    await attack((socket) => socket.write('['.repeat(100_000)));
    assert.match(warnings[0]!, /jsonrpc: unix#\d+: error parsing stream: .*nesting depth 1000/);
  });

  test('a gigabyte of JSON', async () => {
    const chunk = Buffer.alloc(1 << 20, 0x78);
    let left = 1024;
    let peak = 0;
    await attack((socket) => {
      socket.write('["');
      const more = () => {
        peak = Math.max(peak, process.memoryUsage().arrayBuffers);
        while (left > 0 && !socket.destroyed) {
          left--;
          if (!socket.write(chunk)) return;
        }
      };
      socket.on('drain', more);
      more();
    });
    assert.ok(left > 0, 'it was cut off before it had sent everything');
    assert.ok(peak < 512 << 20, `${peak} bytes held`);
    assert.match(warnings[0]!, /error parsing stream: message is too long/);
  });

  test('bad UTF-8', async () => {
    await attack((socket) => socket.write(Buffer.from([0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x3a, 0x31, 0x7d])));
    assert.match(warnings[0]!, /invalid UTF-8/);
  });

  test('no JSON, and JSON that is no JSON-RPC', async () => {
    await attack((socket) => socket.write('GET / HTTP/1.1\r\n\r\n'));
    await attack((socket) => socket.write('{"hello":"world"}'));
    await attack((socket) => socket.write('{"method":"echo","params":{},"id":1}'));
    await attack((socket) => socket.write('{"result":1,"error":null,"id":7}'));
    assert.equal(warnings.length, 4);
    assert.match(warnings[1]!, /received bad JSON-RPC message: unexpected member "hello"/);
    assert.match(warnings[2]!, /"params" must be JSON array/);
    assert.match(warnings[3]!, /received unexpected reply message/);
  });

  test('a client that reads nothing costs memory for its rows only', async () => {
    const slow = server.connectInMemory();
    slow.write(toText({ method: 'monitor', params: ['zoo', 'm', { Item: {} }], id: 1 }));
    const good = connect();
    await good.transact(insert('a'));
    const [session] = [...server.sessions];
    const filler = 'x'.repeat(10_000);
    const update = (i: number) => ({
      op: 'update',
      table: 'Item',
      where: [],
      row: { opts: ['map', [['k', `${filler}${i}`]]] },
    });
    for (let i = 0; i < 200; i++) {
      await good.transact(update(i));
      await new Promise(setImmediate);
    }
    assert.ok(session!.connection.isBusy);
    assert.ok(session!.connection.backlogSize < 1 << 20, `${session!.connection.backlogSize} bytes wait`);
    const late = new Client(slow);
    const seen = async (): Promise<string> => toText((await late.notified('update')).params!);
    let text = await seen();
    while (!text.includes(`${filler}199`)) text = await seen();
    assert.ok(late.notifications.length < 100);
  });
});

describe('remotes', () => {
  test('follow the Manager table, and its status columns are written', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'turnout-ovsdb-'));
    try {
      const served = server.addInMemory(schemaFromJson(VSWITCH_SCHEMA));
      const remotes = new RemoteManager(server, {});
      remotes.configured.add('db:Open_vSwitch,Open_vSwitch,manager_options');
      assert.equal(await remotes.start(), '');
      const client = connect();
      const target = `punix:${folder}/manager.sock`;
      const run = (...operations: Json[]) => client.ask('transact', ['Open_vSwitch', ...operations]);
      await run(
        { op: 'insert', table: 'Manager', row: { target }, 'uuid-name': 'm' },
        { op: 'insert', table: 'Open_vSwitch', row: { manager_options: ['named-uuid', 'm'] } },
      );
      await remotes.settled();
      const viaManager = new Client(net.connect(`${folder}/manager.sock`));
      assert.deepEqual((await viaManager.ask('echo', [])).result, []);
      remotes.writeStatus();
      const [{ rows }] = (await run({ op: 'select', table: 'Manager', where: [], columns: ['is_connected'] }))
        .result as [JsonObject];
      assert.deepEqual(rows, [{ is_connected: true }]);
      await run({ op: 'update', table: 'Open_vSwitch', where: [], row: { manager_options: ['set', []] } });
      await viaManager.closed;
      assert.equal(served.db.tables.get('Manager')!.rows.size, 0);
      remotes.stop();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('a column that is not there is a problem in the words of Open vSwitch', async () => {
    const remotes = new RemoteManager(server, { privateKey: 'db:zoo,Item,number' });
    remotes.configured.add('db:zoo,Nope,x');
    const problem = await remotes.start();
    assert.match(problem, /"db:zoo,Nope,x": no table named Nope/);
    assert.match(problem, /"db:zoo,Item,number": table "Item" column "number" is not string or set of strings/);
    remotes.stop();
  });
});
