import { formatIpv4, formatIpv6, formatMac } from '../base/address.ts';
import type { OdpPort } from '../base/types.ts';
import type { DpAction, DpConntrack, DpNat, DpUserdata } from './dpif.ts';
import { formatOdpHeader, formatVlanTci, mplsLseText, type OdpTextOptions } from './odp-text.ts';
import { formatGeneveOptions, formatTunnelAction, hexBytes } from './odp-tunnel-text.ts';

/** Text of datapath actions as `ovs-appctl dpctl/dump-flows` writes it (ovs-dpctl(8)). */

const hex = (n: number): string => (n === 0 ? '0' : `0x${(n >>> 0).toString(16)}`);

const portText = (port: number, opts: OdpTextOptions): string => opts.portName?.(port as OdpPort) ?? `${port}`;

function formatUserdata(u: DpUserdata, opts: OdpTextOptions): string {
  switch (u.kind) {
    case 'slow_path':
      return `,slow_path(${u.reason})`;
    case 'sflow':
      return `,sFlow(vid=${u.vlanTci & 0xfff},pcp=${u.vlanTci >>> 13},output=${u.output})`;
    case 'flow_sample': {
      const { probability, collectorSetId, obsDomainId, obsPointId, outputOdpPort, direction } = u;
      return (
        `,flow_sample(probability=${probability},collector_set_id=${collectorSetId},obs_domain_id=${obsDomainId},` +
        `obs_point_id=${obsPointId},output_port=${portText(outputOdpPort, opts)}${direction ? `,${direction}` : ''})`
      );
    }
    case 'ipfix':
      return `,ipfix(output_port=${portText(u.outputOdpPort, opts)})`;
    case 'controller': {
      // The cookie is written in printf's %#x form; the recirculation id names the saved state of the pipeline.
      const rule = u.cookie === 0n ? '0' : `0x${u.cookie.toString(16)}`;
      return (
        `,controller(reason=${u.reason},dont_send=${u.dontSend ? 1 : 0},continuation=${u.continuation ? 1 : 0},` +
        `recirc_id=${u.recircId ?? 0},rule_cookie=${rule},controller_id=${u.controllerId},max_len=${u.maxLen})`
      );
    }
  }
}

function formatUserspace(a: Extract<DpAction, { type: 'userspace' }>, opts: OdpTextOptions): string {
  const tunnel = a.tunnelOutPort === undefined ? '' : `,tunnel_out_port=${portText(a.tunnelOutPort, opts)}`;
  return `userspace(pid=0${formatUserdata(a.userdata, opts)}${a.withActions ? ',actions' : ''}${tunnel})`;
}

const addressText = (b: Uint8Array): string =>
  b.length === 4 ? formatIpv4(Buffer.from(b).readUInt32BE()) : formatIpv6(b);

function formatNatRange(nat: DpNat): string {
  if (!nat.ipMin) return '';
  const one = (b: Uint8Array) => (b.length === 16 && nat.portMin ? `[${addressText(b)}]` : addressText(b));
  let text = `=${one(nat.ipMin)}`;
  if (nat.ipMax?.some((v) => v !== 0) && Buffer.compare(nat.ipMax, nat.ipMin) !== 0) text += `-${one(nat.ipMax)}`;
  if (!nat.portMin) return text;
  text += `:${nat.portMin}`;
  return nat.portMax && nat.portMax !== nat.portMin ? `${text}-${nat.portMax}` : text;
}

function formatNat(nat: DpNat): string {
  if (!nat.type) return 'nat';
  const flags = [...(nat.persistent ? ['persistent'] : []), ...(nat.ports ? [nat.ports] : [])];
  return `nat(${[nat.type + formatNatRange(nat), ...flags].join(',')})`;
}

function formatConntrack(ct: DpConntrack): string {
  const parts: string[] = [];
  if (ct.commit && !ct.force) parts.push('commit');
  if (ct.force) parts.push('force_commit');
  if (ct.zone) parts.push(`zone=${ct.zone}`);
  if (ct.mark) parts.push(`mark=${hex(ct.mark.value)}/${hex(ct.mark.mask)}`);
  if (ct.labels) {
    const all = ct.labels.mask.every((v) => v === 0xff);
    parts.push(`label=${hexBytes(ct.labels.value)}${all ? '' : `/${hexBytes(ct.labels.mask)}`}`);
  }
  if (ct.helper) parts.push(`helper=${ct.helper}`);
  if (ct.timeout) parts.push(`timeout=${ct.timeout}`);
  if (ct.nat) parts.push(formatNat(ct.nat));
  return parts.length ? `ct(${parts.join(',')})` : 'ct';
}

