import { parseIpv4, parseIpv6, parseMac } from '../base/address.ts';
import type { OdpPort } from '../base/types.ts';
import { Flow, FlowWildcards, type Match } from '../flow/flow.ts';
import { type DpSetAttr, TUNNEL_F_KEY } from './dpif.ts';
import { ODP_FRAG_TYPES, ODP_HEADERS, type OdpField, odpAttrByText, setOdpField } from './odp-keys.ts';
import { type MaskedGeneveOption, TUNNEL_FLAG_NAMES } from './odp-tunnel-text.ts';
import { GENEVE_OPTIONS_MAX, putGeneve } from './tunnel-geneve.ts';

/** Parses datapath flow keys and actions as ovs-dpctl(8) writes them, the inverse of odp-text. */

/** Number of a port named in text; undefined when there is none. */
export type PortLookup = (name: string) => OdpPort | undefined;

/** A key and its mask; the numbers of Geneve options are a bridge's affair. */
export interface OdpMatch extends Match {
  geneve?: MaskedGeneveOption[];
}

export class OdpParseError extends Error {
  override name = 'OdpParseError';
}

/** Splits at commas and spaces outside parentheses and braces; what follows a closing parenthesis needs neither. */
export function splitTop(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  const end = (i: number, next: number) => {
    if (i > start) parts.push(text.slice(start, i));
    start = next;
  };
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (c === '(' || c === '{') depth++;
    else if (c === ')' || c === '}') depth--;
    else if (depth === 0 && /[,\s]/.test(c)) end(i, i + 1);
    if (depth < 0) throw new OdpParseError(`${text}: unbalanced parentheses`);
    if (depth === 0 && c === ')' && !/[/]/.test(text[i + 1] ?? '')) end(i + 1, i + 1);
  }
  end(text.length, text.length);
  if (depth !== 0) throw new OdpParseError(`${text}: unbalanced parentheses`);
  return parts;
}

/** `name(body)` taken apart; body undefined without parentheses. */
export function splitCall(text: string): { name: string; body: string | undefined } {
  const open = text.indexOf('(');
  if (open < 0) return { name: text, body: undefined };
  if (!text.endsWith(')')) throw new OdpParseError(`${text}: unbalanced parentheses`);
  return { name: text.slice(0, open).trim(), body: text.slice(open + 1, -1) };
}

export function parseNumber(text: string, max = 0xffffffff): number {
  const n = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN;
  if (!(n <= max)) throw new OdpParseError(`${text}: not a number in range`);
  return n;
}

/** Bytes of a number of any length; with a size, padded on the left to it. */
export function bytesOfHex(text: string, size?: number): Uint8Array {
  const digits = /^0x([0-9a-f]+)$/i.exec(text)?.[1] ?? (/^\d+$/.test(text) ? BigInt(text).toString(16) : undefined);
  if (digits === undefined) throw new OdpParseError(`${text}: not a number`);
  const even = digits.length % 2 ? `0${digits}` : digits;
  const bytes = Uint8Array.from(Buffer.from(even, 'hex'));
  if (size === undefined) return bytes;
  if (bytes.length > size) throw new OdpParseError(`${text}: not a number in range`);
  const out = new Uint8Array(size);
  out.set(bytes, size - bytes.length);
  return out;
}

function toBytes(n: number, size: number): Uint8Array {
  const b = new Uint8Array(size);
  for (let i = size - 1, v = n; i >= 0; i--, v = Math.floor(v / 256)) b[i] = v & 255;
  return b;
}

function parseValue(field: OdpField, text: string): Uint8Array {
  const bytes =
    field.format === 'mac'
      ? parseMac(text)
      : field.format === 'ipv6'
        ? parseIpv6(text)
        : field.format === 'ipv4'
          ? ipv4Bytes(text)
          : toBytes(parseNumber(text, 256 ** field.size - 1), field.size);
  if (!bytes) throw new OdpParseError(`${text}: bad value of ${field.name}`);
  return bytes;
}

function ipv4Bytes(text: string): Uint8Array | undefined {
  const ip = parseIpv4(text);
  return ip === undefined ? undefined : toBytes(ip, 4);
}

