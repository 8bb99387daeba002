/** The same random commands, given by Turnout's ovs-vsctl and by Open vSwitch's to a database each, give the same output, the same exit
 *  codes and the same databases. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { requirePeer } from '../support/require.ts';
import type { Outcome } from './support/ovsdb.ts';
import { DbHost, REAL } from './support/ovsdb.ts';

const OUR_VSCTL = fileURLToPath(new URL('../../compat/bin/ovs-vsctl', import.meta.url));

/** A command and its options, without `--`. */
type Words = readonly string[];

const pick = <T>(...values: T[]) => fc.constantFrom(...values);
const words = (...parts: (string | fc.Arbitrary<string>)[]): fc.Arbitrary<Words> =>
  fc.tuple(...parts.map((part) => (typeof part === 'string' ? fc.constant(part) : part)));

const bridge = pick('br0', 'br1', 'fake5');
const port = pick('p0', 'p1', 'bond0', 'br1', 'fake5');
const iface = pick('i0', 'i1', 'p1', 'br0');
const vlan = pick('5', '0', '4096', '7');
const maybe = (option: string, command: fc.Arbitrary<Words>): fc.Arbitrary<Words> =>
  fc.tuple(fc.boolean(), command).map(([isGiven, rest]) => (isGiven ? [option, ...rest] : rest));

/** What is tried on the records of a table: `set`tings, `column`s, conditions. */
const KINDS = [
  {
    table: pick('Bridge', 'bridge', 'br'),
    name: bridge,
    settings: [
      'fail_mode=secure',
      'fail_mode=none',
      'stp_enable=yes',
      'stp_enable=perhaps',
      'protocols=OpenFlow10,OpenFlow13',
      'flood_vlans=1-3,9',
    ],
    columns: ['ports', 'fail_mode', 'flood-vlans', 'protocols', 'name'],
  },
  {
    table: pick('Port', 'po'),
    name: port,
    settings: [
      'tag=5',
      'tag=[]',
      'tag=4096',
      'trunks=1,2,5-7',
      'trunks=[3',
      'trunks=7-5',
      'tag',
      'bond_mode="balance-slb"',
      'name=other',
    ],
    columns: ['tag', 'trunks', 'bond_mode', 'interfaces', 'vlan_mode'],
  },
  {
    table: pick('Interface', 'if'),
    name: iface,
    settings: [
      'options:key=value',
      'options={a=1, "b c"=2}',
      'type=gre',
      'mtu_request=1500',
      'mtu_request=15x',
      'ofport_request=0',
    ],
    columns: ['options', 'options:key', 'type', 'mtu_request', 'link_speed'],
  },
  {
    table: pick('Open_vSwitch', 'o'),
    name: pick('.', '.', '.', 'x'),
    settings: ['system_type=Debian', 'system-version="1 2"', 'next_cfg=1', 'ssl=[]'],
    columns: ['bridges', 'system_type', 'ovs_version', 'ssl', 'db'],
  },
  {
    table: pick('Controller', 'QoS', 'sFlow', 'Qu', 'nonesuch'),
    name: bridge,
    settings: ['type=x'],
    columns: ['type', '_uuid'],
  },
] as const;

const COMMON_SETTINGS = [
  'other_config:a=b',
  'other-config:x="y z"',
  'other_config={k=v, l="w"}',
  'ext:n=1',
  'external_ids:n="2"',
  'nonesuch=1',
  'o=1',
];
const COMMON_COLUMNS = ['other_config', 'external_ids:n', 'ext', '_uuid', 'nonesuch', 'other_config:a'];
const member = pick('5', 'a=b', 'a', '[]', '', 'OpenFlow12', 'n=1', '9,10');
const CONDITIONS = [
  'tag=5',
  'tag!=5',
  'trunks{>=}5',
  'other_config:a=b',
  'name{in}br0',
  'tag<6',
  'name',
  'ext:n{=}[]',
  'ext:n!=1',
  'trunks{<}[1,2,3]',
];
const condition = pick(...CONDITIONS);

/** A command on one record: `rest` are words about a table of KINDS. */
function withRecord(verb: string, rest: (kind: (typeof KINDS)[number]) => fc.Arbitrary<Words>): fc.Arbitrary<Words> {
  const calls = KINDS.map((kind) =>
    fc.tuple(kind.table, kind.name, rest(kind)).map(([table, name, more]) => [verb, table, name, ...more]),
  );
  return maybe('--if-exists', fc.oneof(...calls));
}

