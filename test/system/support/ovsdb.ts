import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

export const OURS = fileURLToPath(new URL('../../../compat/sbin/ovsdb-server', import.meta.url));
export const REAL = 'ovsdb-server';
export const VSWITCH_SCHEMA_FILE = '/usr/share/openvswitch/vswitch.ovsschema';

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder with a database server (Turnout's or the real one) in it, and the real clients set to use it. All of it goes with the test. */
export class DbHost {
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
  private pid = 0;

  constructor(t: TestContext) {
    this.folder = mkdtempSync(join(tmpdir(), 'turnout-db-'));
    const { folder } = this;
    this.env = { ...process.env, OVS_RUNDIR: folder, OVS_DBDIR: folder, OVS_LOGDIR: folder, OVS_SYSCONFDIR: folder };
    t.after(() => {
      if (this.pid) process.kill(this.pid, 'SIGKILL');
      rmSync(folder, { recursive: true });
    });
  }

  get remote(): string {
    return `unix:${this.folder}/db.sock`;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Runs a program to its end; a liveness deadline ends it. */
  try(program: string, ...args: string[]): Outcome {
    const { status, stdout, stderr } = spawnSync(program, args, {
      env: this.env,
      cwd: this.folder,
      encoding: 'utf8',
      timeout: 60_000,
    });
    return { status, stdout, stderr };
  }

  /** Its output; a failure fails the test. */
  run(program: string, ...args: string[]): string {
    const { status, stdout, stderr } = this.try(program, ...args);
    if (status !== 0) throw new Error(`${program} ${args.join(' ')}: exit code ${status}: ${stderr}`);
    return stdout;
  }

  /** Like `run`, without blocking this process: for commands that talk to servers in it. */
  runAsync(program: string, ...args: string[]): Promise<Outcome> {
    const child = spawn(program, args, { env: this.env, cwd: this.folder, timeout: 60_000 });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk;
    });
    return new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (status) => resolve({ status, stdout, stderr }));
    });
  }

  createDb(schema = VSWITCH_SCHEMA_FILE): void {
    this.run('ovsdb-tool', 'create', 'conf.db', schema);
  }

  start(server: string, ...args: string[]): void {
    this.run(
      server,
      '--remote=punix:db.sock',
      '--detach',
      '--no-chdir',
      '--pidfile',
      '--log-file',
      ...args,
      this.path('conf.db'),
    );
    this.pid = Number(readFileSync(this.path('ovsdb-server.pid'), 'utf8'));
  }

  /** Ends the server in order; resolves when its process is gone. */
  async stop(): Promise<void> {
    this.run('ovs-appctl', '-t', 'ovsdb-server', 'exit');
    await this.gone();
  }

  async kill(): Promise<void> {
    process.kill(this.pid, 'SIGKILL');
    await this.gone();
  }

  private async gone(): Promise<void> {
    const proc = `/proc/${this.pid}/cwd`;
    while (existsSync(proc)) await new Promise((resolve) => setTimeout(resolve, 10));
    this.pid = 0;
  }

  vsctl(...args: string[]): string {
    return this.run('ovs-vsctl', `--db=${this.remote}`, '--no-wait', ...args);
  }

  tryVsctl(...args: string[]): Outcome {
    return this.try('ovs-vsctl', `--db=${this.remote}`, '--no-wait', '-t', '20', ...args);
  }

  transact(...operations: object[]): unknown {
    return JSON.parse(
      this.run('ovsdb-client', 'transact', this.remote, JSON.stringify(['Open_vSwitch', ...operations])),
    );
  }

  log(): string {
    return readFileSync(this.path('ovsdb-server.log'), 'utf8');
  }
}
