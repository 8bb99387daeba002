/** An ovs-vswitchd and an ovsdb-server on dummy devices, in folders of their own: the real ones, or Turnout's. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { check, killAtExit } from '../../bench/peers/process.ts';
import { unixctlCall } from '../../src/base/unixctl-client.ts';
import { PORTS } from './generator.ts';

export type Kind = 'real' | 'turnout';

const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';
const SBIN = fileURLToPath(new URL('../../compat/sbin', import.meta.url));
const START_MS = 60_000;
const BRIDGE = 'br0';

/** With bridge br0, fail mode secure, and dummy ports p1…p4 that write what they send into pcap files. */
export class DummySwitch {
  readonly kind: Kind;
  readonly folder = mkdtempSync(join(tmpdir(), 'diff-'));
  readonly #env: NodeJS.ProcessEnv;
  readonly #children: ReturnType<typeof spawn>[] = [];

  private constructor(kind: Kind) {
    this.kind = kind;
    const { folder } = this;
    const names = { OVS_RUNDIR: folder, OVS_DBDIR: folder, OVS_LOGDIR: folder, OVS_SYSCONFDIR: folder };
    this.#env = { ...process.env, ...names };
  }

  static async start(kind: Kind): Promise<DummySwitch> {
    const it = new DummySwitch(kind);
    try {
      await it.#start();
      return it;
    } catch (e) {
      const log = existsSync(join(it.folder, 'log')) ? readFileSync(join(it.folder, 'log'), 'utf8') : '';
      await it.stop();
      throw new Error(`${kind}: ${e instanceof Error ? e.message : e}\n${log}`);
    }
  }

  async #start(): Promise<void> {
    await this.run('ovsdb-tool', 'create', join(this.folder, 'conf.db'), SCHEMA);
    const sock = join(this.folder, 'db.sock');
    this.#daemon('ovsdb-server', join(this.folder, 'conf.db'), `--remote=punix:${sock}`);
    await this.#appears('db.sock');
    await this.vsctl('--no-wait', 'init');
    const options = ['--enable-dummy=override', '--disable-system', '--disable-system-route'];
    this.#daemon('ovs-vswitchd', ...options, `--unixctl=${join(this.folder, 'switch.ctl')}`, `unix:${sock}`);
    await this.#appears('switch.ctl');
    const ports = PORTS.flatMap((n) => [
      ...['--', 'add-port', BRIDGE, `p${n}`, '--', 'set', 'interface', `p${n}`, 'type=dummy'],
      ...[`ofport_request=${n}`, `options:tx_pcap=${this.pcap(n)}`],
    ]);
    const bridge = [
      'set',
      'bridge',
      BRIDGE,
      'datapath_type=dummy',
      'fail-mode=secure',
      'other-config:hwaddr=aa:55:aa:55:00:00',
    ];
    const protocols = 'protocols=OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15';
    await this.vsctl('add-br', BRIDGE, '--', ...bridge, protocols, ...ports);
  }

  /** The file of what port `n` has sent. */
  pcap(n: number): string {
    return join(this.folder, `p${n}.pcap`);
  }

  run(program: string, ...args: string[]): Promise<string> {
    return check([program, ...args], { env: this.#env });
  }

  vsctl(...args: string[]): Promise<string> {
    return this.run('ovs-vsctl', ...args);
  }

  ofctl(...args: string[]): Promise<string> {
    return this.run('ovs-ofctl', '-O', 'OpenFlow15', ...args);
  }

  /** A command on the control socket. Throws what the switch refuses. */
  async appctl(method: string, ...args: string[]): Promise<string> {
    const { result, error } = await unixctlCall(join(this.folder, 'switch.ctl'), method, args);
    if (error !== undefined) throw new Error(`${this.kind}: ${method} ${args.join(' ')}: ${error}`);
    return result ?? '';
  }

  async stop(): Promise<void> {
    for (const child of this.#children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      const patience = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(patience);
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  #daemon(program: string, ...args: string[]): void {
    const path = this.kind === 'turnout' ? join(SBIN, program) : `/usr/sbin/${program}`;
    const log = openSync(join(this.folder, 'log'), 'a');
    const child = spawn(path, args, { env: this.#env, stdio: ['ignore', log, log] });
    closeSync(log);
    if (child.pid !== undefined) killAtExit(child.pid);
    this.#children.push(child);
  }

  async #appears(name: string): Promise<void> {
    const end = performance.now() + START_MS;
    while (!existsSync(join(this.folder, name))) {
      if (performance.now() > end) throw new Error(`${name} did not appear`);
      await sleep(20);
    }
  }
}