const settingOf = ({ settings }: (typeof KINDS)[number]) => pick<string>(...settings, ...COMMON_SETTINGS);
const columnOf = ({ columns }: (typeof KINDS)[number]) => pick<string>(...columns, ...COMMON_COLUMNS);
const target = pick('tcp:10.0.0.1:6653', 'ptcp:6634', 'unix:/x', 'foo:bar');
const command: fc.Arbitrary<Words> = fc.oneof(
  { weight: 4, arbitrary: maybe('--may-exist', words('add-br', bridge)) },
  { weight: 2, arbitrary: maybe('--may-exist', words('add-br', 'fake5', bridge, vlan)) },
  { weight: 1, arbitrary: maybe('--if-exists', words('del-br', bridge)) },
  { weight: 4, arbitrary: maybe('--may-exist', words('add-port', bridge, port)) },
  { weight: 2, arbitrary: words('add-port', bridge, port, pick('tag=5', 'trunks=1,2', 'tag=x', 'other_config:a=b')) },
  { weight: 2, arbitrary: maybe('--may-exist', words('add-bond', bridge, 'bond0', iface, iface)) },
  { weight: 1, arbitrary: words('add-bond-iface', 'bond0', iface) },
  { weight: 1, arbitrary: maybe('--if-exists', words('del-bond-iface', iface)) },
  { weight: 2, arbitrary: maybe('--if-exists', words('del-port', port)) },
  { weight: 1, arbitrary: maybe('--with-iface', words('del-port', bridge, iface)) },
  { weight: 1, arbitrary: words('list-ports', bridge) },
  { weight: 1, arbitrary: words('list-ifaces', bridge) },
  { weight: 1, arbitrary: words('port-to-br', port) },
  { weight: 1, arbitrary: words('iface-to-br', iface) },
  { weight: 1, arbitrary: words('br-to-vlan', bridge) },
  { weight: 1, arbitrary: words('br-to-parent', bridge) },
  { weight: 1, arbitrary: maybe('--real', words('list-br')) },
  { weight: 1, arbitrary: words('br-set-external-id', bridge, 'key', pick('one', '"two')) },
  { weight: 1, arbitrary: words('br-get-external-id', bridge) },
  { weight: 1, arbitrary: words('set-controller', bridge, target) },
  { weight: 1, arbitrary: words('get-controller', bridge) },
  { weight: 1, arbitrary: words('del-controller', bridge) },
  { weight: 1, arbitrary: words('set-fail-mode', bridge, pick('secure', 'open')) },
  { weight: 1, arbitrary: words('set-manager', target, target) },
  { weight: 1, arbitrary: words('get-manager') },
  { weight: 1, arbitrary: words('set-ssl', 'key', 'cert', 'ca') },
  { weight: 1, arbitrary: words('get-ssl') },
  { weight: 1, arbitrary: words('add-aa-mapping', bridge, pick('1', '2'), vlan) },
  { weight: 1, arbitrary: words('get-aa-mapping', bridge) },
  { weight: 1, arbitrary: words('emer-reset') },
  { weight: 1, arbitrary: words('show') },
  { weight: 4, arbitrary: withRecord('set', (kind) => fc.array(settingOf(kind), { minLength: 1, maxLength: 2 })) },
  { weight: 3, arbitrary: withRecord('get', (kind) => fc.array(columnOf(kind), { minLength: 1, maxLength: 2 })) },
  { weight: 2, arbitrary: withRecord('add', (kind) => fc.tuple(columnOf(kind), member)) },
  { weight: 2, arbitrary: withRecord('remove', (kind) => fc.tuple(columnOf(kind), member)) },
  { weight: 1, arbitrary: withRecord('clear', (kind) => fc.tuple(columnOf(kind))) },
  { weight: 1, arbitrary: maybe('--columns=name,tag', words('list', pick('Port', 'Bridge', 'Interface'))) },
  { weight: 2, arbitrary: words('--columns=name', 'find', pick('Port', 'Bridge', 'Interface'), condition) },
  { weight: 1, arbitrary: words('--id=@q', 'create', 'Queue', pick('dscp=1', 'dscp=64', 'nonesuch=1')) },
  { weight: 1, arbitrary: words('--id=@q', 'create', 'QoS', 'type=linux-htb') },
  { weight: 1, arbitrary: words('set', 'Port', port, 'qos=@q') },
  { weight: 1, arbitrary: words('destroy', 'Port', port) },
  {
    weight: 1,
    arbitrary: pick<Words>(['nonesuch'], ['add-br'], ['list-br', 'x'], ['--bogus', 'list-br'], ['comment', 'a b']),
  },
);

