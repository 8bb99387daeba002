/**
 * The switch under test, started as its users start it: Debian's `ovs-ctl`, with private run, database, log and configuration folders
 * given by OVS_RUNDIR and its kin. `SWITCH=ovs` takes the real Open vSwitch with DPDK, anything else Turnout; the clients are the
 * real ones in both cases.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type CommandResult, command, eventually, kill, killAtExit } from '../../../bench/peers/process.ts';
import { OVS_CTL, OVS_DPDK } from '../../support/require.ts';
import { defer } from './cleanup.ts';
import { makeNetns, type Netns } from './netns.ts';

const projectRoot = join(dirname(fileURLToPath(import.meta.url)), '../../..');

export type SwitchKind = 'turnout' | 'ovs';

export const SWITCH: SwitchKind = process.env.SWITCH === 'ovs' ? 'ovs' : 'turnout';

/** What a test of the switch needs in any case; the real switch also its own program. */
export const SWITCH_PEERS = [
  'root',
  'hugepages',
  'ovs-ctl',
  'ovs-vsctl',
  'ovs-ofctl',
  ...(SWITCH === 'ovs' ? ['ovs-dpdk'] : []),
];

export type Daemon = 'ovs-vswitchd' | 'ovsdb-server';
const DAEMONS: readonly Daemon[] = ['ovs-vswitchd', 'ovsdb-server'];

/** Whose program each daemon is. */
export type Halves = Record<Daemon, SwitchKind>;

const PROGRAMS: Record<SwitchKind, Record<Daemon, string>> = {
  turnout: {
    'ovs-vswitchd': join(projectRoot, 'compat/sbin/ovs-vswitchd'),
    'ovsdb-server': join(projectRoot, 'compat/sbin/ovsdb-server'),
  },
  ovs: { 'ovs-vswitchd': OVS_DPDK, 'ovsdb-server': '/usr/sbin/ovsdb-server' },
};

export class Switch {
  readonly halves: Halves;
  /** Holds the folders run, db, log, etc. */
  readonly root: string;
  readonly rundir: string;
  readonly env: NodeJS.ProcessEnv;
  /** Where its taps are: those of a bridge and of the datapath have fixed names. */
  readonly netns: Netns;

  constructor(halves: Halves, netns: Netns) {
    this.halves = halves;
    this.netns = netns;
    this.root = mkdtempSync(join(tmpdir(), 'turnout-switch-'));
    this.rundir = join(this.root, 'run');
    for (const folder of ['run', 'db', 'log', 'etc/openvswitch', 'sbin'])
      mkdirSync(join(this.root, folder), { recursive: true });
    this.env = this.#environment();
  }

  /** Whose datapath it is. */
  get kind(): SwitchKind {
    return this.halves['ovs-vswitchd'];
  }

  /** Starts both daemons by `ovs-ctl start`, to be ended with the test, and switches DPDK on as a user does. */
  static async start(t: TestContext, halves: Partial<Halves> = {}): Promise<Switch> {
    const netns = await makeNetns(t, 'switch');
    const it = new Switch({ 'ovs-vswitchd': SWITCH, 'ovsdb-server': SWITCH, ...halves }, netns);
    defer(t, () => it.dispose());
    await it.ovsCtl('start', '--system-id=random');
    return it;
  }

  /** The commands with which a user's guide sets DPDK up. */
  async initDpdk(): Promise<void> {
    await this.sh(`
      ovs-vsctl --no-wait set Open_vSwitch . other_config:dpdk-extra="--no-pci --in-memory"
      ovs-vsctl --no-wait set Open_vSwitch . other_config:dpdk-socket-mem=512
      ovs-vsctl --no-wait set Open_vSwitch . other_config:pmd-cpu-mask=0x1
      ovs-vsctl --no-wait set Open_vSwitch . other_config:dpdk-init=true`);
  }

  async ovsCtl(...args: string[]): Promise<string> {
    const said = await this.#must([OVS_CTL, ...args]);
    for (const daemon of DAEMONS) {
      const pid = this.pid(daemon);
      if (pid !== undefined) killAtExit(pid);
    }
    return said;
  }

  /** Runs lines of shell with the user's PATH and OVS_* variables; any failing line fails. Returns stdout. */
  async sh(script: string): Promise<string> {
    return await this.#must(['sh', '-ec', script]);
  }

  /** The same for a command that may fail. */
  async try(script: string): Promise<CommandResult> {
    return await command([...this.netns.prefix, 'sh', '-ec', script], { env: this.env });
  }

  /** The pid in a daemon's pidfile, or undefined when there is none. */
  pid(daemon: Daemon): number | undefined {
    const file = join(this.rundir, `${daemon}.pid`);
    return existsSync(file) ? Number(readFileSync(file, 'utf8')) : undefined;
  }

  log(daemon: Daemon): string {
    const file = join(this.root, 'log', `${daemon}.log`);
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  /** One column of one Interface as ovs-vsctl prints it. */
  async interfaceColumn(name: string, column: string): Promise<string> {
    return (await this.sh(`ovs-vsctl get Interface ${name} ${column}`)).trim();
  }

  /** Waits for a port's link as the database shows it. */
  async waitForLink(name: string, state: 'up' | 'down'): Promise<void> {
    await eventually(`link_state of ${name} is ${state}`, async () => {
      return (await this.interfaceColumn(name, 'link_state')) === state || undefined;
    });
  }

  /** `ovs-ctl stop`, then kills what is left, and removes the folders. */
  async dispose(): Promise<void> {
    const pids = DAEMONS.map((daemon) => this.pid(daemon)).filter((pid) => pid !== undefined);
    await command([...this.netns.prefix, OVS_CTL, 'stop'], { env: this.env });
    for (const pid of pids) kill(pid, 'SIGKILL');
    rmSync(this.root, { recursive: true, force: true });
  }

  #environment(): NodeJS.ProcessEnv {
    const { OVS_PKGDATADIR: _, OVS_SBINDIR: __, OVS_BINDIR: ___, ...rest } = process.env;
    return {
      ...rest,
      PATH: [this.#sbin(), '/usr/sbin', '/usr/bin', '/sbin', '/bin'].join(delimiter),
      OVS_RUNDIR: this.rundir,
      OVS_DBDIR: join(this.root, 'db'),
      OVS_LOGDIR: join(this.root, 'log'),
      OVS_SYSCONFDIR: join(this.root, 'etc'),
    };
  }

  /** The folder that stands first on the PATH. It holds both daemons, so that no program of the system can slip in. */
  #sbin(): string {
    const sbin = join(this.root, 'sbin');
    for (const daemon of DAEMONS) {
      const program = PROGRAMS[this.halves[daemon]][daemon];
      if (!existsSync(program)) throw new Error(`${program} is missing`);
      symlinkSync(program, join(sbin, daemon));
    }
    return sbin;
  }

  /** Runs what must succeed; an error text carries the end of the switch's log. */
  async #must(argv: string[]): Promise<string> {
    const { status, stdout, stderr } = await command([...this.netns.prefix, ...argv], { env: this.env });
    if (status === 0) return stdout;
    const log = this.log('ovs-vswitchd').split('\n').slice(-30).join('\n');
    throw new Error(`${argv.join(' ')}: exit status ${status}\n${stderr}${stdout}\novs-vswitchd.log:\n${log}`);
  }
}
