import { formatMapped, mappedIpv4 } from '../base/address.ts';
import type { OdpPort } from '../base/types.ts';
import type { Flow } from '../flow/flow.ts';
import { keyValue, type TunnelConfig } from '../netdev/tunnel-config.ts';
import type { BridgePort } from './port.ts';

/** The tunnels of a datapath by what they receive: one tunnel's packets are told from another's by addresses, key and kind of packet. */

const ANY = new Uint8Array(16);
const isZero = (a: Uint8Array): boolean => a.every((b) => b === 0);

/** Where a packet comes from (its tunnel's remote end) and goes to, as 16 bytes, IPv4 mapped. */
export const tunnelSrc = (flow: Flow): Uint8Array => (flow.tunSrc ? mappedIpv4(flow.tunSrc) : flow.tunIpv6Src);
export const tunnelDst = (flow: Flow): Uint8Array => (flow.tunDst ? mappedIpv4(flow.tunDst) : flow.tunIpv6Dst);

/** The packet came out of a tunnel. */
export const cameByTunnel = (flow: Flow): boolean => flow.tunDst !== 0 || !isZero(flow.tunIpv6Dst);

/** What a tunnel's packets have in common. Addresses are those of packets that it sends. */
interface TunnelMatch {
  inKey: bigint;
  src: Uint8Array;
  dst: Uint8Array;
  odpPort: OdpPort;
  keyFlow: boolean;
  dstFlow: boolean;
  srcFlow: boolean;
  packetTypes: TunnelConfig['packetTypes'];
}

const keyOf = (m: TunnelMatch): string =>
  `${m.inKey} ${Buffer.from(m.src).toString('hex')} ${Buffer.from(m.dst).toString('hex')} ${m.odpPort} ` +
  `${m.keyFlow} ${m.dstFlow} ${m.srcFlow} ${m.packetTypes}`;

function matchOf(c: TunnelConfig, odpPort: OdpPort): TunnelMatch {
  return {
    inKey: keyValue(c.inKey),
    src: c.local ?? ANY,
    dst: c.remote ?? ANY,
    odpPort,
    keyFlow: c.inKey.kind === 'flow',
    dstFlow: c.remoteFlow,
    srcFlow: c.localFlow,
    packetTypes: c.packetTypes,
  };
}

function matchText(m: TunnelMatch): string {
  const ends = !m.dstFlow
    ? `${formatAny(m.src)}->${formatMapped(m.dst)}`
    : m.srcFlow
      ? 'flow->flow'
      : `${formatAny(m.src)}->flow`;
  const key = m.keyFlow ? 'key=flow' : `key=${hex(m.inKey)}`;
  return `${ends}, ${key}, ${m.packetTypes}, dp port=${m.odpPort}`;
}

const formatAny = (a: Uint8Array): string => formatMapped(a);
const hex = (n: bigint): string => (n === 0n ? '0' : `0x${n.toString(16)}`);

function outKeyText({ inKey, outKey }: TunnelConfig): string {
  if (outKey.kind === inKey.kind && keyValue(outKey) === keyValue(inKey)) return '';
  if (outKey.kind === 'none') return ', out_key=none';
  return `, out_key=${outKey.kind === 'flow' ? 'flow' : hex(keyValue(outKey))}`;
}

/** A line of `ofproto/list-tunnels`. */
function tunnelLine(port: BridgePort, match: TunnelMatch): string {
  const c = port.netdev.tunnel!;
  const tos = c.tos === undefined ? ', tos=inherit' : c.tos ? `, tos=0x${c.tos.toString(16)}` : '';
  return (
    `port ${match.odpPort}: ${port.name} (${port.netdev.type}: ${matchText(match)}${outKeyText(c)}` +
    `, ttl=${c.ttl ?? 'inherit'}${tos}${c.dontFragment ? '' : ', df=false'}${c.csum ? ', csum=true' : ''})\n`
  );
}

export class TunnelPorts {
  readonly #byKey = new Map<string, BridgePort>();
  readonly #matches = new Map<BridgePort, TunnelMatch>();

  /** The port that receives the same packets already, and what they are; undefined: `port` is in. */
  add(port: BridgePort): { other: BridgePort; text: string } | undefined {
    const match = matchOf(port.netdev.tunnel!, port.odpPort!);
    const key = keyOf(match);
    const other = this.#byKey.get(key);
    if (other) return { other, text: matchText(match) };
    this.#byKey.set(key, port);
    this.#matches.set(port, match);
    return undefined;
  }

  delete(port: BridgePort): void {
    const match = this.#matches.get(port);
    if (!match) return;
    this.#matches.delete(port);
    this.#byKey.delete(keyOf(match));
  }

  has(port: BridgePort): boolean {
    return this.#matches.has(port);
  }

  /** The tunnel that a packet came by; the one that says most about it. */
  find(flow: Flow): BridgePort | undefined {
    const [from, to] = [tunnelSrc(flow), tunnelDst(flow)];
    const legacy = flow.packetType >>> 16 === 1 ? 'legacy_l3' : 'legacy_l2';
    const odpPort = flow.inPort as OdpPort;
    for (const keyFlow of [false, true])
      for (const dstFlow of [false, true])
        for (const source of ['configured', 'any', 'flow'])
          for (const packetTypes of [legacy, 'ptap'] as const) {
            // What a tunnel sends from is what it receives at.
            const src = source === 'configured' ? to : ANY;
            const dst = dstFlow ? ANY : from;
            const inKey = keyFlow ? 0n : flow.tunId;
            const srcFlow = source === 'flow';
            const port = this.#byKey.get(keyOf({ inKey, src, dst, odpPort, keyFlow, dstFlow, srcFlow, packetTypes }));
            if (port) return port;
          }
    return undefined;
  }

  list(): string {
    return [...this.#matches].map(([port, match]) => tunnelLine(port, match)).join('');
  }
}
