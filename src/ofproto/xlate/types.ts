import type { OdpPort, OfpPort } from '../../base/types.ts';
import type { DpAction } from '../../dpif/dpif.ts';
import type { Flow, FlowWildcards } from '../../flow/flow.ts';
import type { Ofpact } from '../../openflow/actions.ts';
import type { FragHandling } from '../../openflow/messages.ts';
import type { VlanMode } from '../config.ts';
import type { Group } from '../group.ts';
import type { MacLearning } from '../mac-learning.ts';
import type { OfTable } from '../oftable.ts';
import type { Rule } from '../rule.ts';

/** What translation reads of the switch, and what it gives. Translation changes nothing: side effects come back as a list. */

export interface XPort {
  readonly bridge: XBridge;
  readonly name: string;
  readonly ofpPort: OfpPort;
  /** Undefined: not in the datapath (patch ports). */
  readonly odpPort: OdpPort | undefined;
  /** `PC_*`. */
  readonly config: number;
  readonly bundle: XBundle | undefined;
  /** Fit to carry packets: the device is up, has its link, and its bond's LACP (if any) agrees. */
  readonly live: boolean;
  /** The other end of a patch. */
  readonly peer: XPort | undefined;
}

export interface XBundle {
  readonly name: string;
  readonly ports: readonly XPort[];
  readonly vlanMode: VlanMode;
  /** Access or native VLAN, 0 when there is none. */
  readonly vlan: number;
  /** Undefined: all VLANs. */
  readonly trunks: ReadonlySet<number> | undefined;
  /** Customer VLANs that a dot1q-tunnel takes; undefined: all. */
  readonly cvlans: ReadonlySet<number> | undefined;
  /** Ethertype of the tag that a dot1q-tunnel adds. */
  readonly qinqEthertype: number;
  readonly priorityTags: 'no' | 'if-nonzero' | 'always';
  readonly protected: boolean;
  /** False for what the flooding of NORMAL leaves out. */
  readonly floodable: boolean;
  /** Undefined: one member, or none. */
  readonly bond: XBond | undefined;
  /** Its ports speak LACP. */
  readonly lacp: boolean;
  /** Mirrors (bits by index in `XBridge.mirrors`) of what comes in here, of what leaves here, and those that end here. */
  readonly mirrorSrc: number;
  readonly mirrorDst: number;
  readonly mirrorOut: number;
}

/** What a bond says of a packet that came in: `drop_if_moved` when its source was learned elsewhere. */
export type BondVerdict = 'accept' | 'drop' | 'drop_if_moved';

export interface XBond {
  readonly name: string;
  check(port: XPort, dlDst: number): BondVerdict;
  /** Set when members are chosen by recirculation on the datapath's hash (balance-tcp), or by lb_output with the same id. */
  recirculation(): { recircId: number; basis: number; lbOutput: boolean } | undefined;
  /** The member that a packet leaves by; adds to `wc` what decided. `bucket`: the hash bucket, to be credited. */
  chooseMember(
    flow: Flow,
    wc: FlowWildcards | undefined,
    vlan: number,
  ): { port: XPort | undefined; bucket: number | undefined };
}

export interface XMirror {
  readonly name: string;
  /** Undefined: all VLANs. */
  readonly vlans: ReadonlySet<number> | undefined;
  /** Bits of the mirrors with the same destination, itself among them. */
  readonly dups: number;
  /** Exactly one of the two is there. */
  readonly out: XBundle | undefined;
  readonly outVlan: number | undefined;
  /** 0: whole packets. */
  readonly snaplen: number;
}

export interface XBridge {
  readonly name: string;
  readonly tables: readonly OfTable[];
  readonly frag: FragHandling;
  readonly forwardBpdu: boolean;
  readonly macs: MacLearning<XBundle>;
  /** By rising port number. */
  xports(): Iterable<XPort>;
  xport(port: OfpPort): XPort | undefined;
  xbundles(): Iterable<XBundle>;
  /** By index; empty when there is none. */
  readonly mirrors: readonly (XMirror | undefined)[];
  group(id: number): Group | undefined;
  readonly missRule: Rule;
  readonly noPacketInRule: Rule;
  readonly dropFragsRule: Rule;
  /** A controller of OpenFlow 1.2 or earlier gets table misses by default. */
  wantsPacketInOnMiss(): boolean;
}

/** What a packet of the flow does beside being forwarded. */
export type Effect =
  | { type: 'table'; table: OfTable; match: boolean }
  | { type: 'rule'; rule: Rule }
  | { type: 'learn'; bridge: XBridge; bundle: XBundle; mac: number; vlan: number; gratuitousArp: boolean }
  | { type: 'patch'; tx: XPort; rx: XPort }
  | { type: 'mirror'; bridge: XBridge; mirrors: number }
  /** Bytes sent by a bond's hash bucket. */
  | { type: 'bond'; bond: XBond; bucket: number }
  /** A LACPDU: for each packet by itself, never by a megaflow's counters. */
  | { type: 'lacp'; port: XPort; packet: Uint8Array }
  | { type: 'fin'; rule: Rule; idleTimeout: number; hardTimeout: number };

/** Translation errors, in Open vSwitch's words; the packet is dropped. */
export const XLATE_ERRORS = {
  recursion_too_deep: 'Recursion too deep',
  too_many_resubmits: 'Too many resubmits',
  stack_too_deep: 'Stack too deep',
  bridge_not_found: 'Bridge not found',
  no_recirculation_context: 'No recirculation context',
  unsupported_action: 'Unsupported action',
} as const;
export type XlateError = keyof typeof XLATE_ERRORS;

/** Why each packet has to be translated by itself. */
export type SlowReason = 'controller' | 'action' | 'match' | 'lacp';

export type TraceNodeType = 'bridge' | 'table' | 'thaw' | 'action' | 'detail' | 'warn' | 'error' | 'bucket';
export interface TraceNode {
  type: TraceNodeType;
  text: string;
  subs: TraceNode[];
}

/** How a trace writes matches and actions; undefined members when nobody listens. */
export interface TraceFormat {
  action(a: Ofpact): string;
  actions(list: readonly Ofpact[]): string;
  rule(rule: Rule): string;
}

export interface XlateIn {
  bridge: XBridge;
  /** Exact headers and metadata; `inPort` is an OfpPort of `bridge`. Not changed. */
  flow: Flow;
  /** Undefined when there is no packet to have side effects for (trace, revalidation). */
  packet?: Uint8Array | undefined;
  /** Run these instead of looking up table 0 (packet-out). */
  actions?: readonly Ofpact[] | undefined;
  inPacketOut?: boolean | undefined;
  /** Packet-ins are made but not sent. */
  dontSend?: boolean | undefined;
  trace?: { nodes: TraceNode[]; format: TraceFormat } | undefined;
  /** Number for the saved state of a packet-in's pipeline, the same for the same text. */
  recircId(state: string): number;
  /** Says what went wrong, when there is no trace. */
  warn?: ((text: string) => void) | undefined;
}

export interface XlateOut {
  actions: DpAction[];
  /** Every bit that was looked at. */
  wc: FlowWildcards;
  effects: Effect[];
  /** Headers and metadata after the last action. */
  flow: Flow;
  slow: ReadonlySet<SlowReason>;
  error: XlateError | undefined;
  /** Why nothing is forwarded, when `actions` is empty. */
  dropReason: string;
}
