import { formatIpv4, formatIpv6, formatMac } from '../base/address.ts';
import type { OdpPort } from '../base/types.ts';
import { type Flow, FlowWildcards } from '../flow/flow.ts';
import type { DpAction, DpFlowStats, DpSetAttr, DpUserdata } from './dpif.ts';
import {
  getOdpHeader,
  isArpType,
  isMplsType,
  isNd,
  isVlanType,
  ODP_FRAG_TYPES,
  ODP_HEADERS,
  type OdpField,
  odpTransport,
} from './odp-keys.ts';

/** Text of datapath flows and actions as `ovs-appctl dpctl/dump-flows` writes it (ovs-dpctl(8)). */

export interface OdpTextOptions {
  /** Port names instead of numbers; undefined for a number that has none. */
  portName?: ((port: OdpPort) => string | undefined) | undefined;
  /** Also what is wildcarded (`-m`). */
  verbose?: boolean | undefined;
}

const hex = (n: number): string => (n === 0 ? '0' : `0x${(n >>> 0).toString(16)}`);
const hex4 = (n: number): string => `0x${n.toString(16).padStart(4, '0')}`;

function number(b: Uint8Array): number {
  let n = 0;
  for (const byte of b) n = n * 256 + byte;
  return n;
}

const isAll = (b: Uint8Array, value: number): boolean => b.every((v) => v === value);

const PLAIN: Record<Exclude<OdpField['format'], 'frag' | 'label'>, (b: Uint8Array) => string> = {
  mac: formatMac,
  ipv4: (b) => formatIpv4(number(b)),
  ipv6: formatIpv6,
  u8: (b) => `${number(b)}`,
  u8x: (b) => hex(number(b)),
  be16: (b) => `${number(b)}`,
  be32x: (b) => hex(number(b)),
};

function formatFieldMask(field: OdpField, mask: Uint8Array): string {
  switch (field.format) {
    case 'mac':
      return formatMac(mask);
    case 'ipv4':
      return formatIpv4(number(mask));
    case 'ipv6':
      return formatIpv6(mask);
    default:
      return hex(number(mask));
  }
}

/** `name=value[/mask]`, or undefined when it is wildcarded. */
function formatField(
  field: OdpField,
  key: Uint8Array,
  mask: Uint8Array | undefined,
  verbose: boolean,
): string | undefined {
  if (field.format === 'frag') {
    if (mask && isAll(mask, 0)) return undefined;
    return `${field.name}=${ODP_FRAG_TYPES[key[0]] ?? '<error>'}`;
  }
  if (mask && isAll(mask, 0) && !verbose) return undefined;
  const prefix = field.name ? `${field.name}=` : '';
  const value = field.format === 'label' ? hex(number(key)) : PLAIN[field.format](key);
  const full = !mask || (field.format === 'label' ? (number(mask) & 0xfffff) === 0xfffff : isAll(mask, 0xff));
  return full ? prefix + value : `${prefix}${value}/${formatFieldMask(field, mask)}`;
}

/** Text of one header attribute in the kernel's layout; `mask` undefined: exact. */
export function formatOdpHeader(attr: DpSetAttr, key: Uint8Array, mask?: Uint8Array, verbose = false): string {
  const { text, fields } = ODP_HEADERS[attr];
  if (attr === 'mpls') return `mpls(${formatMplsLse(number(key), mask ? number(mask) : undefined)})`;
  const parts: string[] = [];
  let at = 0;
  for (const field of fields) {
    const end = at + field.size;
    const part = formatField(field, key.subarray(at, end), mask?.subarray(at, end), verbose);
    if (part !== undefined) parts.push(part);
    at = end;
  }
  return `${text}(${parts.join(',')})`;
}

