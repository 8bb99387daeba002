/**
 * One switch, started fresh for one measurement: its database server and its daemon, every thread on core 0, with a bridge and two
 * vhost-user ports. Turnout and Open vSwitch differ only in the programs and in a few `other_config` keys.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { type PmdStats, parsePmdStats } from '../pmd-stats.ts';
import { check, Running } from './process.ts';

export const SWITCH_CORE = 0;
export const GENERATOR_CORE = 1;
const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';

export interface SwitchPrograms {
  name: 'turnout' | 'ovs-dpdk';
  vswitchd: string;
  ovsdbServer: string;
  /** The client whose time is measured. */
  vsctl: string;
}

/** Keys of Open_vSwitch.other_config. */
export type OtherConfig = Record<string, string>;

export class BenchSwitch {
  readonly name: string;
  readonly rundir: string;
  readonly vsctl: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #processes: Running[] = [];

  readonly #lockMemory: boolean;

  constructor(programs: SwitchPrograms, lockMemory = true) {
    this.#lockMemory = lockMemory;
    this.name = programs.name;
    this.vsctl = programs.vsctl;
    this.rundir = mkdtempSync(join(tmpdir(), 'turnout-bench-'));
    const folders = {
      OVS_RUNDIR: this.rundir,
      OVS_DBDIR: this.rundir,
      OVS_LOGDIR: this.rundir,
      OVS_SYSCONFDIR: this.rundir,
    };
    this.#env = { ...process.env, ...folders, PATH: ['/usr/sbin', '/usr/bin', '/sbin', '/bin'].join(delimiter) };
  }

  /**
   * Starts both daemons and makes the bridge `br0` with the ports `vhost1` and `vhost2`. `lockMemory` false: pages are there only once they are used,
   * for rows that count them.
   */
  static async start(
    programs: SwitchPrograms,
    otherConfig: OtherConfig,
    rulesetFile?: string,
    lockMemory = true,
  ): Promise<BenchSwitch> {
    const it = new BenchSwitch(programs, lockMemory);
    try {
      await it.#startDatabase(programs.ovsdbServer);
      await it.#configure(otherConfig);
      await it.#startDaemon(programs.vswitchd);
      await it.#makeBridge();
      if (rulesetFile !== undefined) await it.#installRules(rulesetFile);
      // The key in the database is no more than a ceiling, which Open vSwitch approaches by 1,000 a round of its revalidators.
      if (otherConfig['flow-limit'] !== undefined) await it.appctl('upcall/set-flow-limit', otherConfig['flow-limit']);
      return it;
    } catch (error) {
      const log = it.#processes.map((running) => `${running.name}:\n${running.log.slice(-4000)}`).join('\n');
      await it.stop();
      throw new Error(`${programs.name} does not start: ${String(error)}\n${log}`);
    }
  }

  socket(port: 1 | 2): string {
    return join(this.rundir, `vhost${port}`);
  }

