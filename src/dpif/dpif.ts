import type { OdpPort } from '../base/types.ts';
import type { Flow, FlowWildcards } from '../flow/flow.ts';
import type { Netdev, NetdevStats } from '../netdev/netdev.ts';

/**
 * The datapath interface: what ofproto needs of the thing that forwards packets. Control thread only. In every Flow here `inPort` is an
 * OdpPort, and only members that a packet or its metadata can have are set (no registers, no OpenFlow metadata).
 */

/**
 * Headers that a `set` action rewrites. `key` and `mask` have the layout of the kernel's netlink attribute of that name
 * (linux/openvswitch.h), network byte order: `ethernet` src[6] dst[6]; `ipv4` src[4] dst[4] proto tos ttl frag; `ipv6` src[16] dst[16]
 * label[4] proto tclass hlimit frag; `tcp`, `udp`, `sctp` src[2] dst[2]; `arp` sip[4] tip[4] op[2] sha[6] tha[6]; `icmp`, `icmpv6`
 * type code; `nd` target[16] sll[6] tll[6]; `nd_ext` reserved[4] type of the first option; `mpls` lse[4]; `nsh` flags ttl mdtype np path_hdr[4] context[16]; `skb_priority`, `skb_mark` u32;
 * `tunnel`: see `DpTunnel`.
 */
export type DpSetAttr =
  | 'ethernet'
  | 'ipv4'
  | 'ipv6'
  | 'tcp'
  | 'udp'
  | 'sctp'
  | 'arp'
  | 'icmp'
  | 'icmpv6'
  | 'nd'
  | 'nd_ext'
  | 'mpls'
  | 'nsh'
  | 'skb_priority'
  | 'skb_mark';

/** One Geneve option (RFC 8926 section 3.5); `data` is a multiple of 4 bytes, 124 at most. */
export interface GeneveOption {
  optClass: number;
  type: number;
  data: Uint8Array;
}

/** FLOW_TNL_F_* of `DpTunnel.flags` and the flow's `tun_flags`. */
export const TUNNEL_F_OAM = 1;
export const TUNNEL_F_DONT_FRAGMENT = 2;
export const TUNNEL_F_CSUM = 4;
export const TUNNEL_F_KEY = 8;
/** Of a datapath's key alone: `tun_metadata` holds Geneve options as they were in the packet, `tun_metadata_present` their size in bytes. */
export const TUNNEL_F_RAW = 16;

/** Tunnel metadata of a packet that is about to be encapsulated. `src` and `dst`: 4 bytes for IPv4, 16 for IPv6. */
export interface DpTunnel {
  tunId: bigint;
  src: Uint8Array;
  dst: Uint8Array;
  tos: number;
  ttl: number;
  tpSrc: number;
  tpDst: number;
  /** TUNNEL_F_* */
  flags: number;
  /** VXLAN group based policy. */
  gbp?: { id: number; flags: number };
  erspan?: { ver: 1; idx: number } | { ver: 2; dir: number; hwid: number };
  gtpu?: { flags: number; msgType: number };
  geneve?: readonly GeneveOption[];
}

/** Rate limit of a meter; one band drops what is above it. */
export interface DpMeterBand {
  /** In kbit/s or packets/s, by the meter's `kbps`. */
  rate: number;
  /** In kbit or packets; 0: the rate. */
  burst: number;
}

export interface DpMeterConfig {
  kbps: boolean;
  burst: boolean;
  bands: readonly DpMeterBand[];
}

export interface DpMeterStats {
  packets: bigint;
  bytes: bigint;
  bands: { packets: bigint; bytes: bigint }[];
}

/** Address and port translation of `ct`. No `type`: as the connection was set up. */
export interface DpNat {
  type?: 'src' | 'dst';
  /** 4 or 16 bytes. */
  ipMin?: Uint8Array;
  ipMax?: Uint8Array;
  portMin?: number;
  portMax?: number;
  persistent?: boolean;
  ports?: 'hash' | 'random';
}

