import { type OdpPort, odpPort } from '../../src/base/types.ts';
import type { Arena } from '../../src/dpif/userspace/arena.ts';
import { actionFlags, compileActions } from '../../src/dpif/userspace/compile-actions.ts';
import { DatapathThread, loadModules } from '../../src/dpif/userspace/datapath-thread.ts';
import { FlowTable } from '../../src/dpif/userspace/flow-table.ts';
import { ArenaHeap } from '../../src/dpif/userspace/heap.ts';
import { PmdPool } from '../../src/dpif/userspace/pmd-pool.ts';
import { Rcu } from '../../src/dpif/userspace/rcu.ts';
import { VhostPorts } from '../../src/dpif/userspace/vhost-ports.ts';
import { Flow, FlowWildcards } from '../../src/flow/flow.ts';
import {
  ARENA_PORTS,
  BIG_FRAME_MAX,
  PORT__SIZE,
  PORT_KIND,
  PORT_KIND_VHOST,
  PORT_MAX_FRAME,
} from '../../src/gen/arena.ts';
import type { VhostUserNetdev } from '../../src/netdev/vhost-user/vhost-user-netdev.ts';
import { getAffinity } from '../../src/sys/sched.ts';

/** What of a switch forwards: one PMD worker and vhost-user ports, over an arena that is new or was another's. */
export class Forwarder {
  readonly traps: string[] = [];
  readonly #arena: Arena;
  readonly #main: DatapathThread;
  readonly #pool: PmdPool;
  readonly #vhost: VhostPorts;

  constructor(arena: Arena) {
    const modules = loadModules();
    this.#arena = arena;
    this.#main = new DatapathThread(0, arena, modules);
    this.#pool = new PmdPool(arena, modules, (_vring, message) => this.traps.push(message));
    this.#vhost = new VhostPorts(arena, this.#pool, this.#main, () => this.#poll());
  }

  async #poll(): Promise<void> {
    const rxqs = this.#vhost.rxqs().filter((q) => q.enabled);
    await Promise.all(this.#pool.pmds.map((pmd) => pmd.setRxqs(rxqs)));
  }

  /** The PMD polls from now on. */
  async start(): Promise<void> {
    await this.#pool.setCores(getAffinity().slice(0, 1), {
      threadsChanged: () => this.#vhost.threadsChanged(),
      requests: () => this.#vhost.requests(),
    });
    await this.#poll();
  }

  async stop(): Promise<void> {
    await this.#pool.setCores([], { threadsChanged: async () => {}, requests: () => [] });
  }

  /** Makes the port's record. Not for an arena that has it. */
  makePort(port: number): void {
    this.#arena.set(ARENA_PORTS + port * PORT__SIZE + PORT_MAX_FRAME, BIG_FRAME_MAX);
    this.#arena.publish(ARENA_PORTS + port * PORT__SIZE + PORT_KIND, PORT_KIND_VHOST);
  }

  /** Serves `netdev` as that port; its rings run once it has settled. */
  attach(port: number, netdev: VhostUserNetdev): void {
    if (netdev.io.kind === 'vhost') netdev.io.attach(this.#vhost.add(odpPort(port), netdev.name));
  }

  /** One megaflow for all IPv4 packets of each port; their indices. Not for an arena that has flows. */
  install(routes: readonly { from: number; to: number }[]): number[] {
    const heap = new ArenaHeap();
    const rcu = new Rcu(this.#arena, () => this.#pool.nThreads);
    const table = new FlowTable(this.#arena, heap, rcu, (flow) => this.#main.exports.flowHash(flow) >>> 0);
    return routes.map(({ from, to }) => {
      const actions = [{ type: 'output' as const, port: odpPort(to) }];
      const words = compileActions(actions, () => 0);
      const at = heap.alloc(words.length * 4)!;
      this.#arena.u32.set(words, at >> 2);
      return table.insert(keyOf(odpPort(from)), maskOf(), at | actionFlags(actions));
    });
  }
}

function keyOf(from: OdpPort): Flow {
  const key = new Flow();
  key.inPort = from;
  key.dlType = 0x0800;
  return key;
}

function maskOf(): FlowWildcards {
  const mask = new FlowWildcards();
  mask.inPort = 0xffffffff;
  mask.recircId = 0xffffffff;
  mask.dlType = 0xffff;
  return mask;
}
