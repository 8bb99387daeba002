import type { Clock, ClockTimer } from '../base/clock.ts';
import type { OdpPort } from '../base/types.ts';
import type { Dpif } from '../dpif/dpif.ts';
import { BOND_BUCKETS, type Bond, type BondHost, type BondPort } from './bond.ts';
import { BondRules, bondFrozenState } from './bond-rules.ts';
import type { BundleConfig, Logger, MirrorConfig, PolicingConfig } from './config.ts';
import type { FlowTables } from './flow-tables.ts';
import { ETH_TYPE_LACP, LACP_ADDRESS } from './lacp.ts';
import { type MacLearning, macBytes } from './mac-learning.ts';
import type { MeterIds } from './meters.ts';
import { Mirrors } from './mirrors.ts';
import { Policing } from './policing.ts';
import type { BridgePort } from './port.ts';
import { Bundle, type BundleHost, type BundlePort } from './port-bundle.ts';
import type { RecircIds } from './recirc.ts';
import type { XBridge, XBundle } from './xlate/types.ts';

/**
 * The Ports of one bridge: their members, bonds, LACP and mirrors, and what all this makes of a port's link. Runs when something happens
 * and when a timer is due; costs nothing otherwise. Control thread only.
 */

/** What it needs of the bridge. */
export interface LinksHost {
  readonly xbridge: XBridge;
  readonly clock: Clock;
  readonly dpif: Dpif;
  readonly recircs: RecircIds;
  readonly meterIds: MeterIds;
  readonly macs: MacLearning<XBundle>;
  readonly flowTables: FlowTables;
  vlog(module: string): Logger;
  port(number: number): BridgePort | undefined;
  /** Translations may come out differently. */
  changed(): void;
  /** Takes the counters of megaflows. */
  pushStats(): void;
  /** Sends a packet of the switch's own by a port. */
  send(port: BridgePort, packet: Uint8Array): void;
  /** What OpenFlow shows of a port may be another. */
  portShownChanged(port: BridgePort): void;
  /** Forgets a station in the other bridges of the datapath. */
  forgetElsewhere(mac: number, vlan: number): void;
  /** What the database shows of Ports is another. */
  statusChanged(): void;
}

const ETH_TYPE_RARP = 0x8035;

function frame(dst: Uint8Array, src: Uint8Array, ethertype: number, payload: Uint8Array): Uint8Array {
  return Buffer.concat([dst, src, Uint8Array.of(ethertype >> 8, ethertype & 0xff), payload]);
}

/** A reverse ARP request of a station for itself, which tells the switches on its way where it is. */
export function learningPacket(mac: Uint8Array, vlan: number): Uint8Array {
  const none = new Uint8Array(4);
  const rarp = Buffer.concat([Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 3), mac, none, mac, none]);
  const broadcast = new Uint8Array(6).fill(0xff);
  if (!vlan) return frame(broadcast, mac, ETH_TYPE_RARP, rarp);
  const tagged = Buffer.concat([Uint8Array.of(vlan >> 8, vlan & 0xff, ETH_TYPE_RARP >> 8, ETH_TYPE_RARP & 0xff), rarp]);
  return frame(broadcast, mac, 0x8100, tagged);
}

export class Links {
  readonly bundles = new Map<string, Bundle>();
  readonly mirrors: Mirrors;
  readonly #host: LinksHost;
  readonly #rules: BondRules;
  readonly #policing: Policing;
  readonly #bundleHost: BundleHost;
  #mirrorConfigs: readonly MirrorConfig[] = [];
  /** Ports whose link is to be looked at. */
  readonly #dirty = new Set<BridgePort>();
  #timer: ClockTimer | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #closed = false;

  constructor(host: LinksHost) {
    this.#host = host;
    this.mirrors = new Mirrors(host.vlog('ofproto_dpif_mirror'));
    this.#rules = new BondRules(host.flowTables, () => host.clock.monotonicMs());
    this.#policing = new Policing(host.dpif, host.meterIds);
    this.#bundleHost = {
      nowMs: () => host.clock.monotonicMs(),
      lacpLog: host.vlog('lacp'),
      bondHost: () => this.#bondHost(),
    };
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    if (this.#immediate) clearImmediate(this.#immediate);
    for (const bundle of this.bundles.values()) bundle.destroy();
    this.bundles.clear();
  }