export interface DpConntrack {
  commit: boolean;
  force: boolean;
  zone: number;
  mark?: { value: number; mask: number };
  /** 16 bytes each. */
  labels?: { value: Uint8Array; mask: Uint8Array };
  helper?: string;
  nat?: DpNat;
  eventmask?: number;
  timeout?: string;
}

/** Why a packet goes to user space by an action, not by a miss; comes back in `Upcall.userdata`. */
export type DpUserdata =
  | {
      kind: 'controller';
      reason: number;
      controllerId: number;
      maxLen: number;
      tableId: number;
      cookie: bigint;
      /** Metadata that the packet-in shows: a Flow holding registers, OpenFlow metadata and in_port (OfpPort). */
      metadata: Flow;
      userdata?: Uint8Array;
      dontSend?: boolean;
      meterId?: number;
      /** The bridge whose controllers get it; absent: that of the input port. */
      bridge?: string;
      /** Names the saved state in text only; 0 or absent: none. */
      recircId?: number;
      /** The pipeline is paused here: text only. */
      continuation?: boolean;
    }
  /** The flow can't be handled by datapath actions alone: translate every packet. */
  | { kind: 'slow_path'; reason: 'cfm' | 'bfd' | 'lacp' | 'stp' | 'lldp' | 'controller' | 'action' | 'match' }
  | { kind: 'sflow'; vlanTci: number; output: number }
  | {
      kind: 'flow_sample';
      probability: number;
      collectorSetId: number;
      obsDomainId: number;
      obsPointId: number;
      /** OdpPort, 0xffffffff: none. */
      outputOdpPort: number;
      direction?: 'ingress' | 'egress';
    }
  | { kind: 'ipfix'; outputOdpPort: number };

/** One datapath action. A list is run in order; an empty list drops. */
export type DpAction =
  | { type: 'output'; port: OdpPort }
  | {
      type: 'userspace';
      userdata: DpUserdata;
      /** Text only: the upcall names the actions, or the tunnel port that a sample goes out by. */
      withActions?: boolean;
      tunnelOutPort?: OdpPort;
    }
  | { type: 'set'; attr: DpSetAttr; key: Uint8Array; mask: Uint8Array }
  | { type: 'set_tunnel'; tunnel: DpTunnel }
  | { type: 'push_vlan'; tpid: number; tci: number }
  | { type: 'pop_vlan' }
  | { type: 'push_mpls'; ethertype: number; lse: number }
  | { type: 'pop_mpls'; ethertype: number }
  /** Before the Ethernet header (`l2: true`), or where a frame without one starts. */
  | { type: 'add_mpls'; ethertype: number; lse: number; l2: boolean }
  | { type: 'push_eth'; src: Uint8Array; dst: Uint8Array }
  | { type: 'pop_eth' }
  /** `nsh`: the whole header (RFC 8300), a multiple of 4 bytes; its next protocol is set from the packet. */
  | { type: 'push_nsh'; nsh: Uint8Array }
  | { type: 'pop_nsh' }
  | ({ type: 'ct' } & DpConntrack)
  | { type: 'ct_clear' }
  | { type: 'lb_output'; bondId: number }
  /** `header`: Ethernet to the tunnel header, as it goes before the packet. */
  | { type: 'tunnel_push'; tunnelPort: OdpPort; outPort: OdpPort; tunnelType: string; header: Uint8Array }
  | { type: 'tunnel_pop'; port: OdpPort }
  | { type: 'recirc'; recircId: number }
  | { type: 'hash'; algorithm: 'l4' | 'sym_l4'; basis: number }
  | { type: 'trunc'; maxLen: number }
  | { type: 'meter'; meterId: number }
  | { type: 'clone'; actions: DpAction[] }
  | { type: 'sample'; probability: number; actions: DpAction[] }
  | { type: 'check_pkt_len'; pktLen: number; ifGreater: DpAction[]; ifLessEqual: DpAction[] }
  | { type: 'drop'; reason: string };

