import { hash2Words } from '../base/hash.ts';
import type { OdpPort } from '../base/types.ts';
import type { Flow } from '../flow/flow.ts';
import { hash5Tuple, hashSymmetricL3L4 } from '../flow/flow-hash.ts';
import type { TunnelConfig } from '../netdev/tunnel-config.ts';
import type { DpAction, DpConntrack, DpTunnel, DpUserdata } from './dpif.ts';
import { dropActionCounter } from './drop-names.ts';
import { isMplsType } from './odp-keys.ts';
import { be16, put16, setHeader } from './odp-set.ts';
import { findHeaders } from './packet-headers.ts';
import { extractKey, PT_ETH, PT_NSH, portMetadata, tunnelToMetadata } from './packet-key.ts';
import { popTunnel } from './tunnel-pop.ts';
import { fitsTunnel, pushTunnel, type TunnelState } from './tunnel-push.ts';

/**
 * Runs datapath actions on a packet, one byte array at a time: the reference for the fast path's executor, what the dummy datapath forwards with,
 * and the way of the actions that the fast path has not got.
 */

export interface TunnelPort {
  readonly config: Pick<TunnelConfig, 'type' | 'gbp'>;
  readonly state: TunnelState;
}

/** Where packets go. `packet` belongs to the callee; `md` is what goes with it beside its bytes (a Flow without headers), also the callee's. */
export interface ExecuteSink {
  output(port: OdpPort, packet: Uint8Array, md: Flow): void;
  userspace(userdata: DpUserdata, packet: Uint8Array, md: Flow): void;
  /** `md` has the new recirc_id and dp_hash. */
  recirc(recircId: number, packet: Uint8Array, dpHash: number, md: Flow): void;
  /** False: the packet is dropped. Absent: no meters. */
  meter?(id: number, size: number): boolean;
  /** Packets that end here, by name (Open vSwitch's coverage counters). */
  drop?(reason: string): void;
  /** By the hash of the packet, not of a `hash` action. */
  lbOutput?(bondId: number, packet: Uint8Array, hash: number, md: Flow): void;
  /** Fills the ct_* members of `md` in. Absent: connections are not tracked, every packet is invalid. */
  conntrack?(ct: DpConntrack, packet: Uint8Array, md: Flow): void;
  /** A tunnel's port in the datapath; undefined when that is none. Absent: there are no tunnels. */
  tunnelPort?(port: OdpPort): TunnelPort | undefined;
  /** Hash of the packet as it came in, when it has one (`hash` starts from it). */
  rssHash?: number;
}

/** A packet that ends before `at` (a controller may send any bytes) gets the insertion at its end. */
function splice(p: Uint8Array, offset: number, remove: number, insert: Uint8Array): Uint8Array {
  const at = Math.min(offset, p.length - remove);
  const out = new Uint8Array(p.length - remove + insert.length);
  out.set(p.subarray(0, at));
  out.set(insert, at);
  out.set(p.subarray(at + remove), at + insert.length);
  return out;
}

function pushVlan(p: Uint8Array, tpid: number, tci: number): Uint8Array {
  return splice(p, 12, 0, Uint8Array.of(tpid >> 8, tpid, (tci >> 8) & ~0x10, tci));
}

function popVlan(p: Uint8Array): Uint8Array {
  const { ethType } = findHeaders(p);
  return (ethType === 0x8100 || ethType === 0x88a8) && p.length >= 18 ? splice(p, 12, 4, new Uint8Array(0)) : p;
}

/** Before the label stack; an Ethertype that is no label's changes nothing. */
function pushMpls(p: Uint8Array, ethertype: number, lse: number): Uint8Array {
  if (!isMplsType(ethertype)) return p;
  const at = l2End(p);
  const out = splice(p, at, 0, Uint8Array.of(lse >>> 24, lse >>> 16, lse >>> 8, lse));
  put16(out, at - 2, ethertype);
  return out;
}

