/** Turnout's database server with Open vSwitch's clients, tools and switch; Turnout's client with Open vSwitch's server. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createIdl } from '../../src/ovsdb/idl.ts';
import { parseJson } from '../../src/ovsdb/json.ts';
import { schemaFromJson, schemaToJson } from '../../src/ovsdb/schema.ts';
import { VSWITCH_SCHEMA } from '../../src/ovsdb/vswitch-schema.ts';
import { requirePeer } from '../support/require.ts';
import { DbHost, OURS, REAL, VSWITCH_SCHEMA_FILE } from './support/ovsdb.ts';

const OUR_VSCTL = fileURLToPath(new URL('../../compat/bin/ovs-vsctl', import.meta.url));

const CLIENTS = ['ovs-vsctl', 'ovsdb-client', 'ovsdb-tool', 'ovs-appctl'];

test('the declared schema is the one that Open vSwitch installs', (t) => {
  if (!requirePeer(t, 'ovs-ctl')) return;
  const installed = schemaFromJson(parseJson(readFileSync(VSWITCH_SCHEMA_FILE, 'utf8')));
  assert.deepEqual(schemaToJson(schemaFromJson(VSWITCH_SCHEMA)), schemaToJson(installed));
});

test('ovs-vsctl', async (t) => {
  if (!requirePeer(t, ...CLIENTS, 'ovs-ctl')) return;
  const host = new DbHost(t);
  host.createDb();
  host.start(OURS);
  host.vsctl('init');
  host.vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=netdev', 'other_config:a=b');
  host.vsctl('add-port', 'br0', 'p1', '--', 'set', 'interface', 'p1', 'type=dummy', 'options:x="y z"');
  host.vsctl('add-bond', 'br0', 'bond0', 'e1', 'e2', 'bond_mode=active-backup');
  assert.equal(host.vsctl('list-ports', 'br0'), 'bond0\np1\n');
  assert.equal(host.vsctl('get', 'bridge', 'br0', 'other_config:a').trim(), 'b');
  assert.equal(host.vsctl('get', 'interface', 'p1', 'options').trim(), '{x="y z"}');
  assert.equal(host.vsctl('--bare', '--columns=name', 'find', 'interface', 'type=dummy').trim(), 'p1');
  host.vsctl('set', 'port', 'p1', 'tag=7', '--', 'add', 'port', 'p1', 'trunks', '1', '2');
  assert.equal(host.vsctl('get', 'port', 'p1', 'trunks').trim(), '[1, 2]');
  host.vsctl('remove', 'port', 'p1', 'trunks', '1', '--', 'clear', 'port', 'p1', 'tag');
  assert.equal(host.vsctl('get', 'port', 'p1', 'trunks', 'tag'), '[2]\n[]\n');
  host.vsctl(
    '--',
    '--id=@p',
    'get',
    'port',
    'p1',
    '--',
    '--id=@m',
    'create',
    'mirror',
    'name=m',
    'output-port=@p',
    '--',
    'set',
    'bridge',
    'br0',
    'mirrors=@m',
  );
  host.vsctl('del-port', 'p1');
  assert.equal(host.vsctl('get', 'mirror', 'm', 'output_port').trim(), '[]');
  host.vsctl('clear', 'bridge', 'br0', 'mirrors');
  assert.equal(host.vsctl('list', 'mirror'), '');
  host.vsctl('--id=@q', 'create', 'qos', 'type=linux-htb');
  host.vsctl('--all', 'destroy', 'qos');
  assert.equal(host.vsctl('list', 'qos'), '');
  assert.match(
    host.tryVsctl('add-br', 'br0').stderr,
    /cannot create a bridge named br0 because a bridge named br0 already exists/,
  );
  assert.match(host.tryVsctl('create', 'bridge', 'name=br0', '--', 'list', 'nope').stderr, /unknown table "nope"/);
  const twice = host.tryVsctl(
    '--',
    '--id=@i',
    'create',
    'interface',
    'name=e1',
    '--',
    'add',
    'port',
    'bond0',
    'interfaces',
    '@i',
  );
  assert.match(
    twice.stderr,
    /Transaction causes multiple rows in \\"Interface\\" table to have identical values \(e1\) for index on column/,
  );
  const waiting = host.runAsync('ovs-vsctl', `--db=${host.remote}`, '--timeout=30', 'wait-until', 'bridge', 'br9');
  host.vsctl('add-br', 'br9');
  assert.equal((await waiting).status, 0);
  assert.doesNotMatch(host.log(), /\|(WARN|ERR|EMER)\|/);
  await host.stop();
});

test('ovsdb-client', async (t) => {
  if (!requirePeer(t, ...CLIENTS, 'ovs-ctl')) return;
  const host = new DbHost(t);
  host.createDb();
  host.start(OURS);
  const client = (...args: string[]) => host.run('ovsdb-client', ...args);
  assert.equal(client('list-dbs', host.remote), 'Open_vSwitch\n_Server\n');
  assert.equal(client('get-schema-version', host.remote, 'Open_vSwitch').trim(), '8.3.1');
  assert.equal(client('get-schema-cksum', host.remote, 'Open_vSwitch').trim(), '3012963480 26720');
  assert.equal(client('needs-conversion', host.remote, VSWITCH_SCHEMA_FILE).trim(), 'no');
  const monitor = host.runAsync(
    'ovsdb-client',
    '--timeout=30',
    'monitor',
    host.remote,
    'Open_vSwitch',
    'Bridge',
    'name',
    '--format=csv',
  );
  host.vsctl('add-br', 'br0');
  const backup = client('backup', host.remote, 'Open_vSwitch');
  host.vsctl('del-br', 'br0');
  writeFileSync(host.path('backup'), backup);
  host.run('sh', '-c', `ovsdb-client restore ${host.remote} Open_vSwitch < backup`);
  assert.match(client('dump', host.remote, 'Open_vSwitch', 'Bridge', 'name'), /Bridge table\nname\n----\nbr0\n/);
  const wrong = host.try('ovsdb-client', 'transact', host.remote, '["nope"]');
  assert.match(wrong.stderr, /"details":"transact request specifies unknown database nope","error":"unknown database"/);
  assert.match(client('wait', host.remote, 'Open_vSwitch', 'connected'), /^$/);
  client('convert', host.remote, VSWITCH_SCHEMA_FILE);
  await host.stop();
  assert.match((await monitor).stdout, /insert,br0/);
});

test('the database file: ovsdb-tool and the real server read what Turnout wrote, and the other way round', async (t) => {
  if (!requirePeer(t, ...CLIENTS, 'ovsdb-server', 'ovs-ctl')) return;
  const host = new DbHost(t);
  host.createDb();
  const tool = (...args: string[]) => host.run('ovsdb-tool', ...args);
  for (const [server, name] of [
    [OURS, 'br1'],
    [REAL, 'br2'],
    [OURS, 'br3'],
    [REAL, 'br4'],
  ] as const) {
    host.start(server);
    host.vsctl('add-br', name, '--', 'set', 'bridge', name, 'other_config:made=here', 'fail_mode=secure');
    host.vsctl(
      'set',
      'bridge',
      name,
      'other_config:more=there',
      '--',
      'remove',
      'bridge',
      name,
      'other_config',
      'made',
    );
    assert.doesNotMatch(host.log(), /\|(ERR|EMER)\|/);
    await host.stop();
  }
  const log = tool('-mmm', 'show-log', 'conf.db');
  for (const name of ['br1', 'br2', 'br3', 'br4']) {
    assert.match(log, new RegExp(`ovs-vsctl .*add-br ${name}`));
  }
  const query = () =>
    tool(
      'query',
      'conf.db',
      '["Open_vSwitch",{"op":"select","table":"Bridge","where":[],"columns":["name","other_config"],"sort":["name"]}]',
    );
  const names = ['br1', 'br2', 'br3', 'br4'];
  const rows = names.map((name) => ({ name, other_config: ['map', [['more', 'there']]] }));
  assert.deepEqual(JSON.parse(query()), [{ rows }]);
  tool('compact', 'conf.db');
  host.start(OURS);
  host.run('ovs-appctl', '-t', 'ovsdb-server', 'ovsdb-server/compact');
  assert.match(host.try('ovsdb-tool', 'compact', 'conf.db').stderr, /already locked by pid|failed to lock lockfile/);
  await host.stop();
  assert.deepEqual(JSON.parse(query()), [{ rows }]);
  assert.match(tool('db-version', 'conf.db'), /8\.3\.1/);
});

test('a server that is killed in the middle of its work has every transaction that it answered', async (t) => {
  if (!requirePeer(t, ...CLIENTS, 'ovs-ctl')) return;
  const host = new DbHost(t);
  host.createDb();
  host.start(OURS);
  host.vsctl('add-br', 'br0');
  const idl = createIdl({ remote: host.remote, monitor: { Open_vSwitch: ['next_cfg'] } });
  idl.start();
  await idl.ready();
  const { _uuid } = idl.snapshot().first('Open_vSwitch')!;
  let answered = 0;
  const flood = async () => {
    for (;;) {
      const txn = idl.txn();
      txn.increment('Open_vSwitch', _uuid, 'next_cfg');
      const result = await txn.commit();
      if (result.status !== 'success') return;
      answered = result.increment!;
    }
  };
  const floods = [flood(), flood(), flood()];
  while (answered < 200) await new Promise(setImmediate);
  await host.kill();
  await Promise.all(floods);
  idl.stop();
  // What a power cut does to a record that was being written.
  const bytes = readFileSync(host.path('conf.db'));
  writeFileSync(host.path('conf.db'), Buffer.concat([bytes, bytes.subarray(bytes.length - 50)]));
  host.start(OURS, '--overwrite-pidfile');
  assert.ok(Number(host.vsctl('get', 'Open_vSwitch', '.', 'next_cfg')) >= answered);
  host.vsctl('add-br', 'br1');
  await host.stop();
  assert.equal(
    host
      .run(
        'ovsdb-tool',
        'query',
        'conf.db',
        '["Open_vSwitch",{"op":"select","table":"Bridge","where":[["name","==","br1"]],"columns":["name"]}]',
      )
      .trim(),
    '[{"rows":[{"name":"br1"}]}]',
  );
});

test('the real ovs-vswitchd runs on it', async (t) => {
  if (!requirePeer(t, ...CLIENTS, 'ovs-vswitchd', 'ovs-ctl')) return;
  const host = new DbHost(t);
  host.createDb();
  host.start(OURS);
  host.vsctl('init');
  const daemon = spawn(
    'ovs-vswitchd',
    [
      '--enable-dummy=override',
      '--disable-system',
      '--disable-system-route',
      '--no-chdir',
      '--pidfile',
      '--log-file',
      host.remote,
    ],
    { env: host.env, stdio: 'ignore' },
  );
  t.after(() => daemon.kill('SIGKILL'));
  const vsctl = (...args: string[]) => host.run('ovs-vsctl', `--db=${host.remote}`, '--timeout=60', ...args);
  vsctl(
    'add-br',
    'br0',
    '--',
    'set',
    'bridge',
    'br0',
    'datapath_type=dummy',
    'fail_mode=secure',
    '--',
    'add-port',
    'br0',
    'p1',
    '--',
    'set',
    'interface',
    'p1',
    'type=dummy',
    'ofport_request=5',
  );
  assert.equal(vsctl('get', 'interface', 'p1', 'ofport').trim(), '5');
  assert.equal(vsctl('get', 'Open_vSwitch', '.', 'cur_cfg'), vsctl('get', 'Open_vSwitch', '.', 'next_cfg'));
  vsctl('wait-until', 'interface', 'p1', 'statistics:rx_packets=0', 'link_state=up');
  vsctl('del-br', 'br0');
  host.run('ovs-appctl', '-t', 'ovs-vswitchd', 'exit');
  await host.stop();
});

test("Turnout's client on the real server", async (t) => {
  if (!requirePeer(t, ...CLIENTS, 'ovsdb-server', 'ovs-ctl')) return;
  const host = new DbHost(t);
  host.createDb();
  host.start(REAL);
  host.vsctl('init');
  const idl = createIdl({
    remote: host.remote,
    monitor: { Open_vSwitch: true, Bridge: ['name', 'other_config'] },
    lock: 'ovs_vswitchd',
    maxBackoffMs: 20,
  });
  t.after(() => idl.stop());
  const seen = (name: string) =>
    new Promise<void>((resolve) => {
      const stop = idl.onChange((snapshot) => {
        if (![...snapshot.table('Bridge').values()].some((bridge) => bridge.name === name)) return;
        stop();
        resolve();
      });
    });
  idl.start();
  await idl.ready();
  assert.equal(idl.hasLock, true);
  const first = seen('br0');
  host.vsctl('add-br', 'br0');
  await first;
  const txn = idl.txn();
  const bridge = [...idl.snapshot().table('Bridge').keys()][0]!;
  txn.verify('Bridge', bridge, 'name');
  txn.update('Bridge', bridge, { other_config: new Map([['by', 'turnout']]) });
  txn.increment('Open_vSwitch', idl.snapshot().first('Open_vSwitch')!._uuid, 'cur_cfg');
  assert.deepEqual(await txn.commit({ durable: true }), { status: 'success', uuids: new Map(), increment: 1 });
  assert.equal(host.vsctl('get', 'bridge', 'br0', 'other_config').trim(), '{by=turnout}');
  await host.stop();
  host.start(REAL);
  const second = seen('br1');
  host.vsctl('add-br', 'br1');
  await second;
  await host.stop();
});

test('TLS: ovsdb-client with keys of ovs-pki, also from the database; clients that bootstrap their CA', async (t) => {
  if (!requirePeer(t, ...CLIENTS, 'ovsdb-server', 'ovs-ctl', 'ovs-pki', 'openssl')) return;
  const host = new DbHost(t);
  const pki = (...args: string[]) =>
    host.run('ovs-pki', `--dir=${host.path('pki')}`, `--log=${host.path('pki.log')}`, ...args);
  pki('init');
  pki('req+sign', 'server', 'controller');
  pki('req+sign', 'client', 'switch');
  const ca = (kind: string) => host.path(`pki/${kind}ca/cacert.pem`);
  const withTls = [
    '--private-key=db:Open_vSwitch,SSL,private_key',
    '--certificate=db:Open_vSwitch,SSL,certificate',
    '--ca-cert=db:Open_vSwitch,SSL,ca_cert',
    `--peer-ca-cert=${ca('controller')}`,
    '--remote=db:Open_vSwitch,Open_vSwitch,manager_options',
  ];
  host.createDb();
  host.start(OURS, ...withTls);
  host.vsctl('init');
  host.vsctl(
    'set-ssl',
    host.path('server-privkey.pem'),
    host.path('server-cert.pem'),
    ca('switch'),
    '--',
    'set-manager',
    'pssl:0:127.0.0.1',
  );
  const boundPort = () => {
    const manager = 'pssl:0:127.0.0.1';
    host.vsctl('--timeout=60', 'wait-until', 'manager', manager, 'status:bound_port!=0');
    return host.vsctl('get', 'manager', manager, 'status:bound_port').trim().replaceAll('"', '');
  };
  const port = boundPort();
  const client = (...args: string[]) => host.try('ovsdb-client', ...args, 'list-dbs', `ssl:127.0.0.1:${port}`);
  const keys = ['--private-key=client-privkey.pem', '--certificate=client-cert.pem'];
  assert.equal(client(...keys, `--ca-cert=${ca('controller')}`).stdout, 'Open_vSwitch\n_Server\n');
  copyFileSync(ca('switch'), host.path('wrong.pem'));
  assert.notEqual(client(...keys, '--ca-cert=wrong.pem').status, 0);
  assert.notEqual(
    client('--private-key=server-privkey.pem', '--certificate=server-cert.pem', `--ca-cert=${ca('controller')}`).status,
    0,
  );
  assert.match(host.log(), /stream_ssl\|WARN\|SSL_accept/);
  const tls = {
    privateKey: host.path('client-privkey.pem'),
    certificate: host.path('client-cert.pem'),
    caCert: ca('controller'),
  };
  const idl = createIdl({ remote: `ssl:127.0.0.1:${port}`, monitor: { Manager: true }, tls });
  idl.start();
  await idl.ready();
  assert.equal(idl.snapshot().first('Manager')!.target, 'pssl:0:127.0.0.1');
  idl.stop();

  const fingerprint = (file: string) => new X509Certificate(readFileSync(host.path(file))).fingerprint256;
  const assertBootstraps = (vsctl: string, caCert: string) => {
    const options = ['--timeout=60', ...keys, `--bootstrap-ca-cert=${caCert}`, `--db=ssl:127.0.0.1:${boundPort()}`];
    for (const how of ['with the CA that it is shown', 'with the CA that it has kept']) {
      // A client gives up the connection that shows it the CA.
      assert.equal(host.run(vsctl, '--retry', ...options, 'get-manager'), 'pssl:0:127.0.0.1\n', how);
      assert.equal(fingerprint(caCert), fingerprint('pki/controllerca/cacert.pem'));
    }
    copyFileSync(ca('switch'), host.path(caCert));
    assert.notEqual(host.try(vsctl, ...options, 'get-manager').status, 0, 'a CA that is there is not replaced');
  };
  assertBootstraps('ovs-vsctl', 'real-on-ours.pem');
  assertBootstraps(OUR_VSCTL, 'ours-on-ours.pem');
  await host.stop();
  host.start(REAL, ...withTls);
  assertBootstraps(OUR_VSCTL, 'ours-on-real.pem');
  await host.stop();
});
