import type { DpAction } from '../../dpif/dpif.ts';
import { type Flow, FlowWildcards } from '../../flow/flow.ts';
import { FLOW_MEMBERS } from '../../gen/flow.ts';
import type { Ofpact, OfpactOf } from '../../openflow/actions.ts';
import { formatFlow } from '../flow-format.ts';
import { OFPP_UNSET } from '../ports.ts';
import type { Rule } from '../rule.ts';
import { commitOdpActions } from './commit.ts';
import type {
  DpSupport,
  Effect,
  FrozenState,
  SlowReason,
  TraceNode,
  TraceNodeType,
  XBridge,
  XlateError,
  XlateIn,
  XlateOfpact,
  XPort,
} from './types.ts';

/** How a list of actions is run. */
export interface RunOptions {
  /** Nothing follows the list: what it does to the packet need not be undone. */
  last?: boolean;
  /** The list is that of a group's bucket. */
  bucket?: boolean;
}

export type Runner = (ctx: XlateCtx, actions: readonly XlateOfpact[], opts: RunOptions) => void;

const TUNNEL_END = FLOW_MEMBERS.tun_metadata.offset + FLOW_MEMBERS.tun_metadata.size;

/** Forgets the tunnel that a packet came by. */
export function clearTunnel(flow: Flow): void {
  flow.u8.fill(0, 0, TUNNEL_END);
}

/** The tunnel members of a flow, to put back by `u8.set`. */
export const tunnelBytes = (flow: Flow): Uint8Array => flow.u8.slice(0, TUNNEL_END);

/** The state of one translation. */
export class XlateCtx {
  readonly xin: XlateIn;
  /** What the packet came back to, when it was recirculated. */
  readonly frozen: FrozenState | undefined;
  /** As the packet would be now. */
  flow: Flow;
  /** As the datapath has it after `actions`. It forgets a tunnel as soon as the packet is in. */
  base: Flow;
  wc = new FlowWildcards();
  actions: DpAction[] = [];
  effects: Effect[] = [];
  readonly slow = new Set<SlowReason>();
  readonly support: DpSupport;
  /** Recirculation numbers that were made. */
  readonly recircs: number[] = [];
  avoidCaching = false;
  bridge: XBridge;
  /** Port by which the packet came into the switch. */
  xport: XPort | undefined;
  rule: Rule | undefined;
  ruleCookie = 0xffff_ffff_ffff_ffffn;
  tableId = 0;
  depth = 0;
  resubmits = 0;
  actionSet: Ofpact[] = [];
  actionSetHasGroup = false;
  inActionSet = false;
  stack: Uint8Array[] = [];
  exit = false;
  error: XlateError | undefined;
  /** Why nothing is forwarded, if so. */
  dropReason = 'no_match';
  /** Mirrors that have had the packet, as bits. */
  mirrors = 0;
  /** Longest packet that the mirrors of now may have, 0: any. */
  mirrorSnaplen = 0;
  /** Where trace nodes go now. */
  trace: TraceNode[] | undefined;

  /** A header was put on, or taken off, in `flow`, and the next commit is to do it in the datapath. */
  pendingEncap = false;
  pendingDecap = false;
  /** Metadata of an NSH header of type 2 that is to be put on. */
  encapData: Uint8Array | undefined;
  /** What is behind the labels is out of reach until the packet comes back. */
  wasMpls = false;
  /** The packet went through connection tracking in this bridge. */
  conntracked = false;
  /** The `nat` in the `ct` that is being translated. */
  ctNat: OfpactOf<'nat'> | undefined;

  // Freezing: translation stops here and goes on when the packet comes back.
  freezing = false;
  /** Hash that the datapath is to compute on the way back. */
  recircHash: { algorithm: number; basis: number } | undefined;
  frozenActions: XlateOfpact[] = [];
  pause: OfpactOf<'controller'> | undefined;

  readonly #run: Runner;

  constructor(xin: XlateIn, run: Runner) {
    this.xin = xin;
    this.#run = run;
    this.bridge = xin.bridge;
    this.support = xin.bridge.support;
    this.frozen = xin.frozen ?? (xin.flow.recircId ? xin.bridge.recircs.find(xin.flow.recircId) : undefined);
    this.flow = xin.flow.clone();
    this.flow.actsetOutput = OFPP_UNSET;
    this.flow.tunTable ??= xin.bridge.tunTable;
    this.wc.tunTable = this.flow.tunTable;
    this.base = xin.flow.clone();
    clearTunnel(this.base);
    this.trace = xin.trace?.nodes;
  }

  run(actions: readonly XlateOfpact[], opts: RunOptions = {}): void {
    this.#run(this, actions, opts);
  }

  /** Adds a node to the trace; returns where its children go. */
  report(type: TraceNodeType, text: string): TraceNode[] | undefined {
    if (!this.trace) return undefined;
    const node: TraceNode = { type, text, subs: [] };
    this.trace.push(node);
    return node.subs;
  }

  /** A problem that an operator should know of. */
  reportError(text: string): void {
    if (this.trace) this.report('error', text);
    else if (this.xin.packet) this.xin.warn?.(this.#where(text));
  }

  /** What an operator may want to know of. */
  reportInfo(text: string): void {
    if (this.trace) this.report('warn', text);
    else if (this.xin.packet) this.xin.info?.(this.#where(text));
  }

  #where(text: string): string {
    return `${text} on bridge ${this.bridge.name} while processing ${formatFlow(this.base)}`;
  }

  /** Runs `f` with the trace nodes of `subs` as its own. */
  nested(subs: TraceNode[] | undefined, f: () => void): void {
    const outer = this.trace;
    this.trace = subs;
    f();
    this.trace = outer;
  }

  /** Side effects happen, now or with each packet of the megaflow. */
  get sideEffects(): boolean {
    return this.xin.packet !== undefined || !this.xin.dontSend;
  }

  /** Turns the changes of headers since the last commit into datapath actions. */
  commit(): void {
    const pending = { encap: this.pendingEncap, decap: this.pendingDecap, data: this.encapData };
    if (commitOdpActions(this.flow, this.base, this.actions, this.wc, pending, this.support.maskedSet))
      this.slow.add('action');
    this.pendingEncap = false;
    this.pendingDecap = false;
    this.encapData = undefined;
  }

  /** Runs `f` with a list of datapath actions of its own; returns that list. */
  nestedActions(f: () => void): DpAction[] {
    const outer = this.actions;
    this.actions = [];
    f();
    const inner = this.actions;
    this.actions = outer;
    return inner;
  }
}

/** Forgets what connection tracking said of the packet. */
export function clearConntrack(flow: Flow): void {
  flow.ctState = flow.ctZone = flow.ctMark = 0;
  flow.ctNwProto = flow.ctTpSrc = flow.ctTpDst = 0;
  const zero = (name: 'ct_label' | 'ct_ipv6_src' | 'ct_ipv6_dst') => {
    const { offset, size } = FLOW_MEMBERS[name];
    flow.u8.fill(0, offset, offset + size);
  };
  zero('ct_label');
  if (flow.dlType === 0x0800) flow.ctNwSrc = flow.ctNwDst = 0;
  else if (flow.dlType === 0x86dd) {
    zero('ct_ipv6_src');
    zero('ct_ipv6_dst');
  }
}