function formatMplsLse(lse: number, mask?: number): string {
  const parts = (v: number) => [v >>> 12, (v >>> 9) & 7, v & 255, (v >>> 8) & 1];
  const [label, tc, ttl, bos] = parts(lse);
  if (mask === undefined || mask >>> 0 === 0xffffffff) return `label=${label},tc=${tc},ttl=${ttl},bos=${bos}`;
  const [mLabel, mTc, mTtl, mBos] = parts(mask).map((v) => v.toString(16));
  return `label=${label}/0x${mLabel},tc=${tc}/${mTc},ttl=${ttl}/0x${mTtl},bos=${bos}/${mBos}`;
}

const VLAN_VID_MASK = 0xfff;
const VLAN_CFI = 0x1000;

export function formatVlanTci(tci: number, mask: number, verbose = false): string {
  const parts: string[] = [];
  const [vid, mVid, pcp, mPcp] = [tci & VLAN_VID_MASK, mask & VLAN_VID_MASK, tci >>> 13, mask >>> 13];
  if (verbose || vid || mVid) parts.push(`vid=${vid}${mVid === VLAN_VID_MASK ? '' : `/0x${mVid.toString(16)}`}`);
  if (verbose || pcp || mPcp) parts.push(`pcp=${pcp}${mPcp === 7 ? '' : `/0x${mPcp.toString(16)}`}`);
  if (!(tci & VLAN_CFI)) parts.push('cfi=0');
  return parts.join(',');
}

const TCP_FLAGS = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr', 'ns', '[200]', '[400]', '[800]'];

function formatTcpFlags(flags: number, mask: number): string {
  const bits = TCP_FLAGS.map((name, i) => ({ name, bit: 1 << i }));
  if (mask !== 0xfff)
    return bits
      .filter((b) => mask & b.bit)
      .map((b) => (flags & b.bit ? '+' : '-') + b.name)
      .join('');
  const on = bits.filter((b) => flags & b.bit).map((b) => b.name);
  return on.length ? on.join('|') : '0';
}

/** `SFPR.`-style flags of statistics. */
export function formatStatsFlags(flags: number): string {
  const letters = 'FSRP.UECN';
  let s = '';
  for (let i = 0; i < letters.length; i++) if (flags & (1 << i)) s += letters[i];
  return s || '0';
}

const scalar = (name: string, key: number, mask: number): string =>
  `${name}(${hex(key)}${mask >>> 0 === 0xffffffff ? '' : `/${hex(mask)}`})`;

/** Attributes of a flow key as text, in the datapath's order. */
class KeyFormatter {
  readonly #parts: string[] = [];
  readonly #key: Flow;
  readonly #mask: FlowWildcards;
  readonly #masked: boolean;
  readonly #verbose: boolean;
  readonly #portName: OdpTextOptions['portName'];

  constructor(key: Flow, mask: FlowWildcards | undefined, opts: OdpTextOptions) {
    this.#key = key;
    this.#masked = mask !== undefined;
    this.#mask = mask ?? exactMask();
    this.#verbose = opts.verbose ?? false;
    this.#portName = opts.portName;
  }

  toText(): string {
    this.#metadata();
    this.#parts.push(...this.#headers());
    return this.#parts.join(',');
  }

  #scalar(name: string, key: number, mask: number): void {
    if (mask || this.#verbose) this.#parts.push(scalar(name, key, mask));
  }