/** RFC 8300: version, flags, TTL and length in two bytes, MD type, next protocol, service path. */
function formatPushNsh(nsh: Uint8Array): string {
  const b = Buffer.from(nsh);
  const first = b.readUInt16BE(0);
  const path = b.readUInt32BE(4);
  const head =
    `flags=${(first >>> 12) & 3},ttl=${(first >>> 6) & 63},mdtype=${b[2]! & 15},np=${b[3]},` +
    `spi=0x${(path >>> 8).toString(16)},si=${path & 255}`;
  if ((b[2]! & 15) === 1) {
    const contexts = [0, 1, 2, 3].map((i) => `,c${i + 1}=0x${b.readUInt32BE(8 + i * 4).toString(16)}`);
    return `push_nsh(${head}${contexts.join('')})`;
  }
  if ((b[2]! & 15) === 2) return `push_nsh(${head},md2=${hexBytes(b.subarray(8))})`;
  return `push_nsh(${head},<error: unknown mdtype>)`;
}

/** OVS_VPORT_TYPE_* */
const TUNNEL_TYPES: Readonly<Record<string, number>> = {
  gre: 3,
  vxlan: 4,
  geneve: 5,
  lisp: 105,
  stt: 106,
  erspan: 107,
  ip6erspan: 108,
  ip6gre: 109,
  gtpu: 110,
};

const hex4 = (n: number): string => `0x${n.toString(16).padStart(4, '0')}`;

/** The outer headers of `tnl_push`. */
function formatTunnelHeader(type: string, header: Uint8Array): string {
  const b = Buffer.from(header);
  const ethType = b.readUInt16BE(12);
  const eth = `eth(dst=${formatMac(b.subarray(0, 6))},src=${formatMac(b.subarray(6, 12))},dl_type=${hex4(ethType)})`;
  const [ip, l4] = ethType === 0x0800 ? [outerIpv4(b), 34] : [outerIpv6(b), 54];
  return `header(size=${b.length},type=${TUNNEL_TYPES[type] ?? 0},${eth},${ip},${outerTunnel(type, b.subarray(l4))})`;
}

function outerIpv4(b: Buffer): string {
  const [src, dst] = [b.readUInt32BE(26), b.readUInt32BE(30)];
  return (
    `ipv4(src=${formatIpv4(src)},dst=${formatIpv4(dst)},proto=${b[23]},tos=${hex(b[15]!)},ttl=${b[22]},` +
    `frag=0x${b.readUInt16BE(20).toString(16)})`
  );
}

function outerIpv6(b: Buffer): string {
  const word = b.readUInt32BE(14);
  return (
    `ipv6(src=${formatIpv6(b.subarray(22, 38))},dst=${formatIpv6(b.subarray(38, 54))},label=${word & 0xfffff},` +
    `proto=${b[20]},tclass=0x${((word >>> 20) & 255).toString(16)},hlimit=${b[21]})`
  );
}

function outerTunnel(type: string, b: Buffer): string {
  const x = (n: number) => `0x${n.toString(16)}`;
  const udp = () => `udp(src=${b.readUInt16BE(0)},dst=${b.readUInt16BE(2)},csum=${x(b.readUInt16BE(6))}),`;
  switch (type) {
    case 'vxlan':
      return `${udp()}vxlan(flags=${x(b.readUInt32BE(8))},vni=${x(b.readUInt32BE(12) >>> 8)})`;
    case 'geneve':
      return `${udp()}${outerGeneve(b.subarray(8))}`;
    case 'gtpu':
      return `${udp()}gtpu(flags=${x(b[8]!)},msgtype=${b[9]},teid=${x(b.readUInt32BE(12))})`;
    case 'erspan':
    case 'ip6erspan':
      return outerErspan(b);
    default:
      return outerGre(b);
  }
}

function outerGeneve(b: Buffer): string {
  const size = (b[0]! & 63) * 4;
  const options = [];
  for (let at = 8; at + 4 <= 8 + size; ) {
    const length = (b[at + 3]! & 31) * 4;
    options.push({ optClass: b.readUInt16BE(at), type: b[at + 2]!, data: b.subarray(at + 4, at + 4 + length) });
    at += 4 + length;
  }
  const flags = (b[1]! & 0x80 ? 'oam,' : '') + (b[1]! & 0x40 ? 'crit,' : '');
  const tail = options.length ? `,options(${formatGeneveOptions(options)})` : '';
  return `geneve(${flags}vni=0x${(b.readUInt32BE(4) >>> 8).toString(16)}${tail})`;
}

