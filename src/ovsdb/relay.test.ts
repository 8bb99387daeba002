import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { createClusterFile, readClusterHeader } from './cluster-file.ts';
import type { Json, JsonObject } from './json.ts';
import { isObject } from './json.ts';
import { parseRelayName } from './relay.ts';
import { RemoteManager } from './remote-manager.ts';
import { RpcClient } from './rpc-client.ts';
import { persistentSchemaJson, schemaFromJson } from './schema.ts';
import { TEST_SCHEMA } from './schema-for-tests.ts';
import { OvsdbServer } from './server.ts';

const SCHEMA = schemaFromJson(TEST_SCHEMA);

/** A server with a socket. */
class Host {
  readonly server = new OvsdbServer();
  readonly remotes = new RemoteManager(this.server, {});
  readonly path: string;

  constructor(path: string) {
    this.path = path;
    this.remotes.configured.add(`punix:${path}`);
  }

  async start(): Promise<void> {
    assert.equal(await this.remotes.start(), '');
  }

  connect(): Promise<RpcClient> {
    return RpcClient.open(`unix:${this.path}`);
  }

  stop(): void {
    this.remotes.stop();
    this.server.close();
  }
}

let folder = '';
let hosts: Host[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'turnout-relay-'));
});

afterEach(() => {
  for (const host of hosts) host.stop();
  hosts = [];
  rmSync(folder, { recursive: true });
});

async function startHost(name: string): Promise<Host> {
  const host = new Host(join(folder, name));
  await host.start();
  hosts.push(host);
  return host;
}

async function resultOf(client: RpcClient, method: string, params: Json): Promise<Json> {
  const answer = await client.request(method, params);
  assert.ok('result' in answer, JSON.stringify(answer));
  return answer.result;
}

const insert = (number: number): Json => ({ op: 'insert', table: 'Item', row: { name: `n${number}`, number } });
const names: Json = { op: 'select', table: 'Item', where: [], columns: ['name'] };

/** Resolves when the database has that many rows. */
async function rowsCome(client: RpcClient, n: number): Promise<void> {
  const rows = Array.from({ length: n }, (_, i) => ({ name: `n${i}` }));
  await resultOf(client, 'transact', [
    'zoo',
    { op: 'wait', table: 'Item', where: [], columns: ['name'], until: '==', rows },
  ]);
}

/** Resolves when `served` follows its source. */
async function connected(host: Host): Promise<void> {
  const client = await host.connect();
  const wait = { op: 'wait', table: 'Database', where: [['name', '==', 'zoo']], columns: ['connected'], until: '==' };
  await resultOf(client, 'transact', ['_Server', { ...(wait as JsonObject), rows: [{ connected: true }] }]);
  client.close();
}

describe('relays', () => {
  it('words on the command line', () => {
    assert.deepEqual(parseRelayName('relay:zoo:tcp:a:1,unix:b'), { name: 'zoo', remotes: ['tcp:a:1', 'unix:b'] });
    assert.equal(parseRelayName('zoo.db'), undefined);
    assert.throws(() => parseRelayName('relay:zoo'), /invalid syntax: relay:zoo/);
  });

  it('a relay answers questions itself, passes on what writes, and follows its source', async () => {
    const source = await startHost('source');
    source.server.addInMemory(SCHEMA);
    const relay = await startHost('relay');
    relay.server.addRelay('zoo', [`unix:${source.path}`], {});
    await connected(relay);
    const [atSource, atRelay] = [await source.connect(), await relay.connect()];
    const [first] = (await resultOf(atRelay, 'transact', ['zoo', insert(0)])) as readonly JsonObject[];
    assert.ok(first!.uuid);
    await resultOf(atSource, 'transact', ['zoo', insert(1)]);
    await rowsCome(atRelay, 2);
    const [selected] = (await resultOf(atRelay, 'transact', ['zoo', names])) as readonly JsonObject[];
    assert.equal((selected!.rows as readonly Json[]).length, 2);
    // What the source refuses is refused here.
    const refused = (await resultOf(atRelay, 'transact', ['zoo', insert(0)])) as readonly Json[];
    assert.ok(refused.some((result) => isObject(result) && result.error === 'constraint violation'));
    for (const client of [atSource, atRelay]) client.close();
  });

  it('without its source it is not available', async () => {
    const relay = await startHost('relay');
    relay.server.addRelay('zoo', [`unix:${join(folder, 'nobody')}`], {});
    const client = await relay.connect();
    const answer = await client.request('get_schema', ['zoo']);
    assert.ok('error' in answer && isObject(answer.error) && answer.error.error === 'database not available');
    client.close();
  });
});

describe('clustered databases of one server', () => {
  it('transactions have ids by which a client that comes back hears only of what it missed, also after a restart', async () => {
    const file = join(folder, 'zoo.db');
    createClusterFile(file, 'zoo', 'unix:zoo.raft', persistentSchemaJson(SCHEMA), {});
    const requests = { Item: [{ columns: ['name'] }] };
    const monitor = (client: RpcClient, id: Json, last: Json) =>
      resultOf(client, 'monitor_cond_since', ['zoo', id, requests, last]) as Promise<readonly Json[]>;
    const zero = '00000000-0000-0000-0000-000000000000';

    const before = await startHost('before');
    before.server.openFile(file);
    let client = await before.connect();
    await resultOf(client, 'transact', ['zoo', insert(0)]);
    const [found, id] = await monitor(client, 'a', zero);
    assert.equal(found, false);
    await resultOf(client, 'transact', ['zoo', insert(1)]);
    client.close();
    before.stop();
    hosts = [];

    const after = await startHost('after');
    after.server.openFile(file);
    client = await after.connect();
    const [isKnown, newest, updates] = await monitor(client, 'b', id!);
    assert.equal(isKnown, true);
    assert.notEqual(newest, id);
    const rows = Object.values((updates as JsonObject).Item as JsonObject);
    assert.deepEqual(rows, [{ insert: { name: 'n1' } }]);
    client.close();
  });

  it('its file says who it is; one that has joined no cluster cannot be served', () => {
    const file = join(folder, 'zoo.db');
    createClusterFile(file, 'zoo', 'tcp:1.2.3.4:5', persistentSchemaJson(SCHEMA), {});
    const header = readClusterHeader(file);
    assert.deepEqual([header.name, header.localAddress, header.snapshot?.index], ['zoo', 'tcp:1.2.3.4:5', 1]);
    assert.throws(
      () => createClusterFile(join(folder, 'x'), 'zoo', 'nowhere', {}, {}),
      /nowhere: invalid syntax in raft address/,
    );
  });
});
