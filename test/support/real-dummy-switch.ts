import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** The real Open vSwitch on dummy devices, in a directory of its own: the oracle of differential tests. */
export class RealDummySwitch {
  readonly rundir = mkdtempSync(join(tmpdir(), 'turnout-real-ovs-'));
  readonly #children: ChildProcess[] = [];
  readonly env = { ...process.env, OVS_RUNDIR: this.rundir, OVS_LOGDIR: this.rundir, OVS_DBDIR: this.rundir };

  run(program: string, ...args: string[]): string {
    const r = spawnSync(program, args, { env: this.env, encoding: 'utf8', timeout: 20_000 });
    if (r.status !== 0) throw new Error(`${program} ${args.join(' ')}: ${r.stderr}`);
    return r.stdout;
  }

  appctl(...args: string[]): string {
    return this.run('ovs-appctl', '-t', join(this.rundir, 'switch.ctl'), ...args);
  }

  /** Starts it with a bridge `br0` and dummy ports p1… that have these OpenFlow numbers. */
  async start(ports: readonly number[]): Promise<void> {
    const db = `unix:${join(this.rundir, 'db.sock')}`;
    this.run('ovsdb-tool', 'create', join(this.rundir, 'conf.db'), '/usr/share/openvswitch/vswitch.ovsschema');
    this.#spawn('ovsdb-server', `--remote=p${db}`, join(this.rundir, 'conf.db'));
    await this.#appears('db.sock');
    this.#spawn('ovs-vswitchd', '--enable-dummy', '--disable-system', '--unixctl', join(this.rundir, 'switch.ctl'), db);
    await this.#appears('switch.ctl');
    const add = ports.flatMap((n) => [
      '--',
      'add-port',
      'br0',
      `p${n}`,
      '--',
      'set',
      'interface',
      `p${n}`,
      'type=dummy',
      `ofport_request=${n}`,
    ]);
    const bridge = ['set', 'bridge', 'br0', 'datapath_type=dummy', 'fail_mode=secure'];
    this.run('ovs-vsctl', `--db=${db}`, 'init', '--', 'add-br', 'br0', '--', ...bridge, ...add);
  }

  stop(): void {
    for (const child of this.#children.reverse()) child.kill('SIGTERM');
    rmSync(this.rundir, { recursive: true, force: true });
  }

  #spawn(program: string, ...args: string[]): void {
    this.#children.push(spawn(program, args, { env: this.env, stdio: 'ignore' }));
  }

  async #appears(name: string): Promise<void> {
    for (let i = 0; i < 200; i++) {
      if (existsSync(join(this.rundir, name))) return;
      await sleep(50);
    }
    throw new Error(`${name} did not appear`);
  }
}