  #metadata(): void {
    const [key, mask] = [this.#key, this.#mask];
    this.#scalar('skb_priority', key.skbPriority, mask.skbPriority);
    if (key.tunDst || key.tunSrc) this.#parts.push(formatTunnel(key, mask));
    this.#scalar('skb_mark', key.pktMark, mask.pktMark);
    this.#scalar('ct_state', key.ctState, mask.ctState);
    this.#scalar('ct_zone', key.ctZone, mask.ctZone && mask.ctZone | 0xffff0000);
    this.#scalar('ct_mark', key.ctMark, mask.ctMark);
    if (this.#verbose) this.#parts.push('ct_label(0/0)');
    this.#scalar('recirc_id', key.recircId, mask.recircId);
    this.#scalar('dp_hash', key.dpHash, mask.dpHash);
    this.#inPort();
    if (mask.packetType || this.#verbose)
      this.#parts.push(`packet_type(ns=${key.packetType >>> 16},id=${hex(key.packetType & 0xffff)})`);
  }

  #inPort(): void {
    const [port, mask] = [this.#key.inPort, this.#mask.inPort];
    if (port === 0xffffffff || (!mask && !this.#verbose)) return;
    const name = mask === 0xffffffff ? (this.#portName?.(port as OdpPort) ?? `${port}`) : `${port}/${hex(mask)}`;
    this.#parts.push(`in_port(${name})`);
  }

  #headers(): string[] {
    const out: string[] = [];
    this.#header(out, 'ethernet');
    return this.#vlans(out, 0);
  }

  #header(out: string[], attr: DpSetAttr): void {
    const mask = getOdpHeader(this.#mask, attr, true);
    if (isAll(mask, 0) && !this.#verbose) return;
    out.push(formatOdpHeader(attr, getOdpHeader(this.#key, attr, false), mask, this.#verbose));
  }

  /** From tag `i` on: its Ethertype, the tag, and the rest inside `encap`. */
  #vlans(out: string[], i: number): string[] {
    const [key, mask] = [this.#key, this.#mask];
    const tci = [key.vlanTci0, key.vlanTci1][i] ?? 0;
    if (i > 0 || tci === 0) return this.#l3(out);
    const tciMask = mask.vlanTci0;
    out.push(`eth_type(${hex4(key.vlanTpid0)})`);
    if (tciMask || this.#verbose) out.push(`vlan(${formatVlanTci(tci, tciMask, this.#verbose)})`);
    out.push(`encap(${this.#vlans([], i + 1).join(',')})`);
    return out;
  }

  #l3(out: string[]): string[] {
    const key = this.#key;
    if (key.dlType < 0x600) {
      if (this.#masked) out.push('eth_type(0/0xffff)');
      return out;
    }
    const typeMask = this.#mask.dlType;
    if (typeMask || this.#verbose)
      out.push(`eth_type(${hex4(key.dlType)}${typeMask === 0xffff ? '' : `/${hex4(typeMask)}`})`);
    if (isVlanType(key.dlType)) return out;
    if (key.dlType === 0x0800) this.#header(out, 'ipv4');
    else if (key.dlType === 0x86dd) this.#header(out, 'ipv6');
    else if (isArpType(key.dlType)) this.#header(out, 'arp');
    else if (isMplsType(key.dlType)) this.#header(out, 'mpls');
    this.#l4(out);
    return out;
  }

  #l4(out: string[]): void {
    const [key, mask] = [this.#key, this.#mask];
    const attr = odpTransport(key);
    if (!attr) return;
    this.#header(out, attr);
    if (attr === 'tcp' && mask.tcpFlags) out.push(`tcp_flags(${formatTcpFlags(key.tcpFlags, mask.tcpFlags & 0xfff)})`);
    if (isNd(key) && (mask.tpSrc & 0xff) === 0xff && (mask.tpDst & 0xff) === 0xff) this.#header(out, 'nd');
  }
}

function formatTunnel(key: Flow, mask: FlowWildcards): string {
  const parts: string[] = [];
  if (mask.tunId)
    parts.push(
      `tun_id=0x${key.tunId.toString(16)}${mask.tunId === 0xffff_ffff_ffff_ffffn ? '' : `/0x${mask.tunId.toString(16)}`}`,
    );
  const address = (name: string, value: number, m: number) => {
    if (m) parts.push(`${name}=${formatIpv4(value)}${m === 0xffffffff ? '' : `/${formatIpv4(m)}`}`);
  };
  address('src', key.tunSrc, mask.tunSrc);
  address('dst', key.tunDst, mask.tunDst);
  if (mask.tunTos) parts.push(`tos=${hex(key.tunTos)}`);
  if (mask.tunTtl) parts.push(`ttl=${key.tunTtl}`);
  return `tunnel(${parts.join(',')})`;
}

function exactMask(): FlowWildcards {
  const mask = new FlowWildcards();
  mask.u8.fill(0xff);
  return mask;
}

/** Text of a flow key; `mask` undefined: every field that its packets have, exactly. */
export function formatOdpFlow(key: Flow, mask?: FlowWildcards, opts: OdpTextOptions = {}): string {
  return new KeyFormatter(key, mask, opts).toText();
}

function formatUserdata(u: DpUserdata): string {
  if (u.kind === 'slow_path') return `,slow_path(${u.reason})`;
  if (u.kind !== 'controller') return '';
  const { reason, dontSend, cookie, controllerId, maxLen } = u;
  // The cookie is written in printf's %#x form; the recirculation id names the saved state of the pipeline.
  const rule = cookie === 0n ? '0' : `0x${cookie.toString(16)}`;
  return (
    `,controller(reason=${reason},dont_send=${dontSend ? 1 : 0},continuation=0,recirc_id=${u.recircId ?? 0},` +
    `rule_cookie=${rule},controller_id=${controllerId},max_len=${maxLen})`
  );
}

function formatAction(a: DpAction, opts: OdpTextOptions): string {
  switch (a.type) {
    case 'output':
      return opts.portName?.(a.port) ?? `${a.port}`;
    case 'userspace':
      return `userspace(pid=0${formatUserdata(a.userdata)})`;
    case 'set':
      return `set(${formatOdpHeader(a.attr, a.key, a.mask)})`;
    case 'set_tunnel': {
      const t = a.tunnel;
      return `set(tunnel(tun_id=0x${t.tunId.toString(16)},src=${formatIpv4(number(t.src))},dst=${formatIpv4(number(t.dst))},ttl=${t.ttl},tp_dst=${t.tpDst}))`;
    }
    case 'push_vlan':
      return `push_vlan(${a.tpid === 0x8100 ? '' : `tpid=${hex4(a.tpid)},`}${formatVlanTci(a.tci, 0xffff)})`;
    case 'pop_vlan':
      return 'pop_vlan';
    case 'push_mpls':
      return `push_mpls(${formatMplsLse(a.lse)},eth_type=0x${a.ethertype.toString(16)})`;
    case 'pop_mpls':
      return `pop_mpls(eth_type=0x${a.ethertype.toString(16)})`;
    case 'recirc':
      return `recirc(${hex(a.recircId)})`;
    case 'hash':
      return `hash(${a.algorithm}(${a.basis}))`;
    case 'trunc':
      return `trunc(${a.maxLen})`;
    case 'meter':
      return `meter(${a.meterId})`;
    case 'clone':
      return `clone(${formatOdpActions(a.actions, opts)})`;
    case 'sample':
      return `sample(sample=${((100 * a.probability) / 0xffffffff).toFixed(1)}%,actions(${formatOdpActions(a.actions, opts)}))`;
    case 'check_pkt_len':
      return `check_pkt_len(size=${a.pktLen},gt(${formatOdpActions(a.ifGreater, opts)}),le(${formatOdpActions(a.ifLessEqual, opts)}))`;
    default:
      return 'drop';
  }
}

export function formatOdpActions(actions: readonly DpAction[], opts: OdpTextOptions = {}): string {
  return actions.length ? actions.map((a) => formatAction(a, opts)).join(',') : 'drop';
}

export function formatOdpStats(stats: DpFlowStats, nowMs: number): string {
  const used = stats.usedMs ? `${((nowMs - stats.usedMs) / 1000).toFixed(3)}s` : 'never';
  const flags = stats.tcpFlags ? `, flags:${formatStatsFlags(stats.tcpFlags)}` : '';
  return `packets:${stats.packets}, bytes:${stats.bytes}, used:${used}${flags}`;
}
