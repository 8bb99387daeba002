import { parseIpv4, parseIpv6, parseMac } from '../base/address.ts';
import type { OdpPort } from '../base/types.ts';
import { Flow, FlowWildcards, type Match } from '../flow/flow.ts';
import type { DpAction, DpSetAttr } from './dpif.ts';
import { ODP_FRAG_TYPES, ODP_HEADERS, type OdpField, setOdpField } from './odp-keys.ts';

/** Parses datapath flow keys and actions as ovs-dpctl(8) writes them, the inverse of odp-text. */

/** Number of a port named in text; undefined when there is none. */
export type PortLookup = (name: string) => OdpPort | undefined;

export class OdpParseError extends Error {
  override name = 'OdpParseError';
}

/** Splits at commas outside parentheses. */
export function splitTop(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '(') depth++;
    else if (text[i] === ')') depth--;
    else if (text[i] === ',' && depth === 0) {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  parts.push(text.slice(start));
  return parts.map((p) => p.trim()).filter((p) => p !== '');
}

/** `name(body)` taken apart; body undefined without parentheses. */
function splitCall(text: string): { name: string; body: string | undefined } {
  const open = text.indexOf('(');
  if (open < 0) return { name: text, body: undefined };
  if (!text.endsWith(')')) throw new OdpParseError(`${text}: unbalanced parentheses`);
  return { name: text.slice(0, open).trim(), body: text.slice(open + 1, -1) };
}

function parseNumber(text: string, max = 0xffffffff): number {
  const n = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN;
  if (!(n <= max)) throw new OdpParseError(`${text}: not a number in range`);
  return n;
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

const attrByText = new Map<string, DpSetAttr>(
  (Object.keys(ODP_HEADERS) as DpSetAttr[]).map((attr) => [ODP_HEADERS[attr].text, attr]),
);

const TCP_FLAGS = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr', 'ns'];

class KeyParser {
  readonly match: Match = { flow: new Flow(), wc: new FlowWildcards() };
  readonly #port: PortLookup | undefined;
  /** How many `eth_type`s have been seen that a `vlan` followed. */
  #vlans = 0;
  #sawType = false;

  constructor(port: PortLookup | undefined) {
    this.#port = port;
    this.match.flow.inPort = 0xffffffff;
  }

  parse(text: string): void {
    for (const item of splitTop(text)) this.#attribute(item);
  }

  finish(): Match {
    if (!this.#sawType) this.match.flow.dlType = 0x5ff;
    return this.match;
  }

  #attribute(item: string): void {
    const { name, body } = splitCall(item);
    if (item.startsWith('ufid:')) return;
    if (body === undefined) throw new OdpParseError(`${item}: expected name(value)`);
    const attr = attrByText.get(name);
    if (attr === 'mpls') {
      this.#mpls(body);
      return;
    }
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
        [flow.ctState, wc.ctState] = num();
        return;
      case 'ct_zone':
        [flow.ctZone, wc.ctZone] = num(0xffff);
        return;
      case 'ct_mark':
        [flow.ctMark, wc.ctMark] = num();
        return;
      case 'ct_label':
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
      const [name, value] = item.split('=');
      const n = parseNumber((value ?? '').split('/')[0], 0xffff);
      if (name === 'ns') flow.packetType = ((n << 16) | (flow.packetType & 0xffff)) >>> 0;
      else flow.packetType = ((flow.packetType & 0xffff0000) | n) >>> 0;
    }
    wc.packetType = 0xffffffff;
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

  #mpls(body: string): void {
    const shifts: Record<string, number> = { label: 12, tc: 9, bos: 8, ttl: 0 };
    let lse = 0;
    for (const item of splitTop(body)) {
      const [name, text] = item.split('=');
      if (!(name in shifts)) throw new OdpParseError(`${item}: unknown field of mpls`);
      lse |= parseNumber((text ?? '').split('/')[0]) << shifts[name];
    }
    this.match.flow.mplsLse0 = lse >>> 0;
    this.match.wc.mplsLse0 = 0xffffffff;
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
    const { flow, wc } = this.match;
    for (const item of splitTop(body)) {
      const [name, text = ''] = item.split('=');
      const [v, m] = text.split('/');
      if (name === 'tun_id') [flow.tunId, wc.tunId] = [BigInt(v), m ? BigInt(m) : 0xffff_ffff_ffff_ffffn];
      else if (name === 'src') [flow.tunSrc, wc.tunSrc] = [parseIpv4(v) ?? 0, m ? (parseIpv4(m) ?? 0) : 0xffffffff];
      else if (name === 'dst') [flow.tunDst, wc.tunDst] = [parseIpv4(v) ?? 0, m ? (parseIpv4(m) ?? 0) : 0xffffffff];
      else if (name === 'tos') [flow.tunTos, wc.tunTos] = [parseNumber(v, 255), 255];
      else if (name === 'ttl') [flow.tunTtl, wc.tunTtl] = [parseNumber(v, 255), 255];
      else if (!name.startsWith('flags')) throw new OdpParseError(`${item}: unknown field of tunnel`);
    }
  }
}

