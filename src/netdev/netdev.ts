import type { TunnelConfig } from './tunnel-config.ts';

/**
 * The network device interface: what a bridge's port is made of. One provider a kind (`dpdkvhostuser`, `tap`, `internal`,
 * `patch`, `dummy`, …); the userspace datapath polls a device according to its `io`.
 */

/** Counters of one port, in packets and bytes since it was made; `undefined` where a kind does not count. */
export interface NetdevStats {
  rxPackets: bigint;
  txPackets: bigint;
  rxBytes: bigint;
  txBytes: bigint;
  rxErrors: bigint;
  txErrors: bigint;
  rxDropped: bigint;
  txDropped: bigint;
  /** Named drop counters and provider counters, e.g. `ovs_tx_failure_drops`, `rx_1024_to_1522_packets`. */
  custom: ReadonlyMap<string, bigint>;
}

/** A stretch of a guest's physical memory, mapped at `offset` of the guest's WebAssembly memory. */
export interface GuestRegion {
  gpa: bigint;
  userAddr: bigint;
  size: bigint;
  /** Byte offset in `GuestMemory.memory`. */
  offset: number;
}

/** A guest's memory, mapped into a WebAssembly memory of its own. Made and unmapped by the control thread. */
export interface GuestMemory {
  /** Shared, 4 GiB; everything outside `regions` is PROT_NONE. */
  memory: WebAssembly.Memory;
  regions: readonly GuestRegion[];
}

/** A split ring that is ready to be processed. Offsets are bytes in the guest's memory, checked to lie in one region. */
export interface VringConfig {
  /** vhost ring index: even = guest receives, odd = guest transmits (the switch polls it). */
  index: number;
  size: number;
  desc: number;
  avail: number;
  used: number;
  /** Position to go on from; both indices are free-running 16-bit counters. */
  lastAvail: number;
  lastUsed: number;
  /** eventfd the guest kicks, or -1. Owned by the device. */
  kickFd: number;
  /** eventfd that interrupts the guest, or -1. Owned by the device. */
  callFd: number;
  /** Negotiated virtio features. */
  features: bigint;
  /** Bytes of virtio_net_hdr: 10, or 12 with MRG_RXBUF or VERSION_1. */
  hdrSize: number;
}

/** What the datapath does for a vhost-user device. Control thread; the device awaits each promise before it replies or unmaps. */
export interface VringConsumer {
  /** Resolves when the PMDs use the ring. An enabled, started ring only. */
  ringStart(ring: VringConfig, guest: GuestMemory): Promise<void>;
  /** Resolves when no PMD touches the ring or the memory any more, with the position reached. */
  ringStop(index: number): Promise<{ lastAvail: number; lastUsed: number }>;
  /** The guest has moved here and cannot announce it itself: send a RARP of this MAC as if it came from the port. */
  announce?(mac: Uint8Array): void;
}

/** What the ring of an AF_XDP socket has beside its descriptors (src/fastpath/xsk.ts). Offsets in the memory. */
export interface XskRing {
  producer: number;
  consumer: number;
  /** The switch's, from which it goes on. */
  position: number;
  /** The fill or completion ring, and the switch's position in it. */
  back: { desc: number; producer: number; consumer: number; position: number };
  /** The word that says whether the kernel wants a call; honoured if `needWakeup`. */
  wakeup: number;
  needWakeup: boolean;
  /** Of the ring's chunks, and what the kernel calls the first. */
  umem: number;
  umemBase: number;
  /** tx: of the stack of free chunks, which has all of them. */
  free: number;
  /** rx: frames may have checksums that a kernel left undone. */
  partial: boolean;
}

/**
 * A ring of slots (src/fastpath/tpacket.ts) that a packet socket shares with the kernel; or that the datapath's threads fill from a tap and empty into it,
 * or into a capture file; or that is nothing but memory; or a ring of descriptors of an AF_XDP socket.
 */
export interface SocketRing {
  kind: 'packet' | 'tap' | 'pcap' | 'memory' | 'xsk';
  /** Of memory: what was received stays for the next round; what is sent is gone; what is sent is received by the ring of the same slots. */
  behaviour?: 'endless' | 'sink' | 'loop';
  /** rx: the switch receives by it. */
  direction: 'rx' | 'tx';
  /** Of the first slot, or descriptor, in the memory. */
  offset: number;
  /** Bytes of a slot or chunk. */
  frameSize: number;
  nFrames: number;
  /** Of an AF_XDP socket's. */
  xsk?: XskRing;
  /** The socket, tap or file; of memory an eventfd that is told of frames, or -1. Owned by the device. */
  fd: number;
}

/** The rings of a device; a tap or capture file has a transmit ring for each datapath thread (THREADS_MAX), by its index. `memory` is one for all devices: nobody but the kernel writes into it. */
export interface SocketRings {
  memory: WebAssembly.Memory;
  rings: readonly SocketRing[];
}

