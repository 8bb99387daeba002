import type { DpAction } from '../../dpif/dpif.ts';
import { type Flow, FlowWildcards } from '../../flow/flow.ts';
import type { Ofpact } from '../../openflow/actions.ts';
import { OFPP_UNSET } from '../ports.ts';
import type { Rule } from '../rule.ts';
import { commitOdpActions } from './commit.ts';
import type { Effect, SlowReason, TraceNode, TraceNodeType, XBridge, XlateError, XlateIn } from './types.ts';

/** The state of one translation. */
export class XlateCtx {
  readonly xin: XlateIn;
  /** As the packet would be now. */
  flow: Flow;
  /** As the datapath has it after `actions`. */
  readonly base: Flow;
  readonly wc = new FlowWildcards();
  actions: DpAction[] = [];
  readonly effects: Effect[] = [];
  readonly slow = new Set<SlowReason>();
  bridge: XBridge;
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
  dropReason = 'no_match';
  /** Where trace nodes go now. */
  trace: TraceNode[] | undefined;

  /** Runs a list of actions. */
  readonly run: (ctx: XlateCtx, actions: readonly Ofpact[]) => void;

  constructor(xin: XlateIn, run: (ctx: XlateCtx, actions: readonly Ofpact[]) => void) {
    this.xin = xin;
    this.run = run;
    this.flow = xin.flow.clone();
    this.flow.actsetOutput = OFPP_UNSET;
    this.base = xin.flow.clone();
    this.bridge = xin.bridge;
    this.trace = xin.trace?.nodes;
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
    else if (this.xin.packet) this.xin.warn?.(`${text} on bridge ${this.bridge.name}`);
  }

  /** Runs `f` with the trace nodes of `subs` as its own. */
  nested(subs: TraceNode[] | undefined, f: () => void): void {
    const outer = this.trace;
    this.trace = subs;
    f();
    this.trace = outer;
  }

  /** Turns the changes of headers since the last commit into datapath actions. */
  commit(): void {
    if (commitOdpActions(this.flow, this.base, this.actions, this.wc)) this.slow.add('action');
  }
}