function parseField(field: OdpField, text: string): { key: Uint8Array; mask: Uint8Array } {
  if (field.format === 'frag') {
    const type = ODP_FRAG_TYPES.indexOf(text as (typeof ODP_FRAG_TYPES)[number]);
    if (type < 0) throw new OdpParseError(`${text}: bad fragment type`);
    return { key: Uint8Array.of(type), mask: Uint8Array.of(0xff) };
  }
  const [value, mask] = text.split('/');
  return {
    key: parseValue(field, value),
    mask: mask === undefined ? new Uint8Array(field.size).fill(0xff) : parseValue(field, mask),
  };
}

/** Parses the `name=value,…` of one header attribute, calling `each` per field with its offset in the kernel's layout. */
function parseHeader(
  attr: DpSetAttr,
  body: string,
  each: (field: OdpField, at: number, key: Uint8Array, mask: Uint8Array) => void,
): void {
  for (const item of splitTop(body)) {
    const eq = item.indexOf('=');
    const name = eq < 0 ? '' : item.slice(0, eq);
    let at = 0;
    let found = false;
    for (const field of ODP_HEADERS[attr].fields) {
      if (field.name === name) {
        const { key, mask } = parseField(field, item.slice(eq + 1));
        each(field, at, key, mask);
        found = true;
        break;
      }
      at += field.size;
    }
    if (!found) throw new OdpParseError(`${item}: unknown field of ${attr}`);
  }
}

/** OVS_CS_F_*, from bit 0 on. */
const CT_STATES = ['new', 'est', 'rel', 'rpl', 'inv', 'trk', 'snat', 'dnat'];
const TCP_FLAGS = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr', 'ns'];

class KeyParser {
  readonly match: Match = { flow: new Flow(), wc: new FlowWildcards() };
  geneve: MaskedGeneveOption[] | undefined;
  readonly #port: PortLookup | undefined;
  /** How many `eth_type`s have been seen that a `vlan` followed. */
  #vlans = 0;
  #sawType = false;
  /** Ethertype that follows from the headers when none is told. */
  #inferred = 0x5ff;

  constructor(port: PortLookup | undefined) {
    this.#port = port;
    this.match.flow.inPort = 0xffffffff;
  }

  parse(text: string): void {
    for (const item of splitTop(text)) this.#attribute(item);
  }

  finish(): OdpMatch {
    const { flow } = this.match;
    // A packet without an Ethernet header is what its packet type says.
    if (!this.#sawType && flow.packetType >>> 16 === 1) flow.dlType = flow.packetType & 0xffff;
    else if (!this.#sawType) flow.dlType = this.#inferred;
    return this.geneve ? { ...this.match, geneve: this.geneve } : this.match;
  }

  #attribute(item: string): void {
    const { name, body } = splitCall(item);
    if (item.startsWith('ufid:')) return;
    if (body === undefined) throw new OdpParseError(`${item}: expected name(value)`);
    const attr = odpAttrByText.get(name);
    if (attr === 'mpls') {
      this.#mpls(body);
      return;
    }
    if (attr === 'nsh') {
      this.#nsh(body);
      return;
    }
    if (attr === 'skb_mark' || attr === 'skb_priority') {
      this.#scalar(attr, body);
      return;
    }
    if (attr === 'ipv4') this.#inferred = 0x0800;
    else if (attr === 'ipv6') this.#inferred = 0x86dd;
    if (attr) {
      parseHeader(attr, body, (field, _at, key, mask) => {
        setOdpField(this.match.flow, field, false, key, 0);
        setOdpField(this.match.wc, field, true, mask, 0);
      });
      return;
    }
    this.#other(name, body);
  }

  #other(name: string, body: string): void {
    const { flow, wc } = this.match;
    const [value, mask] = body.split('/');
    const num = (max = 0xffffffff) => [parseNumber(value, max), mask === undefined ? max : parseNumber(mask, max)];
    switch (name) {
      case 'recirc_id':
        [flow.recircId, wc.recircId] = num();
        return;
      case 'dp_hash':
        [flow.dpHash, wc.dpHash] = num();
        return;
      case 'ct_state':
        this.#ctState(value, mask);
        return;
      case 'ct_zone':
        [flow.ctZone, wc.ctZone] = num(0xffff);
        return;
      case 'ct_mark':
        [flow.ctMark, wc.ctMark] = num();
        return;
      case 'ct_label':
        flow.ctLabel = bytesOfHex(value, 16);
        wc.ctLabel = mask === undefined ? new Uint8Array(16).fill(0xff) : bytesOfHex(mask, 16);
        return;
      case 'ct_tuple4':
      case 'ct_tuple6':
        this.#ctTuple(name === 'ct_tuple6', body);
        return;
      case 'nd_ext':
        this.#ndExt(body);
        return;
      case 'in_port':
        this.#inPort(value, mask);
        return;
      case 'packet_type':
        this.#packetType(body);
        return;
      case 'eth_type':
        this.#ethType(value, mask);
        return;
      case 'vlan':
        this.#vlan(body);
        return;
      case 'encap':
        this.parse(body);
        return;
      case 'tcp_flags':
        this.#tcpFlags(value, mask);
        return;
      case 'tunnel':
        this.#tunnel(body);
        return;
      default:
        throw new OdpParseError(`${name}: unknown attribute`);
    }
  }

