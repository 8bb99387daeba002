import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ofpPort } from '../../../src/base/types.ts';
import { unixctlCall } from '../../../src/base/unixctl-client.ts';
import { DemoProcess } from '../../../src/cli/demo-process.ts';
import type { PortStats } from '../../../src/openflow/messages.ts';
import { createIdl, type Idl, type IdlRow, type IdlTxn } from '../../../src/ovsdb/idl.ts';
import { until } from '../../support/vhost-front-end.ts';
import { GoodPair } from './good-pair.ts';
import { HostileGuest, testFrame } from './hostile-guest.ts';
import { OfSession } from './of-session.ts';

/**
 * A running switch for tests of faults: `turnout up` as a process, good1 ↔ good2 under traffic all the time, evil1 ↔ sink1 for the fault. No root
 * and nothing from Debian is needed.
 */

const BRIDGE = 'br0';
export const PORTS = { good1: 1, good2: 2, evil1: 3, sink1: 4 } as const;
export type PortName = keyof typeof PORTS;
const FLOWS = [1, 2, 3, 4].map((port) => `in_port=${port},actions=output:${((port - 1) ^ 1) + 1}`);
const OFP14 = 5;

/** What a run of faults may add to the switch's memory at most: heaps breathe, leaks of a guest a fault do not fit in. */
const RSS_SLACK_KIB = 256 << 10;

export class FaultSwitch {
  readonly rundir = mkdtempSync(join(tmpdir(), 'turnout-faults-'));
  readonly idl: Idl;
  good!: GoodPair;
  openflow!: OfSession;
  #process!: DemoProcess;
  #fds: string[] = [];
  #rssKib = 0;
  #logMark = 0;

  private constructor() {
    const monitor = { Open_vSwitch: true, Bridge: true, Port: true, Interface: true } as const;
    this.idl = createIdl({ remote: `unix:${this.rundir}/db.sock`, maxBackoffMs: 100, monitor });
  }

  /** A switch that forwards; `otherConfig` is set in its database from the start. */
  static async start(otherConfig: Record<string, string> = {}): Promise<FaultSwitch> {
    const self = new FaultSwitch();
    try {
      await self.#setUp(otherConfig);
      return self;
    } catch (e) {
      await self.stop();
      throw e;
    }
  }