  // Configuration.

  /** Replaces the Port of that name. */
  bundleSet(name: string, config: BundleConfig): void {
    const ports = config.ports.flatMap((n) => this.#host.port(n) ?? []);
    if (ports.length === 0) {
      this.bundleDel(name);
      return;
    }
    let bundle = this.bundles.get(name);
    if (!bundle) {
      bundle = new Bundle(name, this.#bundleHost);
      this.bundles.set(name, bundle);
    }
    const before = ports.flatMap((port) => port.bundle ?? []);
    const left = bundle.ports;
    if (bundle.configure(config, ports)) this.#host.macs.flush(bundle);
    for (const other of before) if (other.ports.length === 0) this.bundleDel(other.name);
    this.#portsMoved([...left, ...ports]);
  }

  bundleDel(name: string): void {
    const bundle = this.bundles.get(name);
    if (!bundle) return;
    this.bundles.delete(name);
    const { ports } = bundle;
    bundle.destroy();
    const { macs } = this.#host;
    for (const e of [...macs.entries()])
      if (e.bundle === bundle) {
        // After a migration whose announcement was lost, the bridges behind a patch would look for the station here.
        this.#host.forgetElsewhere(e.mac, e.vlan);
        macs.forget(e.mac, e.vlan);
      }
    macs.flush(bundle);
    this.#portsMoved(ports);
  }

  setPolicing(port: BridgePort, config: PolicingConfig | undefined): void {
    const changed = this.#policing.set(port, config);
    if (changed === 'full')
      this.#host.vlog('ofproto').warn(`${port.name}: no meter is left in the datapath, ingress policing has no effect`);
    port.policingMeters = this.#policing.metersOf(port);
    if (changed) this.#host.changed();
  }

  /** `dscp`: by queue. */
  setQueues(port: BridgePort, dscp: ReadonlyMap<number, number>): void {
    const next = new Map([...dscp].map(([queue, value]) => [queue, (value << 2) & 0xfc]));
    if (JSON.stringify([...next]) === JSON.stringify([...port.queueDscp])) return;
    port.queueDscp = next;
    this.#host.changed();
  }

  /** A port leaves the bridge. */
  portRemoved(port: BridgePort): void {
    this.#policing.set(port, undefined);
    this.#dirty.delete(port);
    const { bundle } = port;
    if (!bundle) return;
    bundle.leave(port);
    if (bundle.ports.length === 0) this.bundleDel(bundle.name);
    else this.#portsMoved(bundle.ports);
  }

  setMirrors(configs: readonly MirrorConfig[]): void {
    this.#mirrorConfigs = configs;
    if (this.mirrors.configure(configs, this.bundles)) this.#host.changed();
  }

  #portsMoved(ports: Iterable<BundlePort>): void {
    for (const port of ports) this.#dirty.add(port as BridgePort);
    if (this.#mirrorConfigs.length > 0) this.mirrors.configure(this.#mirrorConfigs, this.bundles);
    this.#host.changed();
    this.requestRun();
  }

  #bondHost(): BondHost {
    const { clock, dpif, recircs, xbridge } = this.#host;
    return {
      nowMs: () => clock.monotonicMs(),
      log: this.#host.vlog('bond'),
      allocRecircId: () => recircs.allocUnique(bondFrozenState(xbridge)),
      freeRecircId: (id) => recircs.unref(id),
      setRules: (id, ports) => this.#rules.set(id, ports),
      ruleBytes: (id) => this.#rules.bytes(id),
      lbOutput: dpif.bondSet && {
        set: (id, ports) => dpif.bondSet!(id, ports.map(odpPortOf)),
        del: (id) => dpif.bondDel?.(id),
        bytes: (id) => dpif.bondStats?.(id)?.map(Number) ?? new Array<number>(BOND_BUCKETS).fill(0),
      },
      activeChanged: () => this.#host.statusChanged(),
    };
  }

  // What happens.

  /** A device's link, address or state moved. */
  portChanged(port: BridgePort): void {
    const resets = port.carrierResets;
    if (resets !== port.seenCarrierResets) {
      port.seenCarrierResets = resets;
      port.bundle?.lacpState?.carrierChanged(port, port.carrier);
    }
    this.#dirty.add(port);
    this.requestRun();
  }

  receiveLacp(port: BridgePort, packet: Uint8Array): void {
    const { bundle } = port;
    if (!bundle?.lacpState) return;
    bundle.lacpState.receive(port, packet);
    if (port.carrier && bundle.mayEnable(port)) bundle.bond?.setMayEnable(port, true);
    this.#dirty.add(port);
    this.requestRun();
  }

  *bonds(): Iterable<Bond> {
    for (const { bond } of this.bundles.values()) if (bond) yield bond;
  }

  // Running.

  /** Has `run` called as soon as the control thread is free. */
  requestRun(): void {
    if (this.#closed || this.#immediate) return;
    this.#immediate = setImmediate(() => {
      this.#immediate = undefined;
      this.run();
    });
  }

