/** What a tunnel port is configured with: Interface.options as numbers. Addresses are 16 bytes, IPv4 mapped. */

export type TunnelType = 'gre' | 'ip6gre' | 'vxlan' | 'geneve' | 'erspan' | 'ip6erspan' | 'gtpu' | 'lisp';

/** Whether packets have Ethernet headers: always, never, or as each says (packet type aware). */
export type PacketTypeMode = 'legacy_l2' | 'legacy_l3' | 'ptap';

/** A value that is fixed, taken from the flow's metadata, or absent. */
export type TunnelKey = { readonly kind: 'value'; readonly value: bigint } | { readonly kind: 'flow' | 'none' };

/** Fields of ERSPAN; undefined: as the flow says. */
export interface ErspanConfig {
  readonly ver: number | undefined;
  readonly idx: number | undefined;
  readonly dir: number | undefined;
  readonly hwid: number | undefined;
}

export interface TunnelConfig {
  readonly type: TunnelType;
  /** Undefined: any (of `local`), or as the flow says. */
  readonly remote: Uint8Array | undefined;
  readonly local: Uint8Array | undefined;
  readonly remoteFlow: boolean;
  readonly localFlow: boolean;
  readonly inKey: TunnelKey;
  readonly outKey: TunnelKey;
  /** UDP port, 0 where the protocol has none. */
  readonly dstPort: number;
  readonly csum: boolean;
  /** GRE and GTP-U sequence numbers are sent. */
  readonly seq: boolean;
  /** DSCP in the place of the TOS byte; undefined: the inner packet's. */
  readonly tos: number | undefined;
  readonly ttl: number | undefined;
  readonly dontFragment: boolean;
  readonly egressPktMark: number | undefined;
  readonly gbp: boolean;
  readonly gpe: boolean;
  readonly packetTypes: PacketTypeMode;
  readonly erspan: ErspanConfig;
}

/** The key as a number, 0 when it is none or the flow's. */
export const keyValue = (key: TunnelKey): bigint => (key.kind === 'value' ? key.value : 0n);

/** Names of the datapath's ports that all tunnels of a type share. */
const DP_PORT_NAMES: Readonly<Record<TunnelType, string>> = {
  geneve: 'genev_sys',
  gre: 'gre_sys',
  vxlan: 'vxlan_sys',
  lisp: 'lisp_sys',
  erspan: 'erspan_sys',
  ip6erspan: 'ip6erspan_sys',
  ip6gre: 'ip6gre_sys',
  gtpu: 'gtpu_sys',
};

/** Name of the datapath port that a tunnel's packets come and go by. */
export function tunnelPortName({ type, dstPort }: Pick<TunnelConfig, 'type' | 'dstPort'>): string {
  return dstPort ? `${DP_PORT_NAMES[type]}_${dstPort}` : DP_PORT_NAMES[type];
}

/** True for names that begin as those do: no interface can have one. */
export const isTunnelPortName = (name: string): boolean =>
  Object.values(DP_PORT_NAMES).some((portName) => name.startsWith(portName));

/** IANA's UDP ports. */
export const TUNNEL_DST_PORTS: Readonly<Partial<Record<TunnelType, number>>> = {
  geneve: 6081,
  vxlan: 4789,
  lisp: 4341,
  gtpu: 2152,
};

/** IP protocol of the outer header, 0: not a native one. */
export function tunnelProtocol(type: TunnelType): number {
  if (type === 'lisp') return 0;
  return type === 'vxlan' || type === 'geneve' || type === 'gtpu' ? 17 : 47;
}

/** UDP source ports of encapsulated packets (`tnl/egress_port_range`), from `min` to below `max`; of the whole program. */
export const tunnelSourcePorts = { min: 32768, max: 61000 };

const portListeners = new Set<() => void>();

/** Calls `listener` at once, and whenever there is another range; returns what ends that. */
export function onTunnelSourcePorts(listener: () => void): () => void {
  portListeners.add(listener);
  listener();
  return () => portListeners.delete(listener);
}

export function setTunnelSourcePorts(range: { min: number; max: number }): void {
  Object.assign(tunnelSourcePorts, range);
  for (const listener of portListeners) listener();
}