  /** Runs a client of Open vSwitch in this switch's folders. */
  async run(...argv: string[]): Promise<string> {
    return await check(argv, { env: this.#env, timeoutMs: 120_000 });
  }

  /** User and system time of the daemon and its children so far, in seconds. */
  cpuSeconds(): number {
    return processTree(this.#daemon().pid).reduce((sum, pid) => sum + cpuSecondsOf(pid), 0);
  }

  /** How many megaflows the datapath holds, by its own count: a dump of a million would take longer than the measurement. */
  async nMegaflows(): Promise<number> {
    const text = await this.appctl('dpctl/show');
    const count = /^ *flows: (\d+)$/m.exec(text)?.[1];
    if (count === undefined) throw new Error(`${this.name}: dpctl/show has no count of flows:\n${text}`);
    return Number(count);
  }

  /** How many masks: subtables over all ports that packets come in by. */
  async nMasks(): Promise<number> {
    const text = await this.appctl('dpif-netdev/subtable-lookup-info-get');
    return [...text.matchAll(/\(Use count: (\d+),/g)].reduce((sum, [, n]) => sum + Number(n), 0);
  }

  /** The counters of the caches. */
  async pmdStats(): Promise<PmdStats> {
    return parsePmdStats(await this.appctl('dpif-netdev/pmd-stats-show'));
  }

  async appctl(...words: string[]): Promise<string> {
    return await this.run('ovs-appctl', '-t', this.#ctl(), ...words);
  }

  /** Changes keys of Open_vSwitch.other_config while it runs; `undefined` takes one away. */
  async setConfig(config: Record<string, string | undefined>): Promise<void> {
    const clear = Object.keys(config).filter((key) => config[key] === undefined);
    const set = Object.entries(config).flatMap(([key, value]) =>
      value === undefined ? [] : [`other_config:${key}="${value}"`],
    );
    const parts = [
      ...(clear.length > 0 ? ['--', 'remove', 'Open_vSwitch', '.', 'other_config', ...clear] : []),
      ...(set.length > 0 ? ['--', 'set', 'Open_vSwitch', '.', ...set] : []),
    ];
    if (parts.length > 0) await this.run('ovs-vsctl', '--timeout=60', ...parts);
  }

  /** Proportional set size of the daemon's processes, in bytes. */
  memoryBytes(): number {
    const kib = processTree(this.daemonPid).map((pid) => {
      const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
      return Number(/^Pss: +(\d+) kB/m.exec(rollup)?.[1] ?? 0);
    });
    return kib.reduce((sum, n) => sum + n, 0) * 1024;
  }

  async version(): Promise<string> {
    return (await this.appctl('version')).trim();
  }

  async stop(): Promise<void> {
    for (const running of this.#processes.toReversed()) await running.stop('SIGTERM');
    rmSync(this.rundir, { recursive: true, force: true });
  }

  get daemonPid(): number {
    return this.#daemon().pid;
  }

  #daemon(): Running {
    return this.#processes[1];
  }

  #ctl(): string {
    return join(this.rundir, 'bench.ctl');
  }

  async #startDatabase(program: string): Promise<void> {
    const file = join(this.rundir, 'conf.db');
    await check(['ovsdb-tool', 'create', file, SCHEMA], { env: this.#env });
    const socket = `--remote=punix:${join(this.rundir, 'db.sock')}`;
    await this.#launch('ovsdb-server', [
      program,
      file,
      socket,
      `--unixctl=${join(this.rundir, 'db.ctl')}`,
      '--no-chdir',
    ]);
    await this.run('ovs-vsctl', '--retry', '--no-wait', 'init');
  }

  async #configure(otherConfig: OtherConfig): Promise<void> {
    const mask = `0x${(1 << SWITCH_CORE).toString(16)}`;
    const all = {
      'pmd-cpu-mask': mask,
      'dpdk-lcore-mask': mask,
      'dpdk-socket-mem': '512',
      ...otherConfig,
      'dpdk-init': 'true',
    };
    const pairs = Object.entries({ 'dpdk-extra': '--no-pci --in-memory', ...all }).map(
      ([key, value]) => `other_config:${key}="${value}"`,
    );
    await this.run('ovs-vsctl', '--no-wait', 'set', 'Open_vSwitch', '.', ...pairs);
  }

  async #startDaemon(program: string): Promise<void> {
    const arguments_ = [
      `unix:${join(this.rundir, 'db.sock')}`,
      `--unixctl=${this.#ctl()}`,
      '--no-chdir',
      '-vconsole:warn',
      ...(this.#lockMemory ? ['--mlockall'] : []),
    ];
    await this.#launch('ovs-vswitchd', [program, ...arguments_]);
  }

  async #makeBridge(): Promise<void> {
    await this.run('ovs-vsctl', '--timeout=60', 'add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=netdev');
    for (const port of [1, 2]) {
      const set = ['set', 'Interface', `vhost${port}`, 'type=dpdkvhostuser', `ofport_request=${port}`];
      await this.run('ovs-vsctl', '--timeout=60', 'add-port', 'br0', `vhost${port}`, '--', ...set);
    }
  }

  async #installRules(file: string): Promise<void> {
    await this.run('ovs-ofctl', 'del-flows', 'br0');
    await this.run('ovs-ofctl', '--bundle', 'add-flows', 'br0', file);
  }

  async #launch(name: string, argv: string[]): Promise<void> {
    // A network namespace of its own: the taps of a bridge have fixed names.
    const place = ['unshare', '--net', 'taskset', '-c', String(SWITCH_CORE)];
    this.#processes.push(await Running.start(name, [...place, ...argv], this.#env));
  }
}

/** `pid` and everything below it. */
export function processTree(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  );
  return [pid, ...children.flatMap(processTree)];
}

/** Fields 14 and 15 of proc(5)'s stat, in ticks of 10 ms; the name in field 2 may hold blanks. */
function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
