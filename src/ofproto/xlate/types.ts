import type { OdpPort, OfpPort } from '../../base/types.ts';
import type { DpAction } from '../../dpif/dpif.ts';
import type { Flow, FlowWildcards } from '../../flow/flow.ts';
import type { TunLayout } from '../../flow/tun-layout.ts';
import type { TunnelConfig } from '../../netdev/tunnel-config.ts';
import type { Ofpact, OfpactOf } from '../../openflow/actions.ts';
import type { FlowMod, FragHandling } from '../../openflow/messages.ts';
import type { TunnelRoute, VlanMode } from '../config.ts';
import type { Bucket, Group } from '../group.ts';
import type { InternalRules } from '../internal-rules.ts';
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
  /** Whether its packets have Ethernet headers: always (absent too), never, or as each says. */
  readonly ptMode?: 'legacy_l2' | 'legacy_l3' | 'ptap';
  /** Configuration of a tunnel; absent on what is none. */
  readonly tunnel?: TunnelConfig | undefined;
  /** Hardware address. */
  mac(): Uint8Array;
  /** Datapath meters that what comes in has to pass. */
  readonly policingMeters?: readonly number[] | undefined;
  /** DSCP (in the place of the TOS byte) that packets get by their queue's priority. */
  readonly queueDscp?: ReadonlyMap<number, number>;
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

/** The datapath chooses the member: by recirculation on the packet's hash, or by lb_output under the same number. */
export interface BondRecirc {
  readonly recircId: number;
  readonly basis: number;
  readonly lbOutput: boolean;
}