/** What one run of the program is given. */
const call = fc
  .tuple(
    pick<Words>([], ['--oneline'], ['-f', 'table'], ['--bare'], ['-f', 'csv']),
    fc.oneof(
      command.map((one) => [one]),
      fc.array(command, { minLength: 2, maxLength: 3 }),
    ),
  )
  .map(([options, commands]) => [...options, ...commands.flatMap((one) => ['--', ...one])]);

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{8}_[0-9a-f_]{27}\b/g;

/** Uuids are random, and so is the order of rows: both go. So do the time and the number of log lines, and what follows from a uuid's
 *  width in a table. */
function plain(text: string): string {
  const lines = text
    .replace(UUID, '<uuid>')
    .replace(/^\S+Z\|\d+\|/gm, '')
    .replace(/ +/g, ' ')
    .replace(/-{2,}/g, '--')
    .split(/\n|\\n/);
  return lines.sort().join('\n');
}

function seen({ status, stdout, stderr }: Outcome) {
  return { status, stdout: plain(stdout), stderr: plain(stderr) };
}

const TABLES = [
  'Open_vSwitch',
  'Bridge',
  'Port',
  'Interface',
  'Controller',
  'Manager',
  'SSL',
  'QoS',
  'Queue',
  'AutoAttach',
];

/** The content of a database as the real client shows it. `next_cfg` and the like are equal, too. */
function contents(host: DbHost): string[] {
  return TABLES.map((table) => plain(host.vsctl('-f', 'list', 'list', table)));
}

const CLEARED = ['bridges', 'external_ids', 'other_config', 'system_type', 'system_version'];

/** What every sequence begins with. */
const START = [
  ['add-br', 'br0'],
  ['add-br', 'fake5', 'br0', '5'],
  ['add-br', 'br1'],
  ['add-port', 'br0', 'p0'],
  ['add-port', 'fake5', 'p1', 'trunks=1,2'],
  ['add-bond', 'br1', 'bond0', 'i0', 'i1'],
].flatMap((one) => ['--', ...one]);

test('random commands', (t) => {
  if (!requirePeer(t, 'ovsdb-server', 'ovs-vsctl')) return;
  const [ours, real] = [new DbHost(t), new DbHost(t)];
  for (const host of [ours, real]) {
    host.createDb();
    host.start(REAL);
  }
  const run = (host: DbHost, program: string, argv: Words) => host.try(program, '--no-wait', '-t', '20', ...argv);
  fc.assert(
    fc.property(fc.array(call, { minLength: 4, maxLength: 12 }), (calls) => {
      for (const host of [ours, real]) {
        host.vsctl('init', '--', 'emer-reset', '--', 'clear', 'Open_vSwitch', '.', ...CLEARED);
        host.vsctl('--all', 'destroy', 'QoS', '--', '--all', 'destroy', 'Queue');
        host.vsctl(...START);
      }
      for (const argv of calls) {
        const wanted = seen(run(real, 'ovs-vsctl', argv));
        assert.deepEqual(seen(run(ours, OUR_VSCTL, argv)), wanted, argv.join(' '));
      }
      assert.deepEqual(contents(ours), contents(real));
    }),
    { numRuns: 8, seed: Number(process.env.TURNOUT_FUZZ_SEED ?? 20261122) },
  );
});

test('help and version', (t) => {
  if (!requirePeer(t, 'ovs-vsctl')) return;
  const host = new DbHost(t);
  assert.equal(host.run(OUR_VSCTL, '--help'), host.run('ovs-vsctl', '--help'));
  assert.match(host.run(OUR_VSCTL, '--version'), /^ovs-vsctl \(Open vSwitch\) 3\.1\.\d[\s\S]*DB Schema 8\.3\.1\n/);
});
