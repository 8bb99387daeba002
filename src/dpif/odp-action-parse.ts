import { parseIpv4, parseIpv6, parseMac } from '../base/address.ts';
import type { OdpPort } from '../base/types.ts';
import { type DpAction, type DpConntrack, type DpNat, type DpTunnel, type DpUserdata, TUNNEL_F_RAW } from './dpif.ts';
import { getOdpHeader, odpAttrByText } from './odp-keys.ts';
import {
  bytesOfHex,
  OdpParseError,
  type PortLookup,
  parseKeyAttr,
  parseNumber,
  parseOdpFlow,
  splitCall,
  splitTop,
} from './odp-parse.ts';

/** Parses datapath actions as ovs-dpctl(8) writes them, the inverse of odp-action-text. */

/** Parses a list of actions. Throws OdpParseError. */
export function parseOdpActions(text: string, port?: PortLookup): DpAction[] {
  return /^\s*drop\s*$/i.test(text) ? [] : splitTop(text).map((item) => parseAction(item, port));
}

function requirePort(name: string, port: PortLookup | undefined): OdpPort {
  if (/^(0x[0-9a-f]+|\d+)$/i.test(name)) return Number(name) as OdpPort;
  const p = port?.(name);
  if (p === undefined) throw new OdpParseError(`${name}: no port by that name`);
  return p;
}

const WORDS: Readonly<Record<string, DpAction>> = {
  pop_vlan: { type: 'pop_vlan' },
  pop_eth: { type: 'pop_eth' },
  'pop_nsh()': { type: 'pop_nsh' },
  ct_clear: { type: 'ct_clear' },
  ct: { type: 'ct', commit: false, force: false, zone: 0 },
  drop: { type: 'drop', reason: 'drop' },
};

function parseAction(item: string, port: PortLookup | undefined): DpAction {
  const word = WORDS[item];
  if (word) return word;
  const { name, body } = splitCall(item);
  if (body === undefined) return { type: 'output', port: requirePort(name, port) };
  const parse = PARSERS[name];
  if (!parse) throw new OdpParseError(`${item}: unknown action`);
  return parse(body, port);
}

type Parser = (body: string, port: PortLookup | undefined) => DpAction;

const PARSERS: Readonly<Record<string, Parser>> = {
  set: (body) => parseSet(body),
  push_vlan: (body) => parsePushVlan(body),
  push_mpls: (body) => ({ type: 'push_mpls', ...parseLabel(body) }),
  add_mpls: (body) => ({ type: 'add_mpls', ...parseLabel(body), l2: false }),
  pop_mpls: (body) => ({ type: 'pop_mpls', ethertype: parseNumber(values(body).get('eth_type') ?? '', 0xffff) }),
  push_eth: (body) => parsePushEth(body),
  push_nsh: (body) => ({ type: 'push_nsh', nsh: parsePushNsh(body) }),
  ct: (body) => ({ type: 'ct', ...parseConntrack(body) }),
  recirc: (body) => ({ type: 'recirc', recircId: parseNumber(body) }),
  hash: (body) => parseHash(body),
  trunc: (body) => ({ type: 'trunc', maxLen: parseNumber(body) }),
  meter: (body) => ({ type: 'meter', meterId: parseNumber(body) }),
  lb_output: (body) => ({ type: 'lb_output', bondId: parseNumber(body) }),
  tnl_pop: (body, port) => ({ type: 'tunnel_pop', port: requirePort(body, port) }),
  clone: (body, port) => ({ type: 'clone', actions: parseOdpActions(body, port) }),
  sample: (body, port) => parseSample(body, port),
  check_pkt_len: (body, port) => parseCheckPktLen(body, port),
  userspace: (body) => parseUserspace(body),
};

/** `a=1,b=2` as a map; names without a value have an empty one. */
function values(body: string): Map<string, string> {
  return new Map(
    splitTop(body).map((item) => {
      const eq = item.indexOf('=');
      return eq < 0 ? [item, ''] : [item.slice(0, eq), item.slice(eq + 1)];
    }),
  );
}

function parseSet(body: string): DpAction {
  const { name, body: inner } = splitCall(body);
  if (inner === undefined) throw new OdpParseError(`${body}: can't be set`);
  if (name === 'tunnel') return { type: 'set_tunnel', tunnel: parseTunnel(body) };
  const attr = odpAttrByText.get(name);
  if (!attr) throw new OdpParseError(`${body}: can't be set`);
  const match = parseKeyAttr(body);
  return { type: 'set', attr, key: getOdpHeader(match.flow, attr, false), mask: getOdpHeader(match.wc, attr, true) };
}

const be32Bytes = (n: number): Uint8Array => Uint8Array.of(n >>> 24, n >>> 16, n >>> 8, n);