function popMpls(p: Uint8Array, ethertype: number): Uint8Array {
  const at = l2End(p);
  if (at + 4 > p.length || !isMplsType(be16(p, at - 2))) return p;
  const out = splice(p, at, 4, new Uint8Array(0));
  put16(out, at - 2, ethertype);
  return out;
}

/** Offset of what follows the last Ethertype. */
function l2End(p: Uint8Array): number {
  let at = 12;
  while (at + 4 <= p.length && (be16(p, at) === 0x8100 || be16(p, at) === 0x88a8)) at += 4;
  return at + 2;
}

/** RFC 8300 section 2.2: what follows an NSH, by the type of the packet. */
const NSH_NEXT: Readonly<Record<number, number>> = { [PT_ETH]: 3, 67584: 1, 100061: 2, [PT_NSH]: 4 };
const NSH_TYPES: Readonly<Record<number, number>> = { 1: 0x10800, 2: 0x186dd, 3: PT_ETH, 4: PT_NSH };

const ETH_TYPE_TEB = 0x6558;
const CS_INVALID = 0x10;
const CS_TRACKED = 0x20;

const ethernetNs = (ethertype: number): number => (0x10000 | ethertype) >>> 0;

/** Bytes that `fn` works on as a frame: one without an Ethernet header gets one, which is taken off again. */
function asFrame(p: Uint8Array, packetType: number, fn: (frame: Uint8Array) => Uint8Array): Uint8Array {
  if (packetType === PT_ETH) return fn(p);
  const header = new Uint8Array(14);
  put16(header, 12, packetType & 0xffff);
  return fn(splice(p, 0, 0, header)).slice(14);
}

/** The state of one packet on its way through a list of actions. */
class Execution {
  #packet: Uint8Array;
  #md: Flow;
  readonly #sink: ExecuteSink;
  /** Bytes that a `trunc` takes off the next output: what is pushed after it is not cut. */
  #cut = 0;
  #dpHash: number;

  constructor(packet: Uint8Array, md: Flow, dpHash: number, sink: ExecuteSink) {
    // Not slice(): that of a Buffer is no copy.
    this.#packet = new Uint8Array(packet);
    this.#md = md.clone();
    this.#dpHash = dpHash;
    this.#sink = sink;
  }

  run(actions: readonly DpAction[]): void {
    for (const a of actions) if (!this.#one(a)) return;
  }

  /** A copy for one output, cut by a `trunc` before it. */
  #copy(): Uint8Array {
    const copy = this.#packet.slice(0, Math.max(0, this.#packet.length - this.#cut));
    this.#cut = 0;
    return copy;
  }

  #nested(actions: readonly DpAction[]): void {
    new Execution(this.#packet, this.#md, this.#dpHash, this.#sink).run(actions);
  }

  /** False when the packet ends here. */
  #one(a: DpAction): boolean {
    switch (a.type) {
      case 'output':
        this.#sink.output(a.port, this.#copy(), this.#md.clone());
        return true;
      case 'lb_output':
        this.#sink.lbOutput?.(a.bondId, this.#copy(), this.#dpHash || this.#ownHash(), this.#md.clone());
        return true;
      case 'userspace':
        this.#sink.userspace(a.userdata, this.#copy(), this.#md.clone());
        return true;
      case 'recirc':
        this.#recirc(a.recircId);
        return true;
      case 'trunc':
        this.#cut = Math.max(0, this.#packet.length - a.maxLen);
        return true;
      case 'hash':
        this.#dpHash = this.#hash(a.algorithm, a.basis);
        return true;
      case 'meter':
        if (this.#sink.meter?.(a.meterId, this.#packet.length) ?? true) return true;
        this.#sink.drop?.('datapath_drop_meter');
        return false;
      case 'drop':
        this.#sink.drop?.(dropActionCounter(a.reason));
        return false;
      case 'clone':
        this.#nested(a.actions);
        return true;
      case 'sample':
        if (Math.random() * 0x100000000 < a.probability) this.#nested(a.actions);
        return true;
      case 'check_pkt_len':
        this.#nested(this.#packet.length > a.pktLen ? a.ifGreater : a.ifLessEqual);
        return true;
      case 'tunnel_push':
        return this.#tunnelPush(a);
      case 'tunnel_pop':
        this.#tunnelPop(a.port);
        return true;
      case 'ct':
        this.#conntrack(a);
        return true;
      default:
        return this.#header(a);
    }
  }

