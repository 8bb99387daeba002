import { formatIpv4, formatIpv6, formatMac } from '../base/address.ts';
import type { OdpPort } from '../base/types.ts';
import { type Flow, FlowWildcards } from '../flow/flow.ts';
import type { FlowFields } from '../gen/flow.ts';
import type { DpFlowStats, DpSetAttr } from './dpif.ts';
import {
  getOdpField,
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
import { formatFlags, formatTunnelKey, type GeneveOfKey, hasTunnel, hexBytes } from './odp-tunnel-text.ts';
import { geneveOfKey } from './tunnel-geneve.ts';

/** Text of datapath flows and actions as `ovs-appctl dpctl/dump-flows` writes it (ovs-dpctl(8)). */

export interface OdpTextOptions {
  /** Port names instead of numbers; undefined for a number that has none. */
  portName?: ((port: OdpPort) => string | undefined) | undefined;
  /** Also what is wildcarded (`-m`). */
  verbose?: boolean | undefined;
  /** Geneve options of a key. */
  geneve?: GeneveOfKey | undefined;
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
  if (attr === 'nsh') return `nsh(${formatNsh(key, mask)})`;
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

/** A label stack entry without its Ethertype. */
export const mplsLseText = (lse: number): string =>
  `label=${lse >>> 12},tc=${(lse >>> 9) & 7},ttl=${lse & 255},bos=${(lse >>> 8) & 1}`;

function formatMplsLse(lse: number, mask?: number, always = false): string {
  if (mask === undefined || (mask >>> 0 === 0xffffffff && !always)) return mplsLseText(lse);
  const [mLabel, mTc, mTtl, mBos] = [mask >>> 12, (mask >>> 9) & 7, mask & 255, (mask >>> 8) & 1].map((v) =>
    v.toString(16),
  );
  const [label, tc, ttl, bos] = [lse >>> 12, (lse >>> 9) & 7, lse & 255, (lse >>> 8) & 1];
  return `label=${label}/0x${mLabel},tc=${tc}/${mTc},ttl=${ttl}/0x${mTtl},bos=${bos}/${mBos}`;
}

/** The service path is shown as its two parts (RFC 8300 section 2.3). */
function formatNsh(key: Uint8Array, mask: Uint8Array | undefined): string {
  const u32 = (b: Uint8Array, at: number) => Buffer.from(b).readUInt32BE(at);
  const parts: string[] = [];
  const u8 = (name: string, v: number, m: number) => {
    const two = (n: number) => `0x${n.toString(16).padStart(2, '0')}`;
    if (m) parts.push(`${name}=${m === 0xff ? v : `${two(v)}/${two(m)}`}`);
  };
  const be32 = (name: string, v: number, m: number) => {
    const masked = `/0x${m.toString(16).padStart(8, '0')}`;
    if (m) parts.push(`${name}=0x${v.toString(16)}${m === 0xffffffff ? '' : masked}`);
  };
  const bits = mask ?? new Uint8Array(key.length).fill(0xff);
  const spiMask = u32(bits, 4) >>> 8;
  ['flags', 'ttl', 'mdtype', 'np'].forEach((name, i) => {
    u8(name, key[i]!, bits[i]!);
  });
  be32('spi', u32(key, 4) >>> 8, spiMask === 0xffffff ? 0xffffffff : spiMask);
  u8('si', key[7]!, bits[7]!);
  if (mask || key[2] === 1) for (let i = 0; i < 4; i++) be32(`c${i + 1}`, u32(key, 8 + i * 4), u32(bits, 8 + i * 4));
  return parts.join(',');
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

const TCP_FLAGS = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr', 'ns', '[200]', '[400]', '[800]'].map(
  (name, i) => [1 << i, name] as const,
);

const CT_STATE_ALL = 0xff;
/** OVS_CS_F_* */
const CT_STATES = ['new', 'est', 'rel', 'rpl', 'inv', 'trk', 'snat', 'dnat'].map((name, i) => [1 << i, name] as const);

/** `SFPR.`-style flags of statistics. */
export function formatStatsFlags(flags: number): string {
  const letters = 'FSRP.UECN';
  let s = '';
  for (let i = 0; i < letters.length; i++) if (flags & (1 << i)) s += letters[i];
  return s || '0';
}

/** Attributes of a flow key as text, in the datapath's order. */
class KeyFormatter {
  readonly #parts: string[] = [];
  readonly #key: Flow;
  readonly #mask: FlowWildcards;
  readonly #masked: boolean;
  readonly #verbose: boolean;
  readonly #portName: OdpTextOptions['portName'];
  readonly #geneve: OdpTextOptions['geneve'];

  constructor(key: Flow, mask: FlowWildcards | undefined, opts: OdpTextOptions) {
    this.#key = key;
    this.#masked = mask !== undefined;
    this.#mask = mask ?? exactMask();
    this.#verbose = opts.verbose ?? false;
    this.#portName = opts.portName;
    this.#geneve = opts.geneve ?? geneveOfKey;
  }

  toText(): string {
    this.#metadata();
    this.#parts.push(...this.#headers());
    return this.#parts.join(',');
  }

  #scalar(name: string, key: number, mask: number, all = 0xffffffff): void {
    if (!mask && !this.#verbose) return;
    this.#parts.push(`${name}(${hex(key)}${mask >>> 0 === all ? '' : `/${hex(mask)}`})`);
  }

  #metadata(): void {
    const [key, mask] = [this.#key, this.#mask];
    this.#scalar('skb_priority', key.skbPriority, mask.skbPriority);
    if (hasTunnel(key))
      this.#parts.push(
        formatTunnelKey(key, this.#masked ? mask : undefined, this.#verbose || !this.#masked, this.#geneve),
      );
    this.#scalar('skb_mark', key.pktMark, mask.pktMark);
    this.#conntrack();
    this.#scalar('recirc_id', key.recircId, mask.recircId);
    this.#scalar('dp_hash', key.dpHash, mask.dpHash);
    this.#inPort();
    this.#packetType();
  }

  #conntrack(): void {
    const [key, mask] = [this.#key, this.#mask];
    const stateMask = mask.ctState & CT_STATE_ALL;
    if (this.#verbose) {
      this.#parts.push(`ct_state(${hex(key.ctState)}${this.#masked ? `/${hex(stateMask)}` : ''})`);
    } else if (stateMask) {
      this.#parts.push(`ct_state(${formatFlags(CT_STATES, key.ctState, stateMask, 0xffffffff)})`);
    }
    this.#scalar('ct_zone', key.ctZone, mask.ctZone, 0xffff);
    this.#scalar('ct_mark', key.ctMark, mask.ctMark);
    if (this.#verbose || !isAll(mask.ctLabel, 0)) {
      const tail = isAll(mask.ctLabel, 0xff) ? '' : `/${hexBytes(mask.ctLabel)}`;
      this.#parts.push(`ct_label(${hexBytes(key.ctLabel)}${tail})`);
    }
    if (key.ctNwProto) this.#ctTuple();
  }

  #ctTuple(): void {
    const [key, mask] = [this.#key, this.#mask];
    const v6 = key.dlType === 0x86dd;
    if (!v6 && key.dlType !== 0x0800) return;
    const row = (name: string, size: number, format: OdpField['format'], member: OdpField['member']) => {
      const field: OdpField = { name, size, format, member };
      const [k, m] = [new Uint8Array(size), new Uint8Array(size)];
      getOdpField(key, field, false, k, 0);
      getOdpField(mask, field, true, m, 0);
      return formatField(field, k, m, this.#verbose);
    };
    const parts = v6
      ? [row('src', 16, 'ipv6', 'ct_ipv6_src'), row('dst', 16, 'ipv6', 'ct_ipv6_dst')]
      : [row('src', 4, 'ipv4', 'ct_nw_src'), row('dst', 4, 'ipv4', 'ct_nw_dst')];
    parts.push(row('proto', 1, 'u8', 'ct_nw_proto'));
    parts.push(row(v6 ? 'src_port' : 'tp_src', 2, 'be16', 'ct_tp_src'));
    parts.push(row(v6 ? 'dst_port' : 'tp_dst', 2, 'be16', 'ct_tp_dst'));
    const shown = parts.filter((p) => p !== undefined);
    if (shown.length || this.#verbose) this.#parts.push(`${v6 ? 'ct_tuple6' : 'ct_tuple4'}(${shown.join(',')})`);
  }

  #packetType(): void {
    const [key, mask] = [this.#key.packetType, this.#mask.packetType];
    if (!mask && !this.#verbose) return;
    const [ns, id, nsMask, idMask] = [key >>> 16, key & 0xffff, mask >>> 16, mask & 0xffff];
    const parts: string[] = [];
    if (nsMask || this.#verbose) parts.push(`ns=${ns}${nsMask === 0xffff ? '' : `/${hex(nsMask)}`}`);
    if (idMask || this.#verbose) parts.push(`id=${hex(id)}${idMask === 0xffff ? '' : `/${hex(idMask)}`}`);
    this.#parts.push(`packet_type(${parts.join(',')})`);
  }

  #inPort(): void {
    const [port, mask] = [this.#key.inPort, this.#mask.inPort];
    if (port === 0xffffffff || (!mask && !this.#verbose)) return;
    const name = mask === 0xffffffff ? (this.#portName?.(port as OdpPort) ?? `${port}`) : `${port}/${hex(mask)}`;
    this.#parts.push(`in_port(${name})`);
  }

  #headers(): string[] {
    const out: string[] = [];
    if (this.#key.packetType !== 0) return this.#l3(out);
    this.#header(out, 'ethernet');
    // Without the packet's type it says that there is an Ethernet header.
    if (out.length === 0 && this.#mask.packetType === 0) out.push('eth()');
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
    // A tag that was not looked into: its TPID is the Ethertype.
    const cut = tci === 0 && isVlanType(key.dlType);
    if (i > 1 || (tci === 0 && !cut)) return this.#l3(out);
    const tciMask = [mask.vlanTci0, mask.vlanTci1][i]!;
    out.push(`eth_type(${hex4(cut ? key.dlType : [key.vlanTpid0, key.vlanTpid1][i]!)})`);
    if (tciMask || this.#verbose) out.push(`vlan(${formatVlanTci(tci, tciMask, this.#verbose)})`);
    out.push(`encap(${(cut ? [] : this.#vlans([], i + 1)).join(',')})`);
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
    else if (isMplsType(key.dlType)) this.#mpls(out);
    else if (key.dlType === 0x894f) out.push(this.#nsh());
    this.#l4(out);
    return out;
  }

  /** As many labels as the key has, up to the bottom of the stack. */
  #mpls(out: string[]): void {
    const { mplsLse0, mplsLse1, mplsLse2 } = this.#key;
    const lses = [mplsLse0, mplsLse1, mplsLse2];
    const bottom = lses.findIndex((lse) => lse & 0x100);
    const n = bottom < 0 ? 3 : bottom + 1;
    const masks = [this.#mask.mplsLse0, this.#mask.mplsLse1, this.#mask.mplsLse2].slice(0, n);
    if (masks.every((m) => m === 0) && !this.#verbose) return;
    const exact = masks.every((m) => m === 0xffffffff);
    out.push(
      `mpls(${masks.map((m, i) => (exact ? mplsLseText(lses[i]!) : formatMplsLse(lses[i]!, m, true))).join(',')})`,
    );
  }

  #nsh(): string {
    const mask = this.#masked ? getOdpHeader(this.#mask, 'nsh', true) : undefined;
    return formatOdpHeader('nsh', getOdpHeader(this.#key, 'nsh', false), mask);
  }

  #nd(out: string[]): void {
    this.#header(out, 'nd');
    const [key, mask] = [this.#key, this.#mask];
    const some = (flow: FlowFields) => flow.ndReserved !== 0 || flow.ndOptionsType !== 0;
    if (!some(key) || (this.#masked && !some(mask) && !this.#verbose)) return;
    const type = mask.ndOptionsType || this.#verbose ? `,nd_options_type=${key.ndOptionsType}` : '';
    const tail = type && mask.ndOptionsType !== 0xff ? `/${hex(mask.ndOptionsType)}` : '';
    out.push(`nd_ext(nd_reserved=0x${key.ndReserved.toString(16)}${type}${tail})`);
  }

  #l4(out: string[]): void {
    const [key, mask] = [this.#key, this.#mask];
    const attr = odpTransport(key);
    if (!attr) return;
    this.#header(out, attr);
    const flagsMask = mask.tcpFlags & 0xfff;
    if (attr === 'tcp' && (flagsMask || (this.#verbose && key.tcpFlags)))
      out.push(`tcp_flags(${formatFlags(TCP_FLAGS, key.tcpFlags, flagsMask, 0xfff)})`);
    if (isNd(key) && (mask.tpSrc & 0xff) === 0xff && (mask.tpDst & 0xff) === 0xff) this.#nd(out);
  }
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

export function formatOdpStats(stats: DpFlowStats, nowMs: number): string {
  const used = stats.usedMs ? `${((nowMs - stats.usedMs) / 1000).toFixed(3)}s` : 'never';
  const flags = stats.tcpFlags ? `, flags:${formatStatsFlags(stats.tcpFlags)}` : '';
  return `packets:${stats.packets}, bytes:${stats.bytes}, used:${used}${flags}`;
}