/** What the datapath does for a device with rings. Control thread. */
export interface SocketConsumer {
  /** Resolves when the PMDs use the rings. */
  ringsStart(rings: SocketRings): Promise<void>;
  /** Resolves when no thread touches them any more. */
  ringsStop(): Promise<void>;
}

/** How the datapath exchanges packets with a device. */
export type NetdevIo =
  /** vhost-user: PMDs poll the rings that the device announces. */
  | { kind: 'vhost'; attach(consumer: VringConsumer): void }
  /** A packet socket or a tap: PMDs poll its rings. */
  | { kind: 'rings'; attach(consumer: SocketConsumer): Promise<void> }
  /** Whole frames to and from the control or I/O thread (tap, dummy, internal). */
  | {
      kind: 'soft';
      /** `frame` is only valid during the call. Non-blocking; false when the frame was dropped (counted by the caller). `queue`: of the tx queues. */
      send(frame: Uint8Array, queue?: number): boolean;
      /** The device hands every received frame to `rx`, valid during the call, with the number of its rx queue (default 0). */
      attach(rx: (frame: Uint8Array, queue?: number) => void): void;
    }
  /** A tunnel: translation names the datapath port that its packets go by (see `Netdev.tunnel`). */
  | { kind: 'tunnel' }
  /** Never seen by the datapath (patch). */
  | { kind: 'none' };

/** An output queue of a device (QoS). Counters that are unknown are UINT64_MAX. */
export interface NetdevQueue {
  id: number;
  txBytes: bigint;
  txPackets: bigint;
  txErrors: bigint;
  /** On the monotonic clock; undefined: unknown. */
  createdMs?: number;
}

export interface Netdev {
  readonly name: string;
  /** As in Interface.type: `dpdkvhostuser`, `internal`, `patch`, … */
  readonly type: string;
  readonly io: NetdevIo;
  mac(): Uint8Array;
  setMac(mac: Uint8Array): void;
  mtu(): number;
  /** An error's text when the MTU is refused. */
  setMtu(mtu: number): string | undefined;
  linkUp(): boolean;
  /** How often the link came or went by itself; absent for a device whose link is what its administrator says. */
  carrierResets?(): number;
  /** Bumped at every change of link, MAC, MTU or status. */
  changeSeq(): number;
  /** Called after changeSeq moved. */
  onChange(cb: () => void): void;
  adminUp(): boolean;
  setAdminUp(up: boolean): void;
  /** Interface.status; OVS's keys. */
  status(): ReadonlyMap<string, string>;
  /** Counters that the device itself keeps (socket-level ones; the datapath adds its own for `vhost` and `soft`). */
  stats(): Partial<NetdevStats>;
  /** Takes Interface.options; returns an error's text for Interface.error when they are refused. */
  setOptions(options: ReadonlyMap<string, string>): string | undefined;
  /** How many rx/tx queues the device has or wants, for `n_rxq`, `n_txq`. */
  queues(): { rx: number; tx: number };
  /** Set on devices that PMD threads poll although they are `soft`. */
  readonly isPmd?: boolean;
  /** NUMA node that the device is on; absent: 0. */
  numaId?(): number;
  /** Settings in force, as `dpif/show` tells them behind the type; absent: none. */
  config?(): ReadonlyMap<string, string>;
  /** What it stood for is no longer there: it is to be closed, and opened anew by its name. */
  isGone?(): boolean;
  /** IP addresses with their prefix lengths; absent: unknown. */
  addresses?(): { address: Uint8Array; prefix: number }[];
  /** Configuration of a tunnel; absent on what is none. */
  readonly tunnel?: TunnelConfig;
  /** Makes the device that the datapath has for this tunnel and all others of its type and UDP port. */
  tunnelBacker?(): Netdev;
  /** It counts packets and bytes, and knows of no errors and drops. */
  readonly countsPacketsOnly?: boolean;
  /** Output queues; absent: the device has no such thing. */
  qosQueues?(): readonly NetdevQueue[];
  /** Closes it, but leaves what the host has of it, for a successor to take over; absent: there is nothing that could stay. */
  detach?(): Promise<void>;
  close(): Promise<void>;
}

/** What devices take from the switch as a whole (Open_vSwitch.other_config). */
export interface NetdevConfig {
  /** Folder of the sockets of `dpdkvhostuser` ports: OVS_RUNDIR, or `vhost-sock-dir` below it. Absolute. */
  sockDir: string;
}

/** A kind of device. `open` may throw `NetdevError`, whose message goes into Interface.error. */
export interface NetdevProvider {
  readonly type: string;
  open(name: string, options: ReadonlyMap<string, string>, config: NetdevConfig): Promise<Netdev> | Netdev;
}

/** A device that can't be made or configured; the message is for Interface.error, in Open vSwitch's words. */
export class NetdevError extends Error {
  override name = 'NetdevError';
  /** strerror(3) of what the log says of it. */
  readonly reason: string;

  constructor(message: string, reason = 'Invalid argument') {
    super(message);
    this.reason = reason;
  }
}
