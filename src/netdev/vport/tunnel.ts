import { vlogModule } from '../../base/vlog.ts';
import { BasicNetdev } from '../basic.ts';
import { type Netdev, NetdevError, type NetdevIo, type NetdevProvider } from '../netdev.ts';
import { type TunnelConfig, type TunnelType, tunnelPortName } from '../tunnel-config.ts';
import { parseTunnelOptions } from './options.ts';
import { showTunnelConfig } from './show.ts';

const log = vlogModule('netdev_vport');

/** Where a tunnel's packets leave the host, for Interface.status; undefined: there is no route. */
export type EgressOf = (remote: Uint8Array, mark: number) => { device: string; up: boolean } | undefined;

/** One tunnel: a port that translation puts headers on for. What the datapath has is one port for all tunnels of a type and UDP port. */
export class TunnelNetdev extends BasicNetdev {
  readonly io: NetdevIo = { kind: 'tunnel' };
  readonly #peers: Set<TunnelNetdev>;
  readonly #egressOf: EgressOf;
  #config!: TunnelConfig;

  /** `peers`: the tunnels that are open, whose configurations must agree. Throws NetdevError. */
  constructor(
    name: string,
    type: TunnelType,
    options: ReadonlyMap<string, string>,
    peers: Set<TunnelNetdev>,
    egressOf: EgressOf,
  ) {
    super(name, type, { adminUp: true });
    this.#peers = peers;
    this.#egressOf = egressOf;
    const refusal = this.#configure(options);
    if (refusal) throw new NetdevError(refusal.text, refusal.reason);
    peers.add(this);
  }

  get tunnel(): TunnelConfig {
    return this.#config;
  }

  override setOptions(options: ReadonlyMap<string, string>): string | undefined {
    return this.#configure(options)?.text;
  }

  /** Why the options are refused: in full, and in one word of errno. */
  #configure(options: ReadonlyMap<string, string>): { text: string; reason: string } | undefined {
    const { config, complaints } = parseTunnelOptions(this.name, this.type as TunnelType, options);
    const clash = config && this.#clashes(config);
    if (clash)
      complaints.push(`${this.name}: VXLAN-GBP, and non-VXLAN-GBP tunnels can't be configured on the same dst_port`);
    const text = complaints.join('\n');
    if (text) log.warn(text);
    if (!config || clash) return { text, reason: clash ? 'File exists' : 'Invalid argument' };
    const before = this.#config as TunnelConfig | undefined;
    this.#config = config;
    if (before && describe(before) !== describe(config)) this.changed();
    return undefined;
  }

  tunnelBacker(): Netdev {
    return new TunnelBackerNetdev(tunnelPortName(this.#config), this.#config);
  }

  /** The policy bits are in every header of a UDP port, or in none. */
  #clashes(config: TunnelConfig): boolean {
    if (config.type !== 'vxlan') return false;
    const clash = ({ tunnel }: TunnelNetdev) => tunnel.dstPort === config.dstPort && tunnel.gbp !== config.gbp;
    return [...this.#peers].some((other) => other !== this && other.type === 'vxlan' && clash(other));
  }

  config(): ReadonlyMap<string, string> {
    return showTunnelConfig(this.#config);
  }

  override status(): ReadonlyMap<string, string> {
    const { remote, egressPktMark = 0 } = this.#config;
    const egress = remote && this.#egressOf(remote, egressPktMark);
    if (!egress) return new Map();
    return new Map([
      ['tunnel_egress_iface', egress.device],
      ['tunnel_egress_iface_carrier', egress.up ? 'up' : 'down'],
    ]);
  }

  /** Counted by translation; there are no errors and drops. */
  readonly countsPacketsOnly = true;

  override async close(): Promise<void> {
    this.#peers.delete(this);
    await super.close();
  }
}

const describe = (config: TunnelConfig): string =>
  JSON.stringify(config, (_key, value: unknown) => (typeof value === 'bigint' ? `${value}` : value));

/** What stands in the datapath for the tunnels of a type and UDP port. */
export class TunnelBackerNetdev extends BasicNetdev {
  readonly io: NetdevIo = { kind: 'tunnel' };
  readonly tunnel: TunnelConfig;

  constructor(name: string, tunnel: TunnelConfig) {
    super(name, tunnel.type, { adminUp: true });
    this.tunnel = tunnel;
  }
}

export const TUNNEL_TYPES: readonly TunnelType[] = [
  'erspan',
  'geneve',
  'gre',
  'gtpu',
  'ip6erspan',
  'ip6gre',
  'lisp',
  'vxlan',
];

/** Providers of all types, which know of each other's tunnels. */
export function tunnelProviders(egressOf: EgressOf): NetdevProvider[] {
  const open = new Set<TunnelNetdev>();
  return TUNNEL_TYPES.map((type) => ({
    type,
    open: (name, options) => new TunnelNetdev(name, type, options, open, egressOf),
  }));
}
