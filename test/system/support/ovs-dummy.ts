import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** The real ovs-vswitchd with dummy devices, in folders of its own: the oracle of differential tests. */

export class RealOvs {
  readonly rundir = mkdtempSync(join(tmpdir(), 'ovs-dummy-'));
  readonly #env: NodeJS.ProcessEnv;
  readonly #children: ReturnType<typeof spawn>[] = [];

  constructor() {
    const d = this.rundir;
    this.#env = { ...process.env, OVS_RUNDIR: d, OVS_DBDIR: d, OVS_LOGDIR: d, OVS_SYSCONFDIR: d };
  }

  run(program: string, ...args: string[]): string {
    return execFileSync(program, args, { env: this.#env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }

  async start(): Promise<void> {
    const db = join(this.rundir, 'conf.db');
    this.run('ovsdb-tool', 'create', db, '/usr/share/openvswitch/vswitch.ovsschema');
    const sock = join(this.rundir, 'db.sock');
    this.#spawn('ovsdb-server', db, `--remote=punix:${sock}`, `--unixctl=${join(this.rundir, 'ovsdb.ctl')}`);
    await this.#until(() => existsSync(sock));
    this.run('ovs-vsctl', '--no-wait', 'init');
    this.#spawn(
      'ovs-vswitchd',
      '--enable-dummy=override',
      '--disable-system',
      '--disable-system-route',
      `--unixctl=${join(this.rundir, 'vswitchd.ctl')}`,
      `unix:${sock}`,
    );
    await this.#until(() => existsSync(join(this.rundir, 'vswitchd.ctl')));
  }

  vsctl(...args: string[]): string {
    return this.run('ovs-vsctl', ...args);
  }

  ofctl(...args: string[]): string {
    return this.run('ovs-ofctl', ...args);
  }

  appctl(...args: string[]): string {
    return this.run('ovs-appctl', '-t', join(this.rundir, 'vswitchd.ctl'), ...args);
  }

  #spawn(program: string, ...args: string[]): void {
    this.#children.push(spawn(program, args, { env: this.#env, stdio: 'ignore' }));
  }

  async #until(ready: () => boolean): Promise<void> {
    for (let i = 0; i < 300 && !ready(); i++) await sleep(100);
    if (!ready()) throw new Error('the real switch did not start');
  }

  async stop(): Promise<void> {
    for (const child of this.#children.reverse()) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      if (child.exitCode === null && child.kill('SIGTERM')) await ended;
    }
    rmSync(this.rundir, { recursive: true, force: true });
  }
}