function parseTunnel(text: string): DpTunnel {
  const { flow, geneve } = parseOdpFlow(text);
  const six = flow.tunDst === 0 && flow.tunIpv6Dst.some((v) => v !== 0);
  return {
    tunId: flow.tunId,
    src: six ? flow.tunIpv6Src.slice() : be32Bytes(flow.tunSrc),
    dst: six ? flow.tunIpv6Dst.slice() : be32Bytes(flow.tunDst),
    tos: flow.tunTos,
    ttl: flow.tunTtl,
    tpSrc: flow.tunTpSrc,
    tpDst: flow.tunTpDst,
    flags: flow.tunFlags & ~TUNNEL_F_RAW,
    ...((flow.tunGbpId || flow.tunGbpFlags) && { gbp: { id: flow.tunGbpId, flags: flow.tunGbpFlags } }),
    ...(flow.tunErspanVer === 1 && { erspan: { ver: 1, idx: flow.tunErspanIdx } }),
    ...(flow.tunErspanVer === 2 && { erspan: { ver: 2, dir: flow.tunErspanDir, hwid: flow.tunErspanHwid } }),
    ...(flow.tunGtpuMsgtype && { gtpu: { flags: flow.tunGtpuFlags, msgType: flow.tunGtpuMsgtype } }),
    ...(geneve && { geneve: geneve.map(({ key }) => key) }),
  };
}

function parsePushVlan(body: string): DpAction {
  const v = values(body);
  const vid = parseNumber(v.get('vid') ?? '0', 0xfff);
  const pcp = parseNumber(v.get('pcp') ?? '0', 7);
  const cfi = parseNumber(v.get('cfi') ?? '1', 1);
  return {
    type: 'push_vlan',
    tpid: parseNumber(v.get('tpid') ?? '0x8100', 0xffff),
    tci: vid | (pcp << 13) | (cfi << 12),
  };
}

function parseLabel(body: string): { ethertype: number; lse: number } {
  const v = values(body);
  const n = (name: string, max: number) => parseNumber(v.get(name) ?? '0', max);
  const lse = ((n('label', 0xfffff) << 12) | (n('tc', 7) << 9) | (n('bos', 1) << 8) | n('ttl', 255)) >>> 0;
  return { ethertype: parseNumber(v.get('eth_type') ?? '', 0xffff), lse };
}

function parsePushEth(body: string): DpAction {
  const v = values(body);
  const [src, dst] = [parseMac(v.get('src') ?? ''), parseMac(v.get('dst') ?? '')];
  if (!src || !dst) throw new OdpParseError(`push_eth(${body}): bad address`);
  return { type: 'push_eth', src, dst };
}

/** RFC 8300, MD type 1 unless told else. */
function parsePushNsh(body: string): Uint8Array {
  const v = values(body);
  const n = (name: string, by: string, max: number) => parseNumber(v.get(name) ?? by, max);
  const mdtype = n('mdtype', '1', 2);
  const md2 = v.get('md2') === undefined ? new Uint8Array(0) : bytesOfHex(v.get('md2')!);
  const context =
    mdtype === 1
      ? [1, 2, 3, 4].flatMap((i) => [...be32Bytes(n(`c${i}`, '0', 0xffffffff))])
      : [...md2, ...new Array<number>((4 - (md2.length % 4)) % 4).fill(0)];
  const out = Buffer.alloc(8 + context.length);
  out.writeUInt16BE((n('flags', '0', 3) << 12) | (n('ttl', '63', 63) << 6) | (out.length / 4), 0);
  out[2] = mdtype;
  out[3] = n('np', '3', 255);
  out.writeUInt32BE(((n('spi', '0', 0xffffff) << 8) | n('si', '255', 255)) >>> 0, 4);
  out.set(context, 8);
  return out;
}

function masked(text: string): [string, string | undefined] {
  const slash = text.indexOf('/');
  return slash < 0 ? [text, undefined] : [text.slice(0, slash), text.slice(slash + 1)];
}

function parseConntrack(body: string): DpConntrack {
  const ct: DpConntrack = { commit: false, force: false, zone: 0 };
  for (const item of splitTop(body)) {
    const eq = item.indexOf('=');
    const [name, value] = eq < 0 || item.startsWith('nat') ? [item, ''] : [item.slice(0, eq), item.slice(eq + 1)];
    const [v, m] = masked(value);
    if (name === 'commit') ct.commit = true;
    else if (name === 'force_commit') ct.force = ct.commit = true;
    else if (name === 'zone') ct.zone = parseNumber(value, 0xffff);
    else if (name === 'mark') ct.mark = { value: parseNumber(v), mask: m === undefined ? 0xffffffff : parseNumber(m) };
    else if (name === 'label')
      ct.labels = {
        value: bytesOfHex(v, 16),
        mask: m === undefined ? new Uint8Array(16).fill(0xff) : bytesOfHex(m, 16),
      };
    else if (name === 'helper' && value) ct.helper = value;
    else if (name === 'timeout' && value) ct.timeout = value;
    else if (name.startsWith('nat')) ct.nat = parseNat(item);
    else throw new OdpParseError(`${item}: unknown option of ct`);
  }
  return ct;
}

function parseAddress(text: string): Uint8Array {
  const v4 = parseIpv4(text);
  const bytes = v4 === undefined ? parseIpv6(text.replace(/^\[|\]$/g, '')) : be32Bytes(v4);
  if (!bytes) throw new OdpParseError(`${text}: bad address`);
  return bytes;
}