  #inPort(value: string, mask: string | undefined): void {
    const named = /^\d/.test(value) ? undefined : this.#port?.(value);
    this.match.flow.inPort = named ?? parseNumber(value);
    this.match.wc.inPort = mask === undefined ? 0xffffffff : parseNumber(mask);
  }

  #packetType(body: string): void {
    const { flow, wc } = this.match;
    for (const item of splitTop(body)) {
      const [name, text = ''] = item.split('=');
      const [v, m] = this.#masked(text, 0xffff);
      const shift = name === 'ns' ? 16 : 0;
      flow.packetType = (flow.packetType | (v << shift)) >>> 0;
      wc.packetType = (wc.packetType | (m << shift)) >>> 0;
    }
  }

  #masked(text: string, max: number): [number, number] {
    const [v = '', m] = text.split('/');
    return [parseNumber(v, max), m === undefined ? max : parseNumber(m)];
  }

  #scalar(attr: 'skb_mark' | 'skb_priority', body: string): void {
    const { flow, wc } = this.match;
    const [v, m] = this.#masked(body, 0xffffffff);
    if (attr === 'skb_mark') [flow.pktMark, wc.pktMark] = [v, m];
    else [flow.skbPriority, wc.skbPriority] = [v, m];
  }

  #ctState(value: string, mask: string | undefined): void {
    const { flow, wc } = this.match;
    if (/^\d/.test(value)) {
      [flow.ctState, wc.ctState] = [parseNumber(value), mask === undefined ? 0xff : parseNumber(mask)];
      return;
    }
    const bit = (name: string) => {
      const i = CT_STATES.indexOf(name);
      if (i < 0) throw new OdpParseError(`${name}: unknown state of a connection`);
      return 1 << i;
    };
    if (!/^[+-]/.test(value)) {
      flow.ctState = value.split('|').reduce((sum, name) => sum | bit(name), 0);
      wc.ctState = 0xff;
      return;
    }
    for (const [, sign, name] of value.matchAll(/([+-])([a-z]+)/g)) {
      wc.ctState |= bit(name!);
      if (sign === '+') flow.ctState |= bit(name!);
    }
  }

  #ctTuple(six: boolean, body: string): void {
    const rows: OdpField[] = [
      { name: 'src', ...(six ? IPV6_ROW : IPV4_ROW), member: six ? 'ct_ipv6_src' : 'ct_nw_src' },
      { name: 'dst', ...(six ? IPV6_ROW : IPV4_ROW), member: six ? 'ct_ipv6_dst' : 'ct_nw_dst' },
      { name: 'proto', size: 1, format: 'u8', member: 'ct_nw_proto' },
      { name: 'tp_src', size: 2, format: 'be16', member: 'ct_tp_src' },
      { name: 'tp_dst', size: 2, format: 'be16', member: 'ct_tp_dst' },
    ];
    for (const item of splitTop(body)) {
      const [name = '', text = ''] = item.split('=');
      const wanted = name.replace(/^(src|dst)_port$/, 'tp_$1');
      const field = rows.find((r) => r.name === wanted);
      if (!field) throw new OdpParseError(`${item}: unknown field of ct_tuple`);
      this.#put(field, text);
    }
  }

  #put(field: OdpField, text: string): void {
    const { key, mask } = parseField(field, text);
    setOdpField(this.match.flow, field, false, key, 0);
    setOdpField(this.match.wc, field, true, mask, 0);
  }

  #ndExt(body: string): void {
    for (const item of splitTop(body)) {
      const [name, text = ''] = item.split('=');
      if (name === 'nd_reserved') this.#put({ name, size: 4, format: 'be32x', member: 'nd_reserved' }, text);
      else if (name === 'nd_options_type') this.#put({ name, size: 1, format: 'u8', member: 'nd_options_type' }, text);
      else throw new OdpParseError(`${item}: unknown field of nd_ext`);
    }
  }

  /** The service path comes in its two parts. */
  #nsh(body: string): void {
    const { flow, wc } = this.match;
    for (const item of splitTop(body)) {
      const [name, text = ''] = item.split('=');
      if (name === 'spi' || name === 'si') {
        const [bits, shift] = name === 'spi' ? [0xffffff, 8] : [0xff, 0];
        const [v, m] = this.#masked(text, bits);
        flow.nshPathHdr = (flow.nshPathHdr | (v << shift)) >>> 0;
        wc.nshPathHdr = (wc.nshPathHdr | ((m & bits) << shift)) >>> 0;
        continue;
      }
      const field = ODP_HEADERS.nsh.fields.find((f) => f.name === name);
      if (!field) throw new OdpParseError(`${item}: unknown field of nsh`);
      this.#put(field, text);
    }
  }

  #ethType(value: string, mask: string | undefined): void {
    const { flow, wc } = this.match;
    const type = parseNumber(value, 0xffff);
    const m = mask === undefined ? 0xffff : parseNumber(mask, 0xffff);
    flow.dlType = type === 0 && m === 0xffff ? 0x5ff : type;
    wc.dlType = m;
    this.#sawType = true;
  }

  #vlan(body: string): void {
    const { flow, wc } = this.match;
    let tci = 0x1000;
    let mask = 0x1000;
    for (const item of splitTop(body)) {
      const [name, text] = item.split('=');
      const [v, m] = (text ?? '').split('/');
      const [bits, shift] = name === 'vid' ? [0xfff, 0] : name === 'pcp' ? [7, 13] : [1, 12];
      tci = (tci & ~(bits << shift)) | (parseNumber(v, bits) << shift);
      mask |= (m === undefined ? bits : parseNumber(m, bits)) << shift;
    }
    if (this.#vlans++ === 0)
      [flow.vlanTpid0, wc.vlanTpid0, flow.vlanTci0, wc.vlanTci0] = [flow.dlType, 0xffff, tci, mask];
    else [flow.vlanTpid1, wc.vlanTpid1, flow.vlanTci1, wc.vlanTci1] = [flow.dlType, 0xffff, tci, mask];
    flow.dlType = 0x5ff;
  }

  /** Labels from the top on, each with all its parts. */
  #mpls(body: string): void {
    const shifts: Readonly<Record<string, readonly [shift: number, bits: number]>> = {
      label: [12, 0xfffff],
      tc: [9, 7],
      bos: [8, 1],
      ttl: [0, 255],
    };
    const lses: number[] = [];
    const masks: number[] = [];
    for (const item of splitTop(body)) {
      const [name = '', text = ''] = item.split('=');
      const place = shifts[name];
      if (!place) throw new OdpParseError(`${item}: unknown field of mpls`);
      if (name === 'label' || lses.length === 0) {
        lses.push(0);
        masks.push(0);
      }
      const [v = '', m] = text.split('/');
      const [shift, bits] = place;
      const i = lses.length - 1;
      lses[i] = (lses[i]! | (parseNumber(v, bits) << shift)) >>> 0;
      // Written without 0x, it is hexadecimal all the same (ovs-dpctl prints tc and bos so).
      masks[i] = (masks[i]! | ((m === undefined ? bits : Number.parseInt(m, 16) & bits) << shift)) >>> 0;
    }
    const { flow, wc } = this.match;
    [flow.mplsLse0, flow.mplsLse1, flow.mplsLse2] = [lses[0] ?? 0, lses[1] ?? 0, lses[2] ?? 0];
    [wc.mplsLse0, wc.mplsLse1, wc.mplsLse2] = [masks[0] ?? 0, masks[1] ?? 0, masks[2] ?? 0];
  }

  #tcpFlags(value: string, mask: string | undefined): void {
    const { flow, wc } = this.match;
    wc.tcpFlags = mask === undefined ? 0xfff : parseNumber(mask, 0xfff);
    if (/^(0x)?\d/.test(value)) flow.tcpFlags = parseNumber(value, 0xfff);
    else if (/^[+-]/.test(value)) this.#tcpFlagsSigned(value);
    else for (const name of value.split('|')) flow.tcpFlags |= tcpFlag(name);
  }

  #tcpFlagsSigned(value: string): void {
    const { flow, wc } = this.match;
    wc.tcpFlags = 0;
    for (const [, sign, name] of value.matchAll(/([+-])([a-z]+)/g)) {
      wc.tcpFlags |= tcpFlag(name);
      if (sign === '+') flow.tcpFlags |= tcpFlag(name);
    }
  }

  #tunnel(body: string): void {
    for (const item of splitTop(body)) {
      const { name, body: inner } = splitCall(item);
      if (inner !== undefined && name === 'geneve') this.#geneve(parseGeneve(inner));
      else if (inner !== undefined) this.#tunnelGroup(name, inner);
      else this.#tunnelField(item);
    }
  }

  #geneve(options: MaskedGeneveOption[]): void {
    this.geneve = options;
    const size = options.reduce((sum, { key }) => sum + 4 + key.data.length, 0);
    if (size > GENEVE_OPTIONS_MAX) throw new OdpParseError(`${size} bytes of geneve options: more than a header holds`);
    putGeneve(options, this.match.flow, this.match.wc);
  }

  #tunnelField(item: string): void {
    const [name = '', text = ''] = item.split('=');
    const { flow, wc } = this.match;
    if (name === 'tun_id') {
      const [v = '', m] = text.split('/');
      if (!/^(0x[0-9a-f]+|\d+)$/i.test(v)) throw new OdpParseError(`${v}: not a number in range`);
      [flow.tunId, wc.tunId] = [BigInt(v), m ? BigInt(m) : 0xffff_ffff_ffff_ffffn];
      flow.tunFlags |= TUNNEL_F_KEY;
      wc.tunFlags |= TUNNEL_F_KEY;
      return;
    }
    const field = TUNNEL_FIELDS.find((f) => f.name === name);
    if (!field) throw new OdpParseError(`${item}: unknown field of tunnel`);
    this.#put(field, text);
  }

  #tunnelGroup(name: string, body: string): void {
    if (name === 'flags') {
      this.#tunnelFlags(body);
      return;
    }
    const inner = name === 'vxlan' ? (splitCall(body).body ?? '') : body;
    for (const item of splitTop(inner)) {
      const [key = '', text = ''] = item.split('=');
      const field = TUNNEL_GROUPS[name]?.find((f) => f.name === key);
      if (!field) throw new OdpParseError(`${item}: unknown field of ${name}`);
      this.#put(field, text);
    }
  }

  #tunnelFlags(body: string): void {
    const { flow, wc } = this.match;
    const bit = (name: string) => {
      const row = TUNNEL_FLAG_NAMES.find(([, n]) => n === name);
      if (!row) throw new OdpParseError(`${name}: unknown flag of tunnel`);
      return row[0];
    };
    if (/^[+-]/.test(body)) {
      for (const [, sign, name] of body.matchAll(/([+-])([a-z]+)/g)) {
        wc.tunFlags |= bit(name!);
        if (sign === '+') flow.tunFlags |= bit(name!);
      }
      return;
    }
    for (const name of body.split('|')) if (name && name !== '0') flow.tunFlags |= bit(name);
    wc.tunFlags = 0xf;
  }
}