  /** What changes the packet or its metadata. */
  #header(a: DpAction): boolean {
    switch (a.type) {
      case 'set':
        this.#set(a);
        return true;
      case 'set_tunnel':
        this.#setTunnel(a.tunnel);
        return true;
      case 'push_vlan':
        this.#packet = pushVlan(this.#packet, a.tpid, a.tci);
        return true;
      case 'pop_vlan':
        this.#packet = popVlan(this.#packet);
        return true;
      case 'push_mpls':
        this.#edit((p) => pushMpls(p, a.ethertype, a.lse));
        return true;
      case 'add_mpls':
        this.#addMpls(a.ethertype, a.lse, a.l2);
        return true;
      case 'pop_mpls':
        this.#popMpls(a.ethertype);
        return true;
      case 'push_eth':
        this.#pushEth(a.src, a.dst);
        return true;
      case 'pop_eth':
        this.#popEth();
        return true;
      case 'push_nsh':
        this.#pushNsh(a.nsh);
        return true;
      case 'pop_nsh':
        return this.#popNsh();
      case 'ct_clear':
        this.#clearConntrack();
        return true;
      default:
        return true;
    }
  }

  #edit(fn: (frame: Uint8Array) => Uint8Array): void {
    this.#packet = asFrame(this.#packet, this.#md.packetType, fn);
  }

  #set({ attr, key, mask }: Extract<DpAction, { type: 'set' }>): void {
    if (attr === 'skb_mark' || attr === 'skb_priority') {
      const word = (b: Uint8Array) => Buffer.from(b).readUInt32BE();
      const merge = (now: number) => ((now & ~word(mask)) | (word(key) & word(mask))) >>> 0;
      if (attr === 'skb_mark') this.#md.pktMark = merge(this.#md.pktMark);
      else this.#md.skbPriority = merge(this.#md.skbPriority);
      return;
    }
    this.#edit((p) => {
      setHeader(p, attr, key, mask);
      return p;
    });
  }

  #setTunnel(tunnel: DpTunnel): void {
    tunnelToMetadata(tunnel, this.#md);
  }

  #hash(algorithm: 'l4' | 'sym_l4', basis: number): number {
    const key = extractKey(this.#packet, this.#md);
    if (algorithm === 'sym_l4') return hashSymmetricL3L4(key, basis);
    return this.#sink.rssHash === undefined ? hash5Tuple(key, basis) : hash2Words(this.#sink.rssHash, basis);
  }

  /** The hash that its device gave the packet. */
  #ownHash(): number {
    return this.#sink.rssHash ?? hash5Tuple(extractKey(this.#packet, this.#md), 0);
  }

  #recirc(recircId: number): void {
    const md = this.#md.clone();
    md.recircId = recircId;
    md.dpHash = this.#dpHash;
    this.#sink.recirc(recircId, this.#copy(), this.#dpHash, md);
  }

  /** What goes on is a packet of the underlay, as if it had come from the port that it is to leave by. */
  #tunnelPush({ tunnelPort, outPort, tunnelType, header }: Extract<DpAction, { type: 'tunnel_push' }>): boolean {
    const port = this.#sink.tunnelPort?.(tunnelPort);
    if (!port || !fitsTunnel(this.#packet, header)) {
      this.#sink.drop?.('datapath_drop_tunnel_push_error');
      return false;
    }
    const hash = this.#ownHash();
    this.#packet = pushTunnel(this.#copy(), header, tunnelType, hash, port.state);
    this.#md = portMetadata(outPort);
    this.#dpHash = 0;
    return true;
  }

  #tunnelPop(odpPort: OdpPort): void {
    const port = this.#sink.tunnelPort?.(odpPort);
    if (!port) {
      this.#sink.drop?.('datapath_drop_invalid_tnl_port');
      return;
    }
    const inner = popTunnel(this.#copy(), this.#md, odpPort, port.config);
    if (inner) this.#sink.recirc(0, inner.packet, 0, inner.md);
    else this.#sink.drop?.('datapath_drop_tunnel_pop_error');
  }

  #conntrack(ct: DpConntrack): void {
    if (this.#sink.conntrack) this.#sink.conntrack(ct, this.#packet, this.#md);
    else {
      this.#clearConntrack();
      this.#md.ctState = CS_TRACKED | CS_INVALID;
      this.#md.ctZone = ct.zone;
    }
  }

  #clearConntrack(): void {
    const md = this.#md;
    md.ctState = md.ctZone = md.ctMark = md.ctNwSrc = md.ctNwDst = md.ctTpSrc = md.ctTpDst = md.ctNwProto = 0;
    md.ctLabel = md.ctIpv6Src = md.ctIpv6Dst = new Uint8Array(16);
  }

  #addMpls(ethertype: number, lse: number, l2: boolean): void {
    if (!isMplsType(ethertype)) return;
    if (!l2) {
      this.#edit((p) => pushMpls(p, ethertype, lse));
      return;
    }
    this.#packet = splice(this.#packet, 0, 0, Uint8Array.of(lse >>> 24, lse >>> 16, lse >>> 8, lse));
    this.#md.packetType = ethernetNs(ethertype);
  }

  #popMpls(ethertype: number): void {
    const bare = this.#md.packetType !== PT_ETH;
    if (bare && !isMplsType(this.#md.packetType & 0xffff)) return;
    this.#edit((p) => popMpls(p, ethertype));
    if (bare) this.#md.packetType = ethertype === ETH_TYPE_TEB ? PT_ETH : ethernetNs(ethertype);
  }

  #pushEth(src: Uint8Array, dst: Uint8Array): void {
    const type = this.#md.packetType & 0xffff;
    this.#packet = splice(this.#packet, 0, 0, Uint8Array.of(...dst, ...src, type >> 8, type));
    this.#md.packetType = PT_ETH;
  }

  /** A tagged frame keeps its Ethernet header: there is no type for what would remain. */
  #popEth(): void {
    const { l3, l3Type } = findHeaders(this.#packet);
    const start = l3 < 0 ? 14 : l3;
    if (this.#md.packetType !== PT_ETH || this.#packet.length < start) return;
    this.#packet = this.#packet.slice(start);
    this.#md.packetType = ethernetNs(l3Type);
  }

  #pushNsh(nsh: Uint8Array): void {
    const header = nsh.slice();
    header[3] = NSH_NEXT[this.#md.packetType] ?? 0;
    this.#packet = splice(this.#packet, 0, 0, header);
    this.#md.packetType = PT_NSH;
  }

  #popNsh(): boolean {
    if (this.#md.packetType !== PT_NSH) return true;
    const size = (this.#packet[1]! & 63) * 4;
    const next = NSH_TYPES[this.#packet[3]!];
    if (next === undefined || size < 8 || size > this.#packet.length) {
      this.#sink.drop?.('datapath_drop_nsh_decap_error');
      return false;
    }
    this.#packet = this.#packet.slice(size);
    this.#md.packetType = next;
    return true;
  }
}

/** Runs `actions` on a copy of `packet`. Of `key` only the metadata counts: what is in the packet's headers is read there. */
export function executeActions(packet: Uint8Array, key: Flow, actions: readonly DpAction[], sink: ExecuteSink): void {
  new Execution(packet, key, key.dpHash, sink).run(actions);
}