/** Counters of a datapath flow, summed over all threads. `usedMs` is on the monotonic clock, 0 when never used. */
export interface DpFlowStats {
  packets: bigint;
  bytes: bigint;
  usedMs: number;
  tcpFlags: number;
}

/** A megaflow in the datapath. The object lives until `flowDel`; its `actions` change by `flowMod` only. */
export interface DpFlow {
  /** Unique identifier, 32 hexadecimal digits. */
  readonly ufid: string;
  /** Masked key. */
  readonly key: Flow;
  readonly mask: FlowWildcards;
  /** Key that it was put in with, where the datapath keeps it; text shows what is wildcarded from it. */
  readonly exact?: Flow;
  readonly actions: readonly DpAction[];
  readonly dead: boolean;
  /** Core of the thread that has it, -1: the main thread. Absent where all threads share their flows. */
  readonly pmd?: number;
}

/** A packet that the datapath has no answer for, or that an action sends up. `packet` is valid during the call only. */
export interface Upcall {
  type: 'miss' | 'action';
  /** Exact headers of the packet, as `extract` saw them. */
  key: Flow;
  packet: Uint8Array;
  /** Of the `userspace` action. */
  userdata?: DpUserdata;
  /** Datapath thread that the packet waits in (-1 = main thread). */
  pmd: number;
}

/** What to do with the packet of an upcall; the handler has already called `flowPut` when the flow is to be cached. */
export type UpcallHandler = (upcall: Upcall) => readonly DpAction[];

/** One thread of the datapath, for `dpif-netdev/pmd-*`. */
export interface DpThread {
  /** Core, or -1 for the main thread. */
  core: number;
  numa: number;
  /** Some of its queues are pinned to it, so that no others are put on it. */
  isolated?: boolean;
  rxqs: { port: string; queue: number; enabled: boolean; usagePercent: number }[];
  stats: {
    packetsReceived: bigint;
    recirculations: bigint;
    simpleHits: bigint;
    emcHits: bigint;
    smcHits: bigint;
    megaflowHits: bigint;
    megaflowLookups: bigint;
    missUpcalls: bigint;
    lostUpcalls: bigint;
    rxBatches: bigint;
    busyNs: bigint;
    idleNs: bigint;
  };
  /** Absent where a thread's iterations are not counted. */
  perf?: DpPerf;
}

/** What `dpif-netdev/pmd-perf-show` has beside a thread's `stats`, from the same moment on. */
export interface DpPerf {
  /** Since the counters began or were cleared. */
  seconds: number;
  iterations: bigint;
  /** Those with packets. */
  busyIterations: bigint;
  sleeps: bigint;
  sleepNs: bigint;
  txPackets: bigint;
  /** Batches that went out, one a port. */
  txBatches: bigint;
}