const IPV4_ROW = { size: 4, format: 'ipv4' } as const;
const IPV6_ROW = { size: 16, format: 'ipv6' } as const;

const TUNNEL_FIELDS: readonly OdpField[] = [
  { name: 'src', ...IPV4_ROW, member: 'tun_src' },
  { name: 'dst', ...IPV4_ROW, member: 'tun_dst' },
  { name: 'ipv6_src', ...IPV6_ROW, member: 'tun_ipv6_src' },
  { name: 'ipv6_dst', ...IPV6_ROW, member: 'tun_ipv6_dst' },
  { name: 'tos', size: 1, format: 'u8x', member: 'tun_tos' },
  { name: 'ttl', size: 1, format: 'u8', member: 'tun_ttl' },
  { name: 'tp_src', size: 2, format: 'be16', member: 'tun_tp_src' },
  { name: 'tp_dst', size: 2, format: 'be16', member: 'tun_tp_dst' },
];

const TUNNEL_GROUPS: Readonly<Record<string, readonly OdpField[]>> = {
  vxlan: [
    { name: 'id', size: 2, format: 'be16', member: 'tun_gbp_id' },
    { name: 'flags', size: 1, format: 'u8x', member: 'tun_gbp_flags' },
  ],
  erspan: [
    { name: 'ver', size: 1, format: 'u8', member: 'tun_erspan_ver' },
    { name: 'idx', size: 4, format: 'be32x', member: 'tun_erspan_idx' },
    { name: 'dir', size: 1, format: 'u8', member: 'tun_erspan_dir' },
    { name: 'hwid', size: 1, format: 'u8x', member: 'tun_erspan_hwid' },
  ],
  gtpu: [
    { name: 'flags', size: 1, format: 'u8x', member: 'tun_gtpu_flags' },
    { name: 'msgtype', size: 1, format: 'u8', member: 'tun_gtpu_msgtype' },
  ],
};