  async #setUp(otherConfig: Record<string, string>): Promise<void> {
    await this.#startProcess();
    this.idl.start();
    await this.idl.ready();
    await this.#configure(otherConfig);
    await this.#startTraffic();
  }

  /** Flows and the good pair, and what `unharmed` compares with. */
  async #startTraffic(): Promise<void> {
    this.openflow = await OfSession.connect(this.management, OFP14);
    await this.openflow.flows('delete', '');
    await this.openflow.flows('add', ...FLOWS);
    this.good = await GoodPair.start(this.socket('good1'), this.socket('good2'));
    await this.useEvil();
    this.#rssKib = this.rssKib();
    this.#fds = this.fds();
  }

  /** After `kill`: the switch comes up again on the same folder, with the configuration that its database has kept. */
  async restart(): Promise<void> {
    await this.#startProcess();
    await this.idl.ready();
    await until(() => Object.keys(PORTS).every((name) => existsSync(join(this.rundir, name))), 'the ports are back');
    await until(() => this.log.includes('using datapath ID'), 'the bridge is back');
    await this.#startTraffic();
  }

  /** The bridge's socket for OpenFlow clients. */
  get management(): string {
    return `${this.rundir}/${BRIDGE}.mgmt`;
  }

  async #startProcess(): Promise<void> {
    const { OVS_RUNDIR: _, OVS_LOGDIR: __, OVS_DBDIR: ___, ...env } = process.env;
    const child = new DemoProcess('up', ['up', '--foreground', '--rundir', this.rundir], env);
    this.#process = child;
    let running = false;
    child.onLine((line) => {
      running ||= line.startsWith('turnout: running');
    });
    await until(() => running || !child.running, 'the switch runs').catch((e: Error) => {
      throw new Error(`${e.message}; it says: ${child.lastWords}`);
    });
    assert.ok(running, child.lastWords);
  }

  async #configure(otherConfig: Record<string, string>): Promise<void> {
    const txn = this.idl.txn();
    const root = this.idl.snapshot().first('Open_vSwitch')?._uuid ?? txn.insert('Open_vSwitch', {});
    const ports = Object.entries(PORTS).map(([name, n]) => {
      const iface = txn.insert('Interface', { name, type: 'dpdkvhostuser', ofport_request: n });
      return txn.insert('Port', { name, interfaces: [iface] });
    });
    const own = txn.insert('Interface', { name: BRIDGE, type: 'internal' });
    ports.push(txn.insert('Port', { name: BRIDGE, interfaces: [own] }));
    const bridge = txn.insert('Bridge', { name: BRIDGE, datapath_type: 'netdev', ports });
    txn.mutate('Open_vSwitch', root, 'bridges', 'insert', [bridge]);
    txn.update('Open_vSwitch', root, { other_config: { 'dpdk-init': 'true', ...otherConfig } });
    await this.#commit(txn, root);
    for (const [name, n] of Object.entries(PORTS)) assert.equal(this.interface(name as PortName).ofport, n);
  }

  /** Sets `other_config` and waits until the switch has obeyed. */
  async setOtherConfig(otherConfig: Record<string, string>): Promise<void> {
    await this.change((txn, root) =>
      txn.update('Open_vSwitch', root, { other_config: { 'dpdk-init': 'true', ...otherConfig } }),
    );
  }

  /** Changes the database by `fill`, which gets the root row's uuid, and waits until the switch has obeyed. */
  async change(fill: (txn: IdlTxn, root: string) => void): Promise<void> {
    const txn = this.idl.txn();
    const root = this.idl.snapshot().first('Open_vSwitch')!._uuid;
    fill(txn, root);
    await this.#commit(txn, root);
  }

  /** Commits and waits until the switch has obeyed. */
  async #commit(txn: IdlTxn, root: string): Promise<void> {
    txn.increment('Open_vSwitch', root, 'next_cfg');
    const { status, error, increment } = await txn.commit();
    assert.equal(status, 'success', error ?? '');
    const curCfg = () => Number(this.idl.snapshot().first('Open_vSwitch')?.cur_cfg ?? -1);
    await until(() => curCfg() >= increment!, 'the configuration is in force');
  }

  interface(name: PortName): IdlRow {
    return [...this.idl.snapshot().table('Interface').values()].find((row) => row.name === name)!;
  }

  async linkState(name: PortName, state: 'up' | 'down'): Promise<void> {
    await until(() => this.interface(name).link_state === state, `link_state of ${name} is ${state}`);
  }

  socket(port: PortName): string {
    return join(this.rundir, port);
  }

  get pid(): number {
    return this.#process.child.pid!;
  }

  async appctl(command: string, ...args: string[]): Promise<string> {
    const reply = await unixctlCall(`${this.rundir}/ovs-vswitchd.${this.pid}.ctl`, command, args);
    assert.equal(reply.error, undefined);
    return reply.result ?? '';
  }

  /** A named drop of the datapath, as `coverage/show` has it. */
  async drops(name: string): Promise<number> {
    return Number(await this.appctl('coverage/read-counter', name));
  }

  /** Counters of a port with its provider's own, as OpenFlow tells them. */
  async portStats(port: PortName): Promise<PortStats & { named: Map<string, number> }> {
    const [reply] = await this.openflow.request({ type: 'port_stats_request', portNo: ofpPort(PORTS[port]) });
    assert.ok(reply?.type === 'port_stats_reply');
    const stats = reply.ports[0]!;
    return { ...stats, named: new Map((stats.custom ?? []).map(({ name, value }) => [name, Number(value)])) };
  }

  /** The log from the last `markLog` on. */
  get log(): string {
    return readFileSync(`${this.rundir}/ovs-vswitchd.log`, 'utf8').slice(this.#logMark);
  }

  markLog(): void {
    this.#logMark += this.log.length;
  }

  async logged(text: string): Promise<void> {
    await until(() => this.log.includes(text), `the log says "${text}"`);
  }

  /** What the switch has open, sorted: `socket`, `anon_inode`, a path. */
  fds(): string[] {
    const dir = `/proc/${this.pid}/fd`;
    return readdirSync(dir)
      .map((fd) => readlink(`${dir}/${fd}`).replace(/^socket:.*/, 'socket'))
      .sort();
  }

  rssKib(): number {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))![1]);
  }

  /** A well-behaved guest on evil1 sends a few frames to one on sink1, and the other way round. */
  async useEvil(): Promise<void> {
    const evil = await HostileGuest.up(this.socket('evil1'));
    const sink = await HostileGuest.up(this.socket('sink1'));
    for (const [from, to] of [
      [evil, sink],
      [sink, evil],
    ] as const) {
      const frames = [1, 2, 3].map((seed) => testFrame(seed));
      await from.transmit(frames);
      assert.deepEqual(await to.received(3), frames.map(Buffer.from));
    }
    evil.close();
    sink.close();
    await this.linkState('evil1', 'down');
    await this.linkState('sink1', 'down');
  }

  /** After a fault, and with nobody on evil1 and sink1: nothing else was harmed, nothing is left over, and evil1 serves its next guest. */
  async unharmed(): Promise<void> {
    assert.ok(this.#process.running, this.#process.lastWords);
    await this.useEvil();
    await this.good.lostNothing();
    for (const port of ['good1', 'good2'] as const) {
      const { rxDropped, txDropped, rxErrors, txErrors } = await this.portStats(port);
      assert.deepEqual([rxDropped, txDropped, rxErrors, txErrors], [0n, 0n, 0n, 0n], port);
    }
    await this.#fdsFlat();
    assert.ok(this.rssKib() < this.#rssKib + RSS_SLACK_KIB, `memory grew from ${this.#rssKib} to ${this.rssKib()} KiB`);
  }

  /** No more fds are open than before the first fault; tells which are new. */
  async #fdsFlat(): Promise<void> {
    let more: string[] = [];
    const isFlat = () => {
      const now = this.fds();
      more = now.length > this.#fds.length ? difference(now, this.#fds) : [];
      return more.length === 0;
    };
    await until(isFlat, 'the number of fds is flat again').catch((e: Error) => {
      throw new assert.AssertionError({ message: `${e.message}; new: ${more.join(', ')}` });
    });
  }

  /** Ends the process by SIGKILL and resolves when it is gone and seen to be gone. Traffic ends with it. */
  async kill(): Promise<void> {
    this.markLog();
    this.#process.child.kill('SIGKILL');
    await this.#process.ended;
    await this.good.stop();
    this.openflow.close();
    await until(() => this.idl.state !== 'monitoring', 'the database is gone');
  }

  async stop(): Promise<void> {
    await this.good?.stop();
    this.openflow?.close();
    this.idl.stop();
    await this.#process?.stop();
    rmSync(this.rundir, { recursive: true, force: true });
  }
}

/** Where a link leads; the fd may be closed by now. */
function readlink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return 'closed';
  }
}

/** What `a` has more than `b`, counting how often. */
function difference(a: readonly string[], b: readonly string[]): string[] {
  const rest = [...b];
  return a.filter((each) => {
    const at = rest.indexOf(each);
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  });
}