/** Settings of the whole datapath, from Open_vSwitch.other_config. */
export interface DpConfig {
  /** Cores of PMD threads; empty: one on the first core that is allowed. */
  pmdCpus: readonly number[];
  /** EMC insertion probability is 1 in this; 0: EMC off. */
  emcInsertInvProb: number;
  smcEnable: boolean;
  /** Port name → queue → core (Interface.other_config:pmd-rxq-affinity). */
  rxqAffinity: ReadonlyMap<string, ReadonlyMap<number, number>>;
  /** Open_vSwitch.other_config as it is, for what only one kind of datapath knows. */
  otherConfig?: ReadonlyMap<string, string>;
  /** Interface.other_config by the name of the port. */
  portConfig?: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

export interface DpPort {
  readonly odpPort: OdpPort;
  readonly name: string;
  readonly type: string;
  readonly netdev: Netdev;
}

export interface Dpif {
  /** e.g. `ovs-netdev`. */
  readonly name: string;
  /** e.g. `netdev`. */
  readonly type: string;
  /** Takes a port in; picks the lowest free number above 0 unless one is asked for. Throws `NetdevError` when it can't. */
  portAdd(netdev: Netdev, wanted?: OdpPort): Promise<OdpPort>;
  /** Resolves when no thread touches the device any more; does not close it. */
  portDel(port: OdpPort): Promise<void>;
  ports(): Iterable<DpPort>;
  /** Called when a port has left the datapath, whoever took it out; absent: ports leave by `portDel` of their owner alone. */
  onPortGone?: (port: OdpPort) => void;
  /** Called when a port has another number now; absent: ports keep theirs. */
  onPortMoved?: (from: OdpPort, to: OdpPort) => void;
  /** Gives a port another number that is free; for tests. */
  portMove?(from: OdpPort, to: OdpPort): void;
  /** Counters as the datapath counts them: what entered the switch from the port, and left by it. */
  portStats(port: OdpPort): NetdevStats;
  setUpcallHandler(handler: UpcallHandler): void;
  /** Installs a megaflow. `key` is masked by the callee. Replaces the actions when the same key and mask are there.
   *  Undefined when the flow table is full. Where each thread has its own flows: on thread `pmd`, by default the one whose upcall is being answered. */
  flowPut(key: Flow, mask: FlowWildcards, actions: readonly DpAction[], pmd?: number): DpFlow | undefined;
  /** Without room for them, the flow is taken out instead (`dead`). */
  flowMod(flow: DpFlow, actions: readonly DpAction[]): void;
  /**
   * Takes the flow out and returns its counters. A thread may be in the middle of a batch with it: what that adds is told by `onLate`, with the final
   * counters, once every thread has passed a quiescent point; it is not called when nothing was added.
   */
  flowDel(flow: DpFlow, onLate?: (final: DpFlowStats) => void): DpFlowStats;
  flowStats(flow: DpFlow): DpFlowStats;
  flows(): Iterable<DpFlow>;
  /** Tells all flows at level DBG, as Open vSwitch does when it dumps them. */
  logFlows?(): void;
  flowCount(): number;
  /** Runs actions on a packet (packet-out, buffered packet). `inPort` 0xffffffff when it has none. Copies the packet. */
  execute(packet: Uint8Array, key: Flow, actions: readonly DpAction[]): void;
  /** Makes or changes meter `id`, from 0 on. Changing it starts its buckets full and its counters anew. False: no such number, or too many bands. */
  meterSet(id: number, config: DpMeterConfig): boolean;
  /** Undefined when there is none. */
  meterGet(id: number): DpMeterStats | undefined;
  /** Counters of the last moment; undefined when there is none. */
  meterDel(id: number): DpMeterStats | undefined;
  meterFeatures(): { maxMeters: number; maxBands: number };
  /** Makes or changes what `lb_output` of bond `id` does: `members` holds 256 ports, one for each value of the low 8 bits of the packet's hash. Absent: there is no such action. */
  bondSet?(id: number, members: readonly (OdpPort | undefined)[]): void;
  bondDel?(id: number): void;
  /** Bytes sent by each of the 256 buckets since the bond was made; undefined when there is none. */
  bondStats?(id: number): readonly bigint[] | undefined;
  /** Members of all bonds by the bond's id. */
  bonds?(): ReadonlyMap<number, readonly (OdpPort | undefined)[]>;
  /** Assigns the rx queues to the threads anew. */
  rebalance?(): void;
  configure(config: DpConfig): Promise<void>;
  threads(): DpThread[];
  clearThreadStats(): void;
  /** Lookups over all threads: `hit` any cache, `missed` upcalls, `lost` misses that found no room. */
  stats(): { hit: bigint; missed: bigint; lost: bigint; flows: number; maskHit: bigint; masks: number };
  /** What the datapath can do, as `dpif/show-dp-features` names it. */
  features(): ReadonlyMap<string, boolean | number>;
  /** Packets that ended in the datapath, by the name of the reason; absent where that is not counted. */
  drops?(): ReadonlyMap<string, bigint>;
  close(): Promise<void>;
}