function parseNat(item: string): DpNat {
  const nat: DpNat = {};
  for (const part of splitTop(splitCall(item).body ?? '')) {
    const [, type, range] = /^(src|dst)(?:=(.*))?$/.exec(part) ?? [];
    if (type) {
      nat.type = type as 'src' | 'dst';
      if (range) parseNatRange(range, nat);
    } else if (part === 'persistent') nat.persistent = true;
    else if (part === 'hash' || part === 'random') nat.ports = part;
    else throw new OdpParseError(`${part}: unknown option of nat`);
  }
  return nat;
}

function parseNatRange(text: string, nat: DpNat): void {
  const [, from, to, low, high] =
    /^(\[[0-9a-f:.]+\]|\d+\.\d+\.\d+\.\d+|[0-9a-f:]+)(?:-(\[[0-9a-f:.]+\]|\d+\.\d+\.\d+\.\d+|[0-9a-f:]+))?(?::(\d+)(?:-(\d+))?)?$/i.exec(
      text,
    ) ?? [];
  if (!from) throw new OdpParseError(`${text}: bad range`);
  nat.ipMin = parseAddress(from);
  if (to) nat.ipMax = parseAddress(to);
  if (low) nat.portMin = parseNumber(low, 0xffff);
  if (high) nat.portMax = parseNumber(high, 0xffff);
}

function parseHash(body: string): DpAction {
  const [, algorithm, basis] = /^(l4|sym_l4)\((\d+)\)$/.exec(body) ?? [];
  if (!algorithm) throw new OdpParseError(`hash(${body}): unknown algorithm`);
  return { type: 'hash', algorithm: algorithm as 'l4' | 'sym_l4', basis: Number(basis) };
}

function parseSample(body: string, port: PortLookup | undefined): DpAction {
  const [, percent, inner] = /^sample=([0-9.]+)%,actions\((.*)\)$/s.exec(body) ?? [];
  const p = Number(percent);
  if (inner === undefined || !(p >= 0 && p <= 100)) throw new OdpParseError(`sample(${body}): bad sample`);
  return {
    type: 'sample',
    probability: Math.floor(0xffffffff * (p / 100) + 0.5),
    actions: parseOdpActions(inner, port),
  };
}

function parseCheckPktLen(body: string, port: PortLookup | undefined): DpAction {
  const [size, gt, le] = splitTop(body);
  const [, bytes] = /^size=(\d+)$/.exec(size ?? '') ?? [];
  const [greater, lessEqual] = [splitCall(gt ?? ''), splitCall(le ?? '')];
  if (!bytes || greater.name !== 'gt' || lessEqual.name !== 'le')
    throw new OdpParseError(`check_pkt_len(${body}): expected size, gt and le`);
  return {
    type: 'check_pkt_len',
    pktLen: parseNumber(bytes, 0xffff),
    ifGreater: parseOdpActions(greater.body ?? '', port),
    ifLessEqual: parseOdpActions(lessEqual.body ?? '', port),
  };
}

const SLOW_PATH = ['cfm', 'bfd', 'lacp', 'stp', 'lldp', 'controller', 'action', 'match'] as const;

function parseUserdata(item: string): DpUserdata {
  const { name, body = '' } = splitCall(item);
  const v = values(body);
  const n = (key: string, max = 0xffffffff) => parseNumber(v.get(key) ?? '0', max);
  const reason = SLOW_PATH.find((r) => r === body);
  if (name === 'slow_path' && reason) return { kind: 'slow_path', reason };
  if (name === 'ipfix') return { kind: 'ipfix', outputOdpPort: n('output_port') };
  if (name === 'sFlow') {
    const tci = n('vid', 0xfff) | (n('pcp', 7) << 13);
    return { kind: 'sflow', vlanTci: tci ? tci | 0x1000 : 0, output: n('output') };
  }
  if (name === 'flow_sample') {
    const direction = (['ingress', 'egress'] as const).find((d) => v.has(d));
    return {
      kind: 'flow_sample',
      probability: n('probability', 0xffff),
      collectorSetId: n('collector_set_id'),
      obsDomainId: n('obs_domain_id'),
      obsPointId: n('obs_point_id'),
      outputOdpPort: n('output_port'),
      ...(direction && { direction }),
    };
  }
  throw new OdpParseError(`${item}: unknown data of userspace`);
}

/** A controller action's state can't be put into text: it is refused. */
function parseUserspace(body: string): DpAction {
  const [pid, data, ...rest] = splitTop(body);
  if (!/^pid=(0x[0-9a-f]+|\d+)$/i.test(pid ?? '') || data === undefined)
    throw new OdpParseError(`userspace(${body}): expected pid and data`);
  const tunnel = rest.find((item) => item.startsWith('tunnel_out_port='));
  return {
    type: 'userspace',
    userdata: parseUserdata(data),
    ...(rest.includes('actions') && { withActions: true }),
    ...(tunnel && { tunnelOutPort: requirePort(tunnel.slice('tunnel_out_port='.length), undefined) }),
  };
}
