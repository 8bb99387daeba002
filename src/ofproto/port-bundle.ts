import type { OfpPort } from '../base/types.ts';
import { VlogRateLimit } from '../base/vlog.ts';
import { Bond, type BondHost, type BondPort } from './bond.ts';
import type { BundleConfig, Logger, VlanMode } from './config.ts';
import { Lacp } from './lacp.ts';
import type { XBundle } from './xlate/types.ts';

/** A port of the bridge, as a bundle sees it. */
export interface BundlePort extends BondPort {
  /** Left out of floods by a port-mod. */
  readonly noFlood: boolean;
  bundle: Bundle | undefined;
}

/** What a bundle needs of its bridge. */
export interface BundleHost {
  nowMs(): number;
  readonly lacpLog: Logger;
  /** For the bond of that name. */
  bondHost(name: string): BondHost;
}

const ETH_8021AD = 0x88a8;

const sameSet = (a: ReadonlySet<number> | undefined, b: ReadonlySet<number> | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && a.size === b.size && [...a].every((v) => b.has(v)));

const toSet = (list: readonly number[] | undefined): ReadonlySet<number> | undefined =>
  list?.length ? new Set(list) : undefined;

/** VLANs that a Port carries. A native VLAN is always among them, VLAN 0 then is not. */
function carried(config: BundleConfig, vlan: number): ReadonlySet<number> | undefined {
  if (config.vlanMode === 'access' || config.vlanMode === 'dot1q-tunnel') return undefined;
  const trunks = toSet(config.trunks);
  if (config.vlanMode === 'trunk' || vlan === 0 || (trunks?.has(vlan) && !trunks.has(0))) return trunks;
  const all = new Set(trunks ?? Array.from({ length: 4096 }, (_, i) => i));
  all.add(vlan);
  all.delete(0);
  return all;
}

const malformedLimit = new VlogRateLimit(1, 5);

/** Warnings of LACP come from the wire: they are held within bounds. */
function lacpLogger(log: Logger): { warn(text: string): void; info(text: string): void; dbg(text: string): void } {
  const limited = (say: (text: string) => void) => (text: string) => {
    if (malformedLimit.withdraw(say)) say(text);
  };
  return { warn: limited((t) => log.warn(t)), info: limited((t) => log.info(t)), dbg: (t) => log.dbg(t) };
}

/** A Port of the database: one or more interfaces that learn and flood as one. */
export class Bundle implements XBundle {
  readonly name: string;
  ports: BundlePort[] = [];
  vlanMode: VlanMode = 'trunk';
  vlan = 0;
  trunks: ReadonlySet<number> | undefined;
  cvlans: ReadonlySet<number> | undefined;
  qinqEthertype = ETH_8021AD;
  priorityTags: 'no' | 'if-nonzero' | 'always' = 'no';
  protected = false;
  bond: Bond | undefined;
  lacpState: Lacp<BundlePort> | undefined;
  mirrorSrc = 0;
  mirrorDst = 0;
  mirrorOut = 0;
  readonly #host: BundleHost;

  constructor(name: string, host: BundleHost) {
    this.name = name;
    this.#host = host;
  }

  get lacp(): boolean {
    return this.lacpState !== undefined;
  }

  get floodable(): boolean {
    return this.ports.length > 0 && !this.ports.some((p) => p.noFlood);
  }

  /** Takes the settings; `ports` are the members. True when what was learned here no longer counts. */
  configure(config: BundleConfig, ports: BundlePort[]): boolean {
    this.#configureLacp(config);
    for (const port of this.ports) if (!ports.includes(port)) this.leave(port);
    for (const port of ports) if (port.bundle !== this) port.bundle?.leave(port);
    this.ports = ports;
    ports.forEach((port) => {
      port.bundle = this;
    });
    this.#registerLacp(config);
    const flush = this.#configureVlans(config);
    this.#configureBond(config);
    return flush;
  }

  /** Lets go of a member. */
  leave(port: BundlePort): void {
    if (port.bundle !== this) return;
    port.bundle = undefined;
    this.ports = this.ports.filter((p) => p !== port);
    this.lacpState?.unregister(port);
    this.bond?.unregister(port);
    if (this.ports.length < 2) this.#dropBond();
  }

  destroy(): void {
    for (const port of this.ports) this.leave(port);
    this.#dropBond();
    this.lacpState = undefined;
  }

  #dropBond(): void {
    this.bond?.destroy();
    this.bond = undefined;
  }

  #configureLacp({ lacp }: BundleConfig): void {
    if (!lacp) {
      this.lacpState = undefined;
      return;
    }
    const settings = { name: this.name, ...lacp };
    if (this.lacpState) this.lacpState.configure(settings);
    else this.lacpState = new Lacp(settings, () => this.#host.nowMs(), lacpLogger(this.#host.lacpLog));
  }

  #registerLacp({ lacp, ports: numbers }: BundleConfig): void {
    for (const port of this.ports) {
      const s = lacp?.members[numbers.indexOf(port.ofpPort)];
      if (!s) continue;
      const portId = s.portId || port.ofpPort & 0xffff;
      this.lacpState?.register(port, { name: port.name, portId, priority: s.priority, key: s.key });
    }
  }

  #configureVlans(config: BundleConfig): boolean {
    const { vlanMode } = config;
    const tag = config.tag ?? 0;
    const vlan = vlanMode === 'trunk' || tag < 0 || tag > 4095 ? 0 : tag;
    const next = {
      vlanMode,
      vlan,
      qinqEthertype: config.qinqEthertype ?? ETH_8021AD,
      priorityTags: config.priorityTags ?? 'no',
      protected: config.protected ?? false,
    } as const;
    const trunks = carried(config, vlan);
    const cvlans = vlanMode === 'dot1q-tunnel' ? toSet(config.cvlans) : undefined;
    const keys = Object.keys(next) as (keyof typeof next)[];
    const changed =
      keys.some((key) => this[key] !== next[key]) || !sameSet(trunks, this.trunks) || !sameSet(cvlans, this.cvlans);
    Object.assign(this, next, { trunks, cvlans });
    return changed;
  }

  #configureBond({ bond }: BundleConfig): void {
    if (this.ports.length < 2 || !bond) {
      this.#dropBond();
      return;
    }
    const settings = { name: this.name, ...bond };
    if (this.bond) this.bond.configure(settings);
    else this.bond = new Bond(settings, this.#host.bondHost(this.name));
    for (const port of this.ports) this.bond.register(port);
  }

  /** Whether LACP lets that member, whose link is up, carry traffic. */
  mayEnable(port: BundlePort): boolean {
    return this.lacpState?.mayEnable(port) ?? true;
  }

  /** OpenFlow port of a member, to name the bundle by. */
  get aPort(): OfpPort | undefined {
    return this.ports[0]?.ofpPort;
  }
}