  /** Does what is due, and sees to being called when there is more. */
  run(): void {
    if (this.#closed) return;
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    for (const port of dirty) this.#refresh(port);
    let again = false;
    for (const bundle of this.bundles.values()) if (this.#runBundle(bundle)) again = true;
    if (again) this.requestRun();
    this.#arm();
  }

  /** Notes what became of a port's link. */
  #refresh(port: BridgePort): void {
    const { live } = port;
    if (live !== port.shownLive) this.#host.changed();
    port.shownLive = live;
    port.shownLinkUp = port.carrier;
    this.#host.portShownChanged(port);
  }

  /** True when `run` has to come again at once. */
  #runBundle(bundle: Bundle): boolean {
    const { lacpState, bond } = bundle;
    const again = lacpState?.run((port, pdu) => this.#sendLacp(port as BridgePort, pdu)) ?? false;
    if (again) for (const port of bundle.ports) this.#dirty.add(port as BridgePort);
    if (!bond) return again;
    for (const port of bundle.ports) bond.setMayEnable(port, port.live);
    if (bond.run(lacpState?.status ?? 'disabled')) this.#host.changed();
    if (bond.shouldSendLearningPackets()) this.#sendLearningPackets(bundle, bond);
    if (bond.rebalanceDueMs <= this.#host.clock.monotonicMs()) {
      this.#host.pushStats();
      bond.rebalance();
    }
    return again;
  }

  #arm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    let due = Number.POSITIVE_INFINITY;
    for (const { lacpState, bond } of this.bundles.values()) {
      if (lacpState) due = Math.min(due, lacpState.nextDueMs());
      if (bond) due = Math.min(due, bond.nextDueMs(), bond.rebalanceDueMs);
    }
    if (due === Number.POSITIVE_INFINITY) return;
    const { clock } = this.#host;
    this.#timer = clock.after(Math.max(0, due - clock.monotonicMs()), () => this.run());
  }

  #sendLacp(port: BridgePort, pdu: Uint8Array): void {
    this.#host.send(port, frame(LACP_ADDRESS, port.mac(), ETH_TYPE_LACP, pdu));
  }

  /** Tells the switches around that the stations behind this bridge are now reached by another member. */
  #sendLearningPackets(bundle: Bundle, bond: Bond): void {
    let n = 0;
    for (const e of [...this.#host.macs.entries()]) {
      if (e.bundle === bundle) continue;
      const mac = macBytes(e.mac);
      const port = bond.memberFor(mac, e.vlan);
      if (port) this.#host.send(port as BridgePort, learningPacket(mac, e.vlan));
      n++;
    }
    this.#host.vlog('ofproto_dpif').dbg(`bond ${bundle.name}: sent ${n} gratuitous learning packets`);
  }
}

const odpPortOf = (port: BondPort | undefined): OdpPort | undefined => port?.odpPort;