function outerGre(b: Buffer): string {
  const flags = b.readUInt16BE(0);
  let text = `gre((flags=0x${flags.toString(16)},proto=0x${b.readUInt16BE(2).toString(16)})`;
  let at = 4;
  if (flags & 0x8000) {
    text += `,csum=0x${b.readUInt16BE(at).toString(16)}`;
    at += 4;
  }
  for (const [bit, name] of [
    [0x2000, 'key'],
    [0x1000, 'seq'],
  ] as const) {
    if (!(flags & bit)) continue;
    text += `,${name}=0x${b.readUInt32BE(at).toString(16)}`;
    at += 4;
  }
  return `${text})`;
}

/** GRE with a sequence number, then the ERSPAN header (draft-foschiano-erspan). */
function outerErspan(b: Buffer): string {
  const word = b.readUInt32BE(8);
  const sid = `sid=0x${(word & 0x3ff).toString(16)}`;
  if (word >>> 28 === 1) return `erspan(ver=1,${sid},idx=0x${b.readUInt32BE(12).toString(16)})`;
  const last = b.readUInt16BE(18);
  return `erspan(ver=2,${sid},dir=${(last >>> 3) & 1},hwid=0x${((last >>> 4) & 63).toString(16)})`;
}

function formatAction(a: DpAction, opts: OdpTextOptions): string {
  switch (a.type) {
    case 'output':
      return portText(a.port, opts);
    case 'userspace':
      return formatUserspace(a, opts);
    case 'set':
      return `set(${formatOdpHeader(a.attr, a.key, a.mask)})`;
    case 'set_tunnel':
      return `set(${formatTunnelAction(a.tunnel)})`;
    case 'push_vlan':
      return `push_vlan(${a.tpid === 0x8100 ? '' : `tpid=${hex4(a.tpid)},`}${formatVlanTci(a.tci, 0xffff)})`;
    case 'push_mpls':
      return `push_mpls(${mplsLseText(a.lse)},eth_type=0x${a.ethertype.toString(16)})`;
    case 'add_mpls':
      return `add_mpls(${mplsLseText(a.lse)},eth_type=0x${a.ethertype.toString(16)})`;
    case 'pop_mpls':
      return `pop_mpls(eth_type=0x${a.ethertype.toString(16)})`;
    case 'push_eth':
      return `push_eth(src=${formatMac(a.src)},dst=${formatMac(a.dst)})`;
    case 'push_nsh':
      return formatPushNsh(a.nsh);
    case 'pop_nsh':
      return 'pop_nsh()';
    case 'ct':
      return formatConntrack(a);
    case 'recirc':
      return `recirc(${hex(a.recircId)})`;
    case 'hash':
      return `hash(${a.algorithm}(${a.basis}))`;
    case 'trunc':
      return `trunc(${a.maxLen})`;
    case 'meter':
      return `meter(${a.meterId})`;
    case 'lb_output':
      return `lb_output(${a.bondId})`;
    case 'tunnel_push': {
      const header = formatTunnelHeader(a.tunnelType, a.header);
      return `tnl_push(tnl_port(${portText(a.tunnelPort, opts)}),${header},out_port(${portText(a.outPort, opts)}))`;
    }
    case 'tunnel_pop':
      return `tnl_pop(${portText(a.port, opts)})`;
    case 'clone':
      return `clone(${formatOdpActions(a.actions, opts)})`;
    case 'sample':
      return `sample(sample=${((100 * a.probability) / 0xffffffff).toFixed(1)}%,actions(${formatOdpActions(a.actions, opts)}))`;
    case 'check_pkt_len':
      return `check_pkt_len(size=${a.pktLen},gt(${formatOdpActions(a.ifGreater, opts)}),le(${formatOdpActions(a.ifLessEqual, opts)}))`;
    case 'drop':
    case 'pop_vlan':
    case 'pop_eth':
    case 'ct_clear':
      return a.type;
  }
}

export function formatOdpActions(actions: readonly DpAction[], opts: OdpTextOptions = {}): string {
  return actions.length ? actions.map((a) => formatAction(a, opts)).join(',') : 'drop';
}
