import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventuallyHolds } from '../../bench/peers/process.ts';
import { requirePeer } from '../support/require.ts';

/** Turnout's vswitchd with the real clients, and with the real ovsdb-server as well as its own. Needs no root. */

const sbin = fileURLToPath(new URL('../../compat/sbin/', import.meta.url));

const DATABASES = {
  "Open vSwitch's database": '/usr/sbin/ovsdb-server',
  "Turnout's database": `${sbin}ovsdb-server`,
};

const DUMMY_OPTIONS = ['--enable-dummy=override', '--disable-system', '--disable-system-route'];

class Setup {
  readonly dir = mkdtempSync(join(tmpdir(), 'turnout-vswitchd-'));
  readonly #env = { ...process.env, OVS_RUNDIR: this.dir, OVS_LOGDIR: this.dir, OVS_DBDIR: this.dir };

  /** Runs a program to its end. */
  try(program: string, ...args: string[]): { status: number | null; stdout: string; stderr: string } {
    return spawnSync(program, args, { env: this.#env, encoding: 'utf8', timeout: 30_000 });
  }

  /** Runs a program that must succeed and say nothing on stderr; returns its stdout. */
  run(program: string, ...args: string[]): string {
    const { status, stdout, stderr } = this.try(program, ...args);
    assert.deepEqual([status, stderr], [0, ''], `${program} ${args.join(' ')}`);
    return stdout;
  }

  vsctl(...args: string[]): string {
    return this.run('ovs-vsctl', '--timeout=10', ...args).trim();
  }

  appctl(...args: string[]): string {
    return this.run('ovs-appctl', '--timeout=10', ...args);
  }

  startDatabase(program: string): void {
    this.run('ovsdb-tool', 'create', join(this.dir, 'conf.db'));
    this.startDaemon(program, `--remote=punix:${this.dir}/db.sock`, join(this.dir, 'conf.db'));
    this.run('ovs-vsctl', '--no-wait', 'init');
  }

  startDaemon(program: string, ...args: string[]): void {
    this.run(program, '-vconsole:off', '--detach', '--no-chdir', '--pidfile', '--log-file', ...args);
  }

  startVswitchd(...options: string[]): void {
    this.startDaemon(`${sbin}ovs-vswitchd`, ...options, `unix:${this.dir}/db.sock`);
  }

  /** A vswitchd beside the first, with pidfile, log and control socket of the name `name`, to be ended with the test. */
  startInForeground(t: TestContext, name: string, ...options: string[]): void {
    const files = ['pidfile=NAME.pid', 'log-file=NAME.log', 'unixctl=NAME.ctl'];
    const own = files.map((file) => `--${file.replace('NAME', `${this.dir}/${name}`)}`);
    const args = [...options, ...own, `unix:${this.dir}/db.sock`];
    const child = spawn(`${sbin}ovs-vswitchd`, args, { env: this.#env, stdio: 'ignore' });
    const exited = once(child, 'exit');
    t.after(async () => {
      child.kill('SIGTERM');
      await exited;
    });
  }

  log(): string {
    return readFileSync(join(this.dir, 'ovs-vswitchd.log'), 'utf8');
  }

  /** Lines of the log that are warnings or worse, without their time and number. */
  warnings(): string[] {
    const lines = this.log().match(/^.*\|(WARN|ERR|EMER)\|.*$/gm) ?? [];
    return lines.map((line) => line.split('|').slice(2).join('|'));
  }

  async dispose(): Promise<void> {
    for (const daemon of ['ovs-vswitchd', 'ovsdb-server']) {
      const how = daemon === 'ovs-vswitchd' ? ['exit', '--cleanup'] : ['exit'];
      if (existsSync(join(this.dir, `${daemon}.pid`))) this.try('ovs-appctl', '-t', daemon, ...how);
      await this.gone(daemon);
    }
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Resolves when a log has `text`. */
  async logged(file: string, text: string): Promise<void> {
    await eventuallyHolds(async () => assert.ok(readFileSync(join(this.dir, file), 'utf8').includes(text), text));
  }

  /** Resolves when the daemon's pidfile has gone. */
  async gone(daemon: string): Promise<void> {
    const end = Date.now() + 15_000;
    while (existsSync(join(this.dir, `${daemon}.pid`))) {
      assert.ok(Date.now() < end, `${daemon} did not end`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

function setUp(t: TestContext): Setup | undefined {
  if (!requirePeer(t, 'ovs-vsctl', 'ovs-appctl', 'ovsdb-tool', 'ovsdb-server')) return undefined;
  const it = new Setup();
  t.after(() => it.dispose());
  return it;
}

for (const [database, program] of Object.entries(DATABASES)) {
  test(`bridges and ports come and go by ovs-vsctl, with ${database}`, async (t) => {
    const it = setUp(t);
    if (!it) return;
    it.startDatabase(program);
    it.startVswitchd(...DUMMY_OPTIONS);
    it.vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=dummy');
    it.vsctl('add-port', 'br0', 'p1', '--', 'set', 'interface', 'p1', 'type=dummy');
    it.vsctl('add-port', 'br0', 'p7', '--', 'set', 'interface', 'p7', 'type=dummy', 'ofport_request=7');
    assert.equal(it.vsctl('get', 'interface', 'br0', 'ofport'), '65534');
    assert.equal(it.vsctl('get', 'interface', 'p1', 'ofport', 'error', 'link_state'), '1\n[]\nup');
    assert.equal(it.vsctl('get', 'interface', 'p7', 'ofport'), '7');
    const mac = it.vsctl('get', 'interface', 'br0', 'mac_in_use').replace(/[":]/g, '');
    assert.equal(it.vsctl('get', 'bridge', 'br0', 'datapath_id'), `"0000${mac}"`);
    const [cur, next] = it.vsctl('get', 'Open_vSwitch', '.', 'cur_cfg', 'next_cfg').split('\n');
    assert.equal(cur, next);
    it.vsctl('del-port', 'p1', '--', 'set', 'bridge', 'br0', 'other_config:hwaddr=00:11:22:33:44:55');
    assert.equal(it.vsctl('get', 'bridge', 'br0', 'datapath_id'), '"0000001122334455"');
    it.vsctl('del-br', 'br0');
    assert.deepEqual(it.warnings(), [], 'a clean life writes no warning');
    it.appctl('exit', '--cleanup');
    await it.gone('ovs-vswitchd');
  });

  test(`an interface gets its number again after a restart, with ${database}`, async (t) => {
    const it = setUp(t);
    if (!it) return;
    it.startDatabase(program);
    it.startVswitchd(...DUMMY_OPTIONS);
    it.vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=dummy');
    for (const name of ['p1', 'p2', 'p3'])
      it.vsctl('add-port', 'br0', name, '--', 'set', 'interface', name, 'type=dummy');
    it.vsctl('del-port', 'p1');
    const before = it.vsctl('get', 'bridge', 'br0', 'datapath_id');
    it.appctl('exit');
    await it.gone('ovs-vswitchd');
    it.startVswitchd(...DUMMY_OPTIONS);
    assert.equal(it.vsctl('get', 'interface', 'p2', 'ofport'), '2');
    assert.equal(it.vsctl('get', 'interface', 'p3', 'ofport'), '3');
    assert.equal(it.vsctl('get', 'bridge', 'br0', 'datapath_id'), before);
  });
}

test("the host keeps a bridge's own port, with its addresses, over a restart", async (t) => {
  if (!requirePeer(t, 'root', 'ip')) return;
  const it = setUp(t);
  if (!it) return;
  const name = `tt${process.pid % 100_000}`;
  const shows = (what: string) => it.try('ip', '-o', what, 'show', 'dev', name);
  it.startDatabase(DATABASES["Turnout's database"]);
  it.startVswitchd();
  it.vsctl('add-br', name, '--', 'set', 'bridge', name, 'datapath_type=netdev');
  it.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', name);
  it.appctl('exit');
  await it.gone('ovs-vswitchd');
  assert.match(shows('address').stdout, /192\.0\.2\.1\/24/);
  it.startVswitchd();
  assert.equal(it.vsctl('get', 'interface', name, 'error'), '[]');
  assert.match(shows('address').stdout, /192\.0\.2\.1\/24/);
  it.appctl('exit', '--cleanup');
  await it.gone('ovs-vswitchd');
  assert.notEqual(shows('link').status, 0, 'it has gone');
});

test('what can not be made says why, and the rest works', (t) => {
  const it = setUp(t);
  if (!it) return;
  it.startDatabase(DATABASES["Turnout's database"]);
  it.startVswitchd('--enable-dummy');
  it.vsctl('set', 'Open_vSwitch', '.', 'other_config:dpdk-init=true');
  it.vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=dummy');
  const failing: Record<string, [string, string]> = {
    d1: ['type=dpdk options:dpdk-devargs=0000:01:00.0', "Error attaching device '0000:01:00.0' to DPDK"],
    n1: ['type=nonsense', 'could not open network device n1 (Address family not supported by protocol)'],
    p1: ['type=patch', "p1: patch type requires valid 'peer' argument"],
    s1: ['', 'could not open network device s1 (No such device)'],
  };
  for (const [name, [settings, error]] of Object.entries(failing)) {
    const set = settings === '' ? [] : ['--', 'set', 'interface', name, ...settings.split(' ')];
    const { stderr } = it.try('ovs-vsctl', '--timeout=10', 'add-port', 'br0', name, ...set);
    assert.ok(
      stderr.includes(`Error detected while setting up '${name}': ${error}.  See ovs-vswitchd log for details.`),
    );
    assert.equal(it.vsctl('get', 'interface', name, 'ofport'), '-1');
  }
  it.vsctl('add-port', 'br0', 'good', '--', 'set', 'interface', 'good', 'type=dummy');
  assert.equal(it.vsctl('get', 'interface', 'good', 'ofport'), '1');
});

test('a bridge that wants the datapath of the kernel says that there is none', (t) => {
  const it = setUp(t);
  if (!it) return;
  it.startDatabase(DATABASES["Turnout's database"]);
  it.startVswitchd();
  const { stderr } = it.try('ovs-vsctl', '--timeout=10', 'add-br', 'br0');
  assert.match(stderr, /failed to create bridge br0: No such file or directory/);
  assert.ok(it.warnings().some((line) => line.includes("set the bridge's datapath_type to netdev")));
});

test('only one vswitchd serves a database; the next takes over when it ends', async (t) => {
  const it = setUp(t);
  if (!it) return;
  it.startDatabase(DATABASES["Turnout's database"]);
  it.startVswitchd(...DUMMY_OPTIONS);
  it.vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=dummy');
  const samePidfile = it.try(`${sbin}ovs-vswitchd`, '--pidfile', '--detach', `unix:${it.dir}/db.sock`);
  assert.equal(samePidfile.status, 1);
  assert.match(samePidfile.stderr, /^ovs-vswitchd: .*ovs-vswitchd\.pid: already running as pid \d+, aborting\n$/);

  // With --detach its parent would wait for the lock.
  it.startInForeground(t, 'second', ...DUMMY_OPTIONS);
  const bridgesOf = (target: string) => it.run('ovs-appctl', '--timeout=10', '-t', target, 'ofproto/list');
  await it.logged('second.log', 'another ovs-vswitchd process is running, disabling this process');
  it.vsctl('add-br', 'br1', '--', 'set', 'bridge', 'br1', 'datapath_type=dummy');
  assert.deepEqual([bridgesOf('ovs-vswitchd'), bridgesOf(`${it.dir}/second.ctl`)], ['br0\nbr1\n', '']);
  it.appctl('exit');
  await it.gone('ovs-vswitchd');
  it.vsctl('add-br', 'br2', '--', 'set', 'bridge', 'br2', 'datapath_type=dummy');
  assert.equal(bridgesOf(`${it.dir}/second.ctl`), 'br0\nbr1\nbr2\n');
});

test('ovs-appctl finds every command of the daemon, its log and its counters', (t) => {
  const it = setUp(t);
  if (!it) return;
  it.startDatabase(DATABASES["Turnout's database"]);
  it.startVswitchd(...DUMMY_OPTIONS, '-vvconn', '-vofproto_dpif', '-vunixctl');
  assert.equal(it.appctl('version'), 'ovs-vswitchd (Open vSwitch) 3.1.0\n');
  const commands = it.appctl('list-commands');
  for (const name of ['exit', 'vlog/set', 'coverage/show', 'memory/show', 'time/warp', 'dpif-netdev/pmd-stats-show']) {
    assert.match(commands, new RegExp(`^  ${name} `, 'm'));
  }
  it.appctl('vlog/set', 'bridge:file:dbg');
  assert.match(it.appctl('vlog/list'), /^bridge +OFF +INFO +DBG$/m);
  assert.match(it.appctl('coverage/show'), /^bridge_reconfigure .* total: [1-9]/m);
  const refused = it.try('ovs-appctl', 'nonsense');
  assert.equal(refused.status, 2);
  assert.match(refused.stderr, /^"nonsense" is not a valid command/);
});

test('what no ovs-vswitchd takes is refused before anything is touched', (t) => {
  const it = setUp(t);
  if (!it) return;
  const refused = (...args: string[]) => {
    const { status, stderr } = it.try(`${sbin}ovs-vswitchd`, ...args);
    assert.equal(status, 1);
    return stderr;
  };
  assert.equal(refused('--nonsense'), "ovs-vswitchd: unrecognized option '--nonsense'\n");
  assert.equal(refused('a', 'b'), 'ovs-vswitchd: at most one non-option argument accepted; use --help for usage\n');
  assert.equal(refused('--dpdk'), 'ovs-vswitchd: Using --dpdk to configure DPDK is not supported.\n');
  assert.match(it.run(`${sbin}ovs-vswitchd`, '--version'), /^ovs-vswitchd \(Open vSwitch\) 3\.1\.0\nTurnout /);
});
