/** The demo's switch: `turnout up` as a process of its own, set up over OVSDB and OpenFlow as any controller would, and asked for counters. */
import { resolveTarget, unixctlCall } from '../base/unixctl-client.ts';
import { createIdl, type Idl, type IdlRow, type IdlSnapshot } from '../ovsdb/idl.ts';
import { OpenflowClient } from './demo-openflow.ts';

export const BRIDGE = 'ovs-br0';
export const PORTS = ['vhost-user1', 'vhost-user2', 'vhost-user3', 'vhost-user4'] as const;
/** The flows 1↔4 and 2↔3, by OpenFlow port. */
const FLOWS = [
  [1, 4],
  [4, 1],
  [2, 3],
  [3, 2],
] as const;

/** Hits of the caches by tier, over all PMD threads. */
export interface CacheHits {
  emc: number;
  smc: number;
  megaflow: number;
  upcall: number;
}

/** What pmd-stats-show tells. */
export interface PmdStats {
  caches: CacheHits;
  /** Packets that found no flow, and no room on their way to the translation. */
  failedUpcalls: number;
}

/** Counters of one port as the switch sees it: rx is what it got from the guest. */
export interface SwitchPort {
  name: string;
  rxPackets: number;
  txPackets: number;
}

export interface SwitchCounters extends PmdStats {
  ports: SwitchPort[];
}

const sleepMs = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Sums a line such as `  emc hits: 12` over all threads of pmd-stats-show. */
function sumOf(text: string, label: string): number {
  return [...text.matchAll(new RegExp(`^ *${label}: (\\d+)`, 'gm'))].reduce((n, m) => n + Number(m[1]), 0);
}

export function parsePmdStats(text: string): PmdStats {
  const caches = {
    emc: sumOf(text, 'emc hits') + sumOf(text, 'simple match hits'),
    smc: sumOf(text, 'smc hits'),
    megaflow: sumOf(text, 'megaflow hits'),
    upcall: sumOf(text, 'miss with success upcall'),
  };
  return { caches, failedUpcalls: sumOf(text, 'miss with failed upcall') };
}

/** Lines of Interface.statistics that name a drop. `rx_dropped` and `tx_dropped` are sums of others and are left out. */
export function namedDrops(statistics: ReadonlyMap<unknown, unknown>): Map<string, number> {
  const drops = new Map<string, number>();
  for (const [key, value] of statistics) {
    const name = String(key);
    if (name.endsWith('_drops') || name === 'rx_errors' || name === 'tx_errors') drops.set(name, Number(value));
  }
  return drops;
}

export class DemoSwitch {
  readonly rundir: string;
  readonly #idl: Idl;
  #openflow!: OpenflowClient;
  #control = '';

  private constructor(rundir: string) {
    this.rundir = rundir;
    this.#idl = createIdl({
      remote: `unix:${rundir}/db.sock`,
      maxBackoffMs: 100,
      monitor: {
        Open_vSwitch: ['bridges', 'other_config', 'cur_cfg', 'next_cfg'],
        Interface: ['name', 'ofport', 'error', 'statistics'],
      },
    });
  }

  /** Waits until the database in `rundir`, which must be OVS_RUNDIR, answers, then sets everything up. Throws with the switch's own reason when a port fails. */
  static async setUp(rundir: string): Promise<DemoSwitch> {
    const self = new DemoSwitch(rundir);
    self.#idl.start();
    await self.#idl.ready();
    await self.#configure();
    self.#control = resolveTarget('ovs-vswitchd');
    self.#openflow = await OpenflowClient.connect(`${rundir}/${BRIDGE}.mgmt`);
    await self.#openflow.addFlows(FLOWS);
    return self;
  }

  /** Resolves at the first snapshot that `condition` accepts. */
  #until(condition: (s: IdlSnapshot) => boolean): Promise<void> {
    return new Promise((resolve) => {
      if (condition(this.#idl.snapshot())) {
        resolve();
        return;
      }
      const unsubscribe = this.#idl.onChange((snapshot) => {
        if (!condition(snapshot)) return;
        unsubscribe();
        resolve();
      });
    });
  }

  /** One transaction: the bridge, its own port and the four vhost-user ports. */
  async #configure(): Promise<void> {
    const txn = this.#idl.txn();
    // A new database is empty; its one row is made by whoever comes first, as ovs-vsctl does.
    const root = this.#idl.snapshot().first('Open_vSwitch')?._uuid ?? txn.insert('Open_vSwitch', {});
    const port = (name: string, columns: { type: string; ofport_request?: number }) => {
      return txn.insert('Port', { name, interfaces: [txn.insert('Interface', { name, ...columns })] });
    };
    const ports = PORTS.map((name, i) => port(name, { type: 'dpdkvhostuser', ofport_request: i + 1 }));
    ports.push(port(BRIDGE, { type: 'internal' }));
    const bridge = txn.insert('Bridge', { name: BRIDGE, datapath_type: 'netdev', ports });
    txn.mutate('Open_vSwitch', root, 'bridges', 'insert', [bridge]);
    txn.update('Open_vSwitch', root, { other_config: { 'dpdk-init': 'true' } });
    txn.increment('Open_vSwitch', root, 'next_cfg');
    txn.comment('turnout demo');
    const result = await txn.commit();
    if (result.status !== 'success')
      throw new Error(`the database refused the bridge: ${result.error ?? result.status}`);
    const wanted = result.increment ?? 1;
    await this.#until((s) => Number(s.first('Open_vSwitch')?.cur_cfg ?? -1) >= wanted);
    this.#checkPorts();
  }

  #interface(name: string): IdlRow | undefined {
    return [...this.#idl.snapshot().table('Interface').values()].find((row) => row.name === name);
  }

  #checkPorts(): void {
    for (const [i, name] of PORTS.entries()) {
      const row = this.#interface(name);
      if (row?.ofport !== i + 1) throw new Error(`port ${name}: ${row?.error ?? `has OpenFlow port ${row?.ofport}`}`);
    }
  }

  async counters(): Promise<SwitchCounters> {
    const [stats, pmd] = await Promise.all([
      this.#openflow.portStats(),
      unixctlCall(this.#control, 'dpif-netdev/pmd-stats-show', []),
    ]);
    const ports = PORTS.map((name, i) => {
      const s = stats.get(i + 1);
      return { name, rxPackets: Number(s?.rxPackets ?? 0), txPackets: Number(s?.txPackets ?? 0) };
    });
    return { ports, ...parsePmdStats(pmd.result ?? '') };
  }

  /** Named drops of each port from the database; the switch writes them every few seconds. */
  drops(): Map<string, number> {
    const all = new Map<string, number>();
    for (const name of PORTS) {
      const statistics = this.#interface(name)?.statistics;
      if (!(statistics instanceof Map)) continue;
      for (const [drop, n] of namedDrops(statistics)) all.set(`${name} ${drop}`, n);
    }
    return all;
  }

  /** Waits until the database has counters as new as `counters`, or `timeoutMs` have passed. */
  async caughtUp(counters: SwitchCounters, timeoutMs: number): Promise<void> {
    const until = performance.now() + timeoutMs;
    const fresh = (p: SwitchPort) => {
      const statistics = this.#interface(p.name)?.statistics;
      return statistics instanceof Map && Number(statistics.get('rx_packets') ?? -1) >= p.rxPackets;
    };
    while (!counters.ports.every(fresh) && performance.now() < until) await sleepMs(50);
  }

  close(): void {
    this.#openflow?.close();
    this.#idl.stop();
  }
}
