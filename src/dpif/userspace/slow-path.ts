import type { OdpPort } from '../../base/types.ts';
import { type Flow, FlowWildcards } from '../../flow/flow.ts';
import { hash5Tuple } from '../../flow/flow-hash.ts';
import { PKT_F_NO_RSS, RECIRC_DEPTH_MAX } from '../../gen/arena.ts';
import type { Bonds } from '../bonds.ts';
import type { DpAction, DpFlow, DpFlowStats, DpUserdata, Upcall } from '../dpif.ts';
import { DummyFlow, DummyFlowTable } from '../dummy/flow-table.ts';
import type { Meters } from '../meters.ts';
import { executeActions, type TunnelPort } from '../odp-execute.ts';
import { extractKey } from '../packet-key.ts';
import { OUTSIDE_KEY } from './flow-key.ts';
import type { PacketState } from './own-packets.ts';

/**
 * What the fast path has not got, done on the control thread in TypeScript: action lists with an action that is not compiled, and packets that were
 * recirculated with metadata that the fast path's key has no room for, with the megaflows that match those. Slow, but right.
 */

export interface SlowPathDeps {
  /** Sends a frame, which came in by `inPort`. */
  output(port: OdpPort, packet: Uint8Array, inPort: number): void;
  /** Has the fast path look a recirculated packet up and go on with it; false: it can't. */
  recirculate(packet: Uint8Array, md: Flow, state: PacketState): boolean;
  /** A packet was looked up again here, and had a megaflow or not. */
  recirculated(hit: boolean): void;
  /** Undefined when the handler failed; that has been counted. */
  ask(upcall: Upcall): readonly DpAction[] | undefined;
  drop(reason: string): void;
  /** The datapath has as many megaflows as it may have. */
  isFull(): boolean;
  nowMs(): number;
  vlanLimit(): number;
  meters: Pick<Meters, 'run'>;
  bonds: Pick<Bonds, 'choose'>;
  tunnelPort(port: OdpPort): TunnelPort | undefined;
}

/** Members of a packet that are zero whatever it is, until an action of the slow path writes them. */
const ALWAYS_ZERO = /^(tun_|ct_|reg\d|metadata|conj_id|actset_output)/;
const UNSEEN = OUTSIDE_KEY.filter(({ name }) => !ALWAYS_ZERO.test(name));
/** The same as bits of a Flow's words, and which words these are. */
const UNSEEN_BITS = new FlowWildcards();
for (const { at, end } of UNSEEN) UNSEEN_BITS.u8.fill(0xff, at, end);
const UNSEEN_WORDS = [...UNSEEN_BITS.u32.keys()].filter((i) => UNSEEN_BITS.u32[i] !== 0);
const METADATA_OUTSIDE = OUTSIDE_KEY.filter(({ name }) => /^(tun_|ct_)/.test(name));

const bytesOf = (f: Flow | FlowWildcards, { at, end }: { at: number; end: number }): Uint8Array =>
  f.u8.subarray(at, end);

/** True when the mask looks at something that the fast path does not extract, or that it takes for zero while `key` has it otherwise. */
export function looksBeyondKey(mask: FlowWildcards, key?: Flow): boolean {
  for (const i of UNSEEN_WORDS) if (mask.u32[i]! & UNSEEN_BITS.u32[i]!) return true;
  return (
    key !== undefined && METADATA_OUTSIDE.some((part) => bytesOf(mask, part).some((b, i) => b & bytesOf(key, part)[i]!))
  );
}

/** True when a packet carries metadata that the fast path's key has no room for. */
export const carriesBeyondKey = (md: Flow): boolean =>
  METADATA_OUTSIDE.some((part) => bytesOf(md, part).some((b) => b !== 0));

export class SlowPath {
  /** Megaflows of packets that carry such metadata. */
  readonly #table = new DummyFlowTable();
  readonly #deps: SlowPathDeps;

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

  /** See `Dpif.flowPut`. */
  put(key: Flow, mask: FlowWildcards, actions: readonly DpAction[]): DpFlow | undefined {
    const existing = this.#table.find(key, mask);
    if (existing) {
      existing.actions = actions;
      return existing;
    }
    if (this.#deps.isFull()) return undefined;
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

  /** Actions of the megaflow for a packet of that key, which is counted on it. */
  count(key: Flow, size: number): readonly DpAction[] | undefined {
    const flow = this.#table.lookup(key)?.flow;
    if (!flow) return undefined;
    flow.stats.packets++;
    flow.stats.bytes += BigInt(size);
    flow.stats.usedMs = this.#deps.nowMs();
    flow.stats.tcpFlags |= key.tcpFlags;
    return flow.actions;
  }

  /** Runs a list on a packet with that metadata. */
  run(packet: Uint8Array, md: Flow, actions: readonly DpAction[], state: PacketState): void {
    const ownHash = state.rss || hash5Tuple(extractKey(packet, md, this.#deps.vlanLimit()), 0);
    this.#execute(packet, md, actions, state.flags & PKT_F_NO_RSS ? state : { ...state, rss: ownHash });
  }

  #execute(packet: Uint8Array, md: Flow, actions: readonly DpAction[], state: PacketState): void {
    const { meters, bonds } = this.#deps;
    executeActions(packet, md, actions, {
      output: (port, p, out) => this.#output(port, p, out),
      userspace: (userdata, p, up) => this.#userspace(userdata, p, up, state),
      recirc: (_id, p, _hash, next) => this.#recirculate(p, next, state),
      meter: (id, size) => meters.run(id, size),
      tunnelPort: (port) => this.#deps.tunnelPort(port),
      drop: (reason) => this.#deps.drop(reason),
      lbOutput: (id, p, hash, out) => {
        const port = bonds.choose(id, hash, p.length);
        if (port === undefined) this.#deps.drop('datapath_drop_invalid_bond');
        else this.#output(port, p, out);
      },
      ...(!(state.flags & PKT_F_NO_RSS) && { rssHash: state.rss }),
    });
  }

  #output(port: OdpPort, packet: Uint8Array, md: Flow): void {
    // Ports take Ethernet frames only.
    if (md.packetType === 0) this.#deps.output(port, packet, md.inPort);
    else this.#deps.drop('datapath_drop_invalid_port');
  }

  #recirculate(packet: Uint8Array, md: Flow, before: PacketState): void {
    if (before.depth >= RECIRC_DEPTH_MAX) {
      this.#deps.drop('datapath_drop_recirc_error');
      return;
    }
    const state = { ...before, depth: before.depth + 1 };
    if (this.#deps.recirculate(packet, md, state)) return;
    const key = extractKey(packet, md, this.#deps.vlanLimit());
    const known = this.count(key, packet.length);
    this.#deps.recirculated(known !== undefined);
    const actions = known ?? this.#deps.ask({ type: 'miss', key, packet, pmd: -1 });
    if (actions) this.#execute(packet, md, actions, state);
  }

  #userspace(userdata: DpUserdata, packet: Uint8Array, md: Flow, before: PacketState): void {
    if (before.depth >= RECIRC_DEPTH_MAX) {
      this.#deps.drop('datapath_drop_userspace_action_error');
      return;
    }
    const key = extractKey(packet, md, this.#deps.vlanLimit());
    const actions = this.#deps.ask({ type: 'action', key, packet, userdata, pmd: -1 });
    if (actions && actions.length > 0) this.#execute(packet, md, actions, { ...before, depth: before.depth + 1 });
  }
}