export interface XBond {
  readonly name: string;
  check(port: XPort, dlDst: number): BondVerdict;
  /** Undefined: `chooseMember` says it all. */
  recirculation(): BondRecirc | undefined;
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

/** What the datapath can do, as far as translation depends on it. */
export interface DpSupport {
  readonly clone: boolean;
  readonly sampleNesting: number;
  readonly trunc: boolean;
  readonly ctClear: boolean;
  readonly ctEventmask: boolean;
  readonly ctTimeout: boolean;
  readonly checkPktLen: boolean;
  readonly addMpls: boolean;
  readonly maxHashAlg: number;
  readonly explicitDrop: boolean;
  readonly maskedSet: boolean;
  /** It puts headers of tunnels on and takes them off as it is told. */
  readonly tnlPushPop: boolean;
}

/** Tunnels of the datapath, and the underlay that they are sent by. Addresses are 16 bytes, IPv4 mapped. */
export interface XTunnels {
  /** The port's tunnel is in force. */
  has(port: XPort): boolean;
  route(to: Uint8Array, source: Uint8Array | undefined, mark: number): TunnelRoute | undefined;
  sourceFor(to: Uint8Array, device: string): Uint8Array | undefined;
  /** The port of a device, in any bridge. */
  portNamed(device: string): XPort | undefined;
  neighbour(bridge: string, ip: Uint8Array): Uint8Array | undefined;
  setNeighbour(bridge: string, ip: Uint8Array, mac: Uint8Array): void;
  /** Addresses of the port's device. */
  addresses(port: XPort): readonly Uint8Array[];
  /** The datapath's port of the tunnel that a packet of the underlay belongs to; adds to `wc` what decided. */
  endOf(flow: Flow, wc: FlowWildcards): OdpPort | undefined;
}

/** Names of states that translations stopped in; see recirc.ts. */
export interface RecircStates {
  /** The number of a state, with a reference for the caller. */
  alloc(state: FrozenState): number;
  find(id: number): FrozenState | undefined;
  /** Adds a reference; false when nobody holds one any more. */
  ref(id: number): boolean;
  unref(id: number): void;
  unrefAll(ids: readonly number[]): void;
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
  /** The datapath's number of a meter; undefined when there is no such meter. */
  meterProviderId(meterId: number): number | undefined;
  /** Datapath meters of packets to the controllers, and of those in the slow path. */
  readonly controllerMeter: number | undefined;
  readonly slowpathMeter: number | undefined;
  /** Packets of `sample` actions are exported. */
  readonly ipfix: boolean;
  /** Some controller is connected. */
  readonly alive: boolean;
  /** It is no more, but something that was saved still names it. */
  readonly destroyed: boolean;
  readonly support: DpSupport;
  /** Where the options of tunnels are in a flow. */
  readonly tunTable: TunLayout | undefined;
  readonly recircs: RecircStates;
  readonly tunnels: XTunnels;
  readonly internalRules: InternalRules;
  /** A controller of OpenFlow 1.2 or earlier gets table misses by default. */
  wantsPacketInOnMiss(): boolean;
  /** Adds the flow of a `learn` action. */
  learnFlow(flowMod: FlowMod, limit: number): void;
}

/** What a packet of the flow does beside being forwarded. */
export type Effect =
  | { type: 'table'; table: OfTable; match: boolean }
  | { type: 'rule'; rule: Rule }
  | { type: 'learn'; bridge: XBridge; bundle: XBundle; mac: number; vlan: number; gratuitousArp: boolean }
  /** Counts of ports that the datapath knows nothing of: ends of a patch, tunnels. */
  | { type: 'vport'; tx?: XPort; rx?: XPort }
  /** What the packet does in the underlay, with a tunnel's header in front. */
  | { type: 'encapsulated'; headerSize: number; effects: Effect[] }
  /** A neighbour of a bridge is there. */
  | { type: 'neighbour'; tunnels: XTunnels; bridge: string; ip: Uint8Array; mac: Uint8Array }
  /** A neighbour is sent to, and should not be forgotten. */
  | { type: 'neighbour_used'; tunnels: XTunnels; bridge: string; ip: Uint8Array }
  /** A packet of the switch's own, as if the host had sent it by `port`. */
  | { type: 'send'; port: XPort; packet: Uint8Array }
  | { type: 'mirror'; bridge: XBridge; mirrors: number }
  /** Bytes sent by a bond's hash bucket. */
  | { type: 'bond'; bond: XBond; bucket: number }
  /** A LACPDU: for each packet by itself, never by a megaflow's counters. */
  | { type: 'lacp'; port: XPort; packet: Uint8Array }
  | { type: 'group'; group: Group; bucket: Bucket | undefined }
  /** A `learn` action: `flowMod` is a modify_strict. `limit` 0: none. */
  | { type: 'learn_flow'; bridge: XBridge; flowMod: FlowMod; limit: number }
  | { type: 'fin'; rule: Rule; idleTimeout: number; hardTimeout: number };

/** Translation errors, in Open vSwitch's words; the packet is dropped. */
export const XLATE_ERRORS = {
  recursion_too_deep: 'Recursion too deep',
  too_many_resubmits: 'Too many resubmits',
  stack_too_deep: 'Stack too deep',
  bridge_not_found: 'Bridge not found',
  no_recirculation_context: 'No recirculation context',
  recirculation_conflict: 'Recirculation conflict',
  too_many_mpls_labels: 'Too many MPLS labels',
  invalid_tunnel_metadata: 'Invalid tunnel metadata',
  unsupported_packet_type: 'Unsupported packet type',
  congestion_drop: 'Congestion Drop',
  forwarding_disabled: 'Forwarding is disabled',
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

/** Goes on with the table and cookie of a rule that a translation stopped in. Only in the actions of a FrozenState. */
export interface UnrollXlate {
  type: 'unroll_xlate';
  tableId: number;
  cookie: bigint;
}
export type XlateOfpact = Ofpact | UnrollXlate;

/** What goes on where a translation stopped. */
export interface FrozenState {
  /** Where lookup starts when there are no actions. */
  readonly tableId: number;
  readonly bridge: XBridge;
  /** Tunnel, OpenFlow metadata, registers and input port; the rest is zero. */
  readonly metadata: Flow;
  readonly stack: readonly Uint8Array[];
  /** Mirrors that have had the packet. */
  readonly mirrors: number;
  /** The packet went through connection tracking in this bridge. */
  readonly conntracked: boolean;
  readonly wasMpls: boolean;
  /** Port that the packet came into the switch by. */
  readonly xport: XPort | undefined;
  readonly actions: readonly XlateOfpact[];
  readonly actionSet: readonly Ofpact[];
  readonly userdata: Uint8Array | undefined;
}

/** A branch of the packet's way that goes on after recirculation; a trace follows it. */
export interface RecircNode {
  kind: 'conntrack';
  flow: Flow;
  nat: OfpactOf<'nat'> | undefined;
  packet: Uint8Array | undefined;
  recircId: number;
}

/** How a trace writes matches and actions; undefined members when nobody listens. */
export interface TraceFormat {
  action(a: XlateOfpact, bridge: XBridge): string;
  /** Ports by number. */
  actions(list: readonly XlateOfpact[]): string;
  rule(rule: Rule, bridge: XBridge): string;
  learned(fm: FlowMod): string;
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
  /** What is learned is in its table for the actions that follow, as well as among the effects. */
  learnNow?: boolean | undefined;
  /** Packet-ins are made but not sent. */
  dontSend?: boolean | undefined;
  trace?: { nodes: TraceNode[]; format: TraceFormat } | undefined;
  /** Go on from here, whatever `flow.recircId` says (a controller resumes a packet). */
  frozen?: FrozenState | undefined;
  /** Takes the branches that go on after recirculation, when a trace is to follow them. */
  recircQueue?: RecircNode[] | undefined;
  /** Says what went wrong, when there is no trace. */
  warn?: ((text: string) => void) | undefined;
  info?: ((text: string) => void) | undefined;
  /** Says what was wrong with a packet from a tunnel. */
  warnTunnel?: ((text: string) => void) | undefined;
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
  /** Recirculation numbers that were made; the caller holds a reference to each, and has to give it back or on. */
  recircs: readonly number[];
  /** The result holds for this packet only. */
  avoidCaching: boolean;
  /** Why nothing is forwarded, when `actions` is empty. */
  dropReason: string;
}