/** `{class=…,type=…,len=…,0x…[/0x…]}…` */
function parseGeneve(body: string): MaskedGeneveOption[] {
  return [...body.matchAll(/\{([^}]*)\}/g)].map(([, text = '']) => {
    const option: MaskedGeneveOption = {
      key: { optClass: 0, type: 0, data: new Uint8Array(0) },
      mask: { optClass: 0, type: 0, data: new Uint8Array(0) },
    };
    for (const item of splitTop(text)) geneveItem(option, item);
    return option;
  });
}

function geneveItem({ key, mask }: MaskedGeneveOption, item: string): void {
  const [, name, v = '', m] = /^(?:(class|type|len)=)?([^/]*)(?:\/(.*))?$/.exec(item) ?? [];
  if (name === 'class') {
    key.optClass = parseNumber(v, 0xffff);
    mask!.optClass = m === undefined ? 0xffff : parseNumber(m, 0xffff);
  } else if (name === 'type') {
    key.type = parseNumber(v, 255);
    mask!.type = m === undefined ? 255 : parseNumber(m, 255);
  } else if (name === 'len') {
    const size = parseNumber(v, 124);
    if (size % 4) throw new OdpParseError(`${item}: not a multiple of 4`);
    key.data = new Uint8Array(size);
    mask!.data = new Uint8Array(size);
  } else {
    key.data = bytesOfHex(v, key.data.length);
    mask!.data = m === undefined ? new Uint8Array(key.data.length).fill(0xff) : bytesOfHex(m, key.data.length);
  }
}

function tcpFlag(name: string): number {
  const i = TCP_FLAGS.indexOf(name);
  if (i < 0) throw new OdpParseError(`${name}: unknown TCP flag`);
  return 1 << i;
}

/** Parses a flow key. `flow.inPort` is 0xffffffff when the text has none. Throws OdpParseError. */
export function parseOdpFlow(text: string, port?: PortLookup): OdpMatch {
  const parser = new KeyParser(port);
  // Blanks before a value do not count.
  parser.parse(text.replaceAll(/=\s+/g, '='));
  return parser.finish();
}

/** One attribute alone, as in `set(…)`: fields that are not named have no mask. */
export function parseKeyAttr(text: string): Match {
  const parser = new KeyParser(undefined);
  parser.parse(text);
  return parser.match;
}
