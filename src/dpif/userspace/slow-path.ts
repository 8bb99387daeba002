import type { OdpPort } from '../../base/types.ts';
import type { Flow, FlowWildcards } from '../../flow/flow.ts';
import { hash5Tuple } from '../../flow/flow-hash.ts';
import { FLOW_MEMBERS, type FlowMemberName } from '../../gen/flow.ts';
import { FLOW_KEY_MEMBERS } from '../../gen/flow-key.ts';
import type { Bonds } from '../bonds.ts';
import type { DpAction, DpFlow, DpFlowStats, DpUserdata, Upcall } from '../dpif.ts';
import { DummyFlow, DummyFlowTable } from '../dummy/flow-table.ts';
import type { Meters } from '../meters.ts';
import { executeActions } from '../odp-execute.ts';
import { extractKey } from '../packet-key.ts';

/**
 * What the fast path has not got, done on the control thread in TypeScript: action lists with an action that is not compiled, and packets that
 * were recirculated, with the megaflows that match those. Slow, but right.
 */

/** As Open vSwitch's MAX_RECIRC_DEPTH. */
const MAX_DEPTH = 6;

export interface SlowPathDeps {
  /** Sends a frame, which came in by `inPort`. */
  output(port: OdpPort, packet: Uint8Array, inPort: number): void;
  /** Undefined when the handler failed; that has been counted. */
  ask(upcall: Upcall): readonly DpAction[] | undefined;
  drop(reason: string): void;
  nowMs(): number;
  vlanLimit(): number;
  meters: Meters;
  bonds: Bonds;
}

/** Set attributes and actions that the fast path runs by itself. */
const COMPILED: ReadonlySet<DpAction['type']> = new Set<DpAction['type']>([
  'output',
  'userspace',
  'push_vlan',
  'pop_vlan',
  'push_mpls',
  'pop_mpls',
  'trunc',
  'drop',
]);

/** True when a list can be compiled for the fast path. */
export function isCompilable(actions: readonly DpAction[]): boolean {
  return actions.every((a) => {
    if (a.type === 'set') return a.attr !== 'nsh';
    if (a.type === 'clone') return isCompilable(a.actions);
    if (a.type === 'check_pkt_len') return isCompilable(a.ifGreater) && isCompilable(a.ifLessEqual);
    return COMPILED.has(a.type);
  });
}

const IN_KEY = new Set<string>(FLOW_KEY_MEMBERS.map(({ name }) => name));
/** Members of a first packet that are zero whatever it is: nobody has written them yet. */
const ALWAYS_ZERO = /^(tun_|ct_|reg\d|metadata|conj_id|actset_output)/;
const UNSEEN = (Object.keys(FLOW_MEMBERS) as FlowMemberName[]).filter((n) => !IN_KEY.has(n) && !ALWAYS_ZERO.test(n));

/** True when the fast path does not extract something that the mask looks at. */
export function looksBeyondKey(mask: FlowWildcards): boolean {
  return UNSEEN.some((name) => {
    const { offset, size } = FLOW_MEMBERS[name];
    for (let i = 0; i < size; i++) if (mask.u8[offset + i] !== 0) return true;
    return false;
  });
}

export class SlowPath {
  /** Megaflows of recirculated packets. */
  readonly #table = new DummyFlowTable();
  readonly #deps: SlowPathDeps;
  recirculations = 0n;

  constructor(deps: SlowPathDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#table.size;
  }

  flows(): Iterable<DpFlow> {
    return this.#table.values();
  }

  owns(flow: DpFlow): boolean {
    return flow instanceof DummyFlow;
  }

  put(key: Flow, mask: FlowWildcards, actions: readonly DpAction[]): DpFlow {
    const existing = this.#table.find(key, mask);
    if (existing) {
      existing.actions = actions;
      return existing;
    }
    const flow = new DummyFlow(key, mask, actions, -1);
    this.#table.insert(flow);
    return flow;
  }

  modify(flow: DpFlow, actions: readonly DpAction[]): void {
    (flow as DummyFlow).actions = actions;
  }

  delete(flow: DpFlow): DpFlowStats {
    const own = flow as DummyFlow;
    this.#table.remove(own);
    own.dead = true;
    return own.stats;
  }

  stats(flow: DpFlow): DpFlowStats {
    return (flow as DummyFlow).stats;
  }

  /** Runs a list on a packet with that metadata. `received`: it has just come in by a port. */
  run(packet: Uint8Array, md: Flow, actions: readonly DpAction[], received: boolean): void {
    const rssHash = received ? hash5Tuple(extractKey(packet, md, this.#deps.vlanLimit()), 0) : undefined;
    this.#execute(packet, md, actions, 0, rssHash);
  }

  #execute(packet: Uint8Array, md: Flow, actions: readonly DpAction[], depth: number, rssHash?: number): void {
    const { meters, bonds } = this.#deps;
    executeActions(packet, md, actions, {
      output: (port, p, out) => this.#output(port, p, out),
      userspace: (userdata, p, up) => this.#userspace(userdata, p, up, depth),
      recirc: (_id, p, _hash, next) => this.#recirculate(p, next, depth, rssHash),
      meter: (id, size) => meters.run(id, size),
      drop: (reason) => this.#deps.drop(reason),
      lbOutput: (id, p, hash, out) => {
        const port = bonds.choose(id, hash, p.length);
        if (port === undefined) this.#deps.drop('datapath_drop_invalid_bond');
        else this.#output(port, p, out);
      },
      ...(rssHash !== undefined && { rssHash }),
    });
  }

  #output(port: OdpPort, packet: Uint8Array, md: Flow): void {
    // Ports take Ethernet frames only.
    if (md.packetType === 0) this.#deps.output(port, packet, md.inPort);
    else this.#deps.drop('datapath_drop_invalid_port');
  }

  #recirculate(packet: Uint8Array, md: Flow, depth: number, rssHash: number | undefined): void {
    if (depth >= MAX_DEPTH) {
      this.#deps.drop('datapath_drop_recirc_error');
      return;
    }
    this.recirculations++;
    const key = extractKey(packet, md, this.#deps.vlanLimit());
    const flow = this.#table.lookup(key)?.flow;
    if (flow) {
      flow.stats.packets++;
      flow.stats.bytes += BigInt(packet.length);
      flow.stats.usedMs = this.#deps.nowMs();
      flow.stats.tcpFlags |= key.tcpFlags;
    }
    const actions = flow?.actions ?? this.#deps.ask({ type: 'miss', key, packet, pmd: -1 });
    if (actions) this.#execute(packet, md, actions, depth + 1, rssHash);
  }

  #userspace(userdata: DpUserdata, packet: Uint8Array, md: Flow, depth: number): void {
    if (depth >= MAX_DEPTH) return;
    const key = extractKey(packet, md, this.#deps.vlanLimit());
    const actions = this.#deps.ask({ type: 'action', key, packet, userdata, pmd: -1 });
    if (actions && actions.length > 0) this.#execute(packet, md, actions, depth + 1);
  }
}
