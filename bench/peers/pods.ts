/** Two network namespaces with an ordinary kernel stack, joined to a switch by veth, and what runs in them. */
import { readlinkSync } from 'node:fs';
import { check, eventually, LIVENESS_MS, Running } from './process.ts';

/** 10.99.0.1 and .2; a veth's end `e0` in each. */
const addressOf = (pod: number): string => `10.99.0.${pod}`;

/** Inside the network of a process. */
const inside = (pid: number): string[] => ['nsenter', '-t', String(pid), '-n'];

export class Pods {
  readonly #anchors: Running[] = [];
  readonly #hostPid: number;

  private constructor(hostPid: number) {
    this.#hostPid = hostPid;
  }

  /**
   * Makes both. Their veths `pod1` and `pod2` are in the network of the process `hostPid`, and up. Without `offloads` the pods compute their own checksums and
   * cut their own segments, as on a switch that can do neither.
   */
  static async start(hostPid: number, offloads: boolean): Promise<Pods> {
    const it = new Pods(hostPid);
    try {
      for (const pod of [1, 2]) await it.#make(pod, offloads);
      return it;
    } catch (error) {
      await it.stop();
      throw error;
    }
  }

  async #make(pod: number, offloads: boolean): Promise<void> {
    const anchor = await Running.start(`pod ${pod}`, ['unshare', '--net', 'sleep', 'infinity']);
    this.#anchors.push(anchor);
    const [host, here, name] = [inside(this.#hostPid), inside(anchor.pid), `pod${pod}`];
    await awaitOwnNetwork(anchor.pid);
    await check([
      ...host,
      'ip',
      'link',
      'add',
      name,
      'type',
      'veth',
      'peer',
      'name',
      'e0',
      'netns',
      String(anchor.pid),
    ]);
    await check([...host, 'ip', 'link', 'set', name, 'up']);
    await check([...here, 'ip', 'address', 'add', `${addressOf(pod)}/24`, 'dev', 'e0']);
    if (!offloads) await check([...here, 'ethtool', '-K', 'e0', 'tx', 'off', 'gso', 'off']);
    await check([...here, 'ip', 'link', 'set', 'e0', 'up']);
  }

  /** Bits a second and bytes that TCP carries from the first to the second; both ends run on the core `core`. */
  async tcp(seconds: number, core: number): Promise<{ bitsPerSecond: number; bytes: number }> {
    const pinned = ['taskset', '-c', String(core), 'iperf3'];
    const server = await Running.start('iperf3', [...this.#in(2), ...pinned, '--server', '--one-off', '--forceflush']);
    try {
      await server.waitFor(/listening/);
      const client = [...this.#in(1), ...pinned, '--json', '--client', addressOf(2), '--time', String(seconds)];
      const report = JSON.parse(await check(client, { timeoutMs: seconds * 1000 + LIVENESS_MS })) as Iperf;
      const { bits_per_second: bitsPerSecond, bytes } = report.end.sum_received;
      return { bitsPerSecond, bytes };
    } finally {
      await server.stop('SIGKILL');
    }
  }

  /** Microseconds from an echo request to its reply, on average of `n`, each sent when the one before has come back. */
  async roundTripUs(n: number, core: number): Promise<number> {
    const ping = ['taskset', '-c', String(core), 'ping', '-A', '-q', '-c', String(n), addressOf(2)];
    const average = /^rtt [^=]*= [\d.]+\/([\d.]+)\//m.exec(await check([...this.#in(1), ...ping]))?.[1];
    if (average === undefined) throw new Error('no echo came back to ping');
    return Number(average) * 1000;
  }

  #in(pod: 1 | 2): string[] {
    return inside(this.#anchors[pod - 1]!.pid);
  }

  /** Their veths go with their namespaces. */
  async stop(): Promise<void> {
    for (const anchor of this.#anchors) await anchor.stop('SIGKILL');
  }
}

/** The part of iperf3's report that is read. */
interface Iperf {
  end: { sum_received: { bits_per_second: number; bytes: number } };
}

/** `unshare` runs a moment in the network it was started in. */
async function awaitOwnNetwork(pid: number): Promise<void> {
  const networkOf = (of: number | 'self') => readlinkSync(`/proc/${of}/ns/net`);
  await eventually('a network namespace', () => networkOf(pid) !== networkOf('self') || undefined);
}