function tcpFlag(name: string): number {
  const i = TCP_FLAGS.indexOf(name);
  if (i < 0) throw new OdpParseError(`${name}: unknown TCP flag`);
  return 1 << i;
}

/** Parses a flow key. `flow.inPort` is 0xffffffff when the text has none. Throws OdpParseError. */
export function parseOdpFlow(text: string, port?: PortLookup): Match {
  const parser = new KeyParser(port);
  parser.parse(text);
  return parser.finish();
}

/** Parses a list of actions (those without user-space data). Throws OdpParseError. */
export function parseOdpActions(text: string, port?: PortLookup): DpAction[] {
  return text.trim() === 'drop' ? [] : splitTop(text).map((item) => parseAction(item, port));
}

function parseAction(item: string, port: PortLookup | undefined): DpAction {
  const { name, body } = splitCall(item);
  if (body === undefined) {
    if (name === 'pop_vlan') return { type: 'pop_vlan' };
    return { type: 'output', port: (/^\d+$/.test(name) ? Number(name) : requirePort(name, port)) as OdpPort };
  }
  switch (name) {
    case 'set':
      return parseSet(body);
    case 'push_vlan': {
      const match = parseOdpFlow(`eth_type(0x8100),vlan(${body.replace(/tpid=[^,]*,?/, '')})`);
      const tpid = /tpid=(0x[0-9a-f]+)/.exec(body)?.[1] ?? '0x8100';
      return { type: 'push_vlan', tpid: Number(tpid), tci: match.flow.vlanTci0 };
    }
    case 'recirc':
      return { type: 'recirc', recircId: parseNumber(body) };
    case 'trunc':
      return { type: 'trunc', maxLen: parseNumber(body) };
    case 'clone':
      return { type: 'clone', actions: parseOdpActions(body, port) };
    default:
      throw new OdpParseError(`${item}: unknown action`);
  }
}

function requirePort(name: string, port: PortLookup | undefined): OdpPort {
  const p = port?.(name);
  if (p === undefined) throw new OdpParseError(`${name}: no port by that name`);
  return p;
}

function parseSet(body: string): DpAction {
  const { name, body: inner } = splitCall(body);
  const attr = attrByText.get(name);
  if (!attr || inner === undefined) throw new OdpParseError(`${body}: can't be set`);
  const size = ODP_HEADERS[attr].fields.reduce((n, field) => n + field.size, 0);
  const key = new Uint8Array(size);
  const mask = new Uint8Array(size);
  parseHeader(attr, inner, (_field, at, k, m) => {
    key.set(k, at);
    mask.set(m, at);
  });
  return { type: 'set', attr, key, mask };
}
