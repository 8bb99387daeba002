import type { OdpPort, OfpPort } from '../base/types.ts';
import type { Netdev, NetdevStats } from '../netdev/netdev.ts';
import type { TunnelConfig } from '../netdev/tunnel-config.ts';
import {
  NETDEV_F_10GB_FD,
  NETDEV_F_COPPER,
  PC_NO_FLOOD,
  PC_PORT_DOWN,
  type PhyPort,
  PS_LINK_DOWN,
  PS_LIVE,
} from '../openflow/messages.ts';
import { featuresToKbps } from '../openflow/msg-port.ts';
import type { Bundle } from './port-bundle.ts';
import { OFPP_MAX } from './ports.ts';
import type { XBridge, XPort } from './xlate/types.ts';

/** A port of a bridge: a device under an OpenFlow number. */
export class BridgePort implements XPort {
  readonly bridge: XBridge;
  readonly ofpPort: OfpPort;
  readonly netdev: Netdev;
  /** Undefined: not in the datapath. */
  odpPort: OdpPort | undefined;
  readonly createdMs: number;
  /** `PC_*` of a port-mod; PORT_DOWN follows the device. */
  configBits = 0;
  bundle: Bundle | undefined;
  peer: BridgePort | undefined;
  /** Name of the interface that the patch leads to. */
  peerName: string | undefined;
  /** Meters that what comes in has to pass. */
  policingMeters: readonly number[] | undefined;
  /** DSCP (in the place of the TOS byte) by queue. */
  queueDscp: ReadonlyMap<number, number> = new Map();
  /** As OpenFlow was last told. */
  shownLinkUp: boolean;
  shownLive = false;
  /** What controllers were last told of it. */
  shown: PhyPort | undefined = undefined;
  /** As `Links` saw it last. */
  seenCarrierResets: number;
  /** Packets over a patch or by a tunnel; the datapath counts the others. */
  readonly vportStats = { rxPackets: 0, rxBytes: 0, txPackets: 0, txBytes: 0 };

  /** Counters of the datapath and the device together. */
  readonly stats: () => NetdevStats;

  constructor(
    bridge: XBridge,
    ofpPort: OfpPort,
    netdev: Netdev,
    odpPort: OdpPort | undefined,
    nowMs: number,
    stats: (port: BridgePort) => NetdevStats,
  ) {
    this.stats = () => stats(this);
    this.bridge = bridge;
    this.ofpPort = ofpPort;
    this.netdev = netdev;
    this.odpPort = odpPort;
    this.createdMs = nowMs;
    this.shownLinkUp = this.carrier;
    this.seenCarrierResets = this.carrierResets;
  }

  get name(): string {
    return this.netdev.name;
  }

  get config(): number {
    return this.configBits | (this.netdev.adminUp() ? 0 : PC_PORT_DOWN);
  }

  /** The device is up and has its link. */
  get carrier(): boolean {
    return this.netdev.adminUp() && this.netdev.linkUp();
  }

  get carrierResets(): number {
    return this.netdev.carrierResets?.() ?? 0;
  }

  get live(): boolean {
    return this.carrier && (this.bundle?.mayEnable(this) ?? true);
  }

  get noFlood(): boolean {
    return (this.configBits & PC_NO_FLOOD) !== 0;
  }

  get tunnel(): TunnelConfig | undefined {
    return this.netdev.tunnel;
  }

  get ptMode(): TunnelConfig['packetTypes'] {
    return this.netdev.tunnel?.packetTypes ?? 'legacy_l2';
  }

  mac(): Uint8Array {
    return this.netdev.mac();
  }

  /** `PS_*`; the link as it was last looked at, so that a change is told once, by the one who looks. */
  get #state(): number {
    if (!this.shownLinkUp) return PS_LINK_DOWN;
    return this.shownLive && !(this.config & PC_PORT_DOWN) ? PS_LIVE : 0;
  }

  /** As OpenFlow describes it. */
  phy(): PhyPort {
    // A tap says what the kernel says of it; nothing else has a speed.
    const curr = this.netdev.type === 'tap' ? NETDEV_F_10GB_FD | NETDEV_F_COPPER : 0;
    return {
      portNo: this.ofpPort,
      hwAddr: this.netdev.mac(),
      name: this.name,
      config: this.config,
      state: this.#state,
      curr,
      advertised: 0,
      supported: 0,
      peer: 0,
      currSpeed: featuresToKbps(curr),
      maxSpeed: 0,
    };
  }
}

/** How long a freed number is kept from other devices. */
const RECENT_MS = 60 * 60 * 1000;
/** Numbers from here on are given out only when they are asked for. */
const AUTO_MAX = 32768;

/** Gives out OpenFlow port numbers as Open vSwitch does: going up, and a number that was in use lately only when none is left. */
export class OfportAllocator {
  #last = 0;
  readonly #freedMs = new Map<number, number>();
  readonly #taken: (port: OfpPort) => boolean;
  readonly #nowMs: () => number;

  constructor(taken: (port: OfpPort) => boolean, nowMs: () => number) {
    this.#taken = taken;
    this.#nowMs = nowMs;
  }

  /** `request` when it is free, else the next free number; undefined when there is none. */
  allocate(request?: number): OfpPort | undefined {
    const wanted = request && request > 0 && request < OFPP_MAX && !this.#taken(request as OfpPort);
    const port = wanted ? request : this.#next();
    if (port === undefined) return undefined;
    this.#freedMs.delete(port);
    return port as OfpPort;
  }

  /** The number is free again. */
  release(port: OfpPort): void {
    this.#freedMs.set(port, this.#nowMs());
  }

  #next(): number | undefined {
    const longAgo = this.#nowMs() - RECENT_MS;
    let oldest: number | undefined;
    for (let i = 1; i < AUTO_MAX; i++) {
      this.#last = this.#last + 1 >= AUTO_MAX ? 1 : this.#last + 1;
      if (this.#taken(this.#last as OfpPort)) continue;
      const freedMs = this.#freedMs.get(this.#last);
      if (freedMs === undefined || freedMs < longAgo) return this.#last;
      if (oldest === undefined || freedMs < this.#freedMs.get(oldest)!) oldest = this.#last;
    }
    return oldest;
  }
}
