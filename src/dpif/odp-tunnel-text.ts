import { formatIpv4, formatIpv6 } from '../base/address.ts';
import type { FlowFields } from '../gen/flow.ts';
import {
  type DpTunnel,
  type GeneveOption,
  TUNNEL_F_CSUM,
  TUNNEL_F_DONT_FRAGMENT,
  TUNNEL_F_KEY,
  TUNNEL_F_OAM,
} from './dpif.ts';

/** Text of tunnel metadata, in a flow key and in a `set(tunnel(…))`. */

export interface MaskedGeneveOption {
  key: GeneveOption;
  /** Absent: exact. */
  mask?: GeneveOption;
}

/** Options of a Geneve header that a flow key holds; the table that numbers them belongs to a bridge. */
export type GeneveOfKey = (key: FlowFields, mask: FlowFields | undefined) => MaskedGeneveOption[];

export const TUNNEL_FLAG_NAMES: readonly (readonly [number, string])[] = [
  [TUNNEL_F_OAM, 'oam'],
  [TUNNEL_F_DONT_FRAGMENT, 'df'],
  [TUNNEL_F_CSUM, 'csum'],
  [TUNNEL_F_KEY, 'key'],
];
const ALL_FLAGS = 15;

const hex = (n: number): string => (n === 0 ? '0' : `0x${(n >>> 0).toString(16)}`);
const isZero = (b: Uint8Array): boolean => b.every((v) => v === 0);
const isOnes = (b: Uint8Array): boolean => b.every((v) => v === 0xff);

/** As printf's 0x without leading zeros; all zero is 0. */
export function hexBytes(b: Uint8Array): string {
  const digits = Buffer.from(b)
    .toString('hex')
    .replace(/^(00)+/, '')
    .replace(/^0/, '');
  return digits === '' ? '0' : `0x${digits}`;
}

/** `name=value[/mask],`, empty when it is wildcarded and `verbose` is not set. `mask` undefined: exact, `all`: what exact looks like. */
function part(name: string, value: string, mask: number | undefined, all: number, verbose: boolean): string {
  if (mask === 0 && !verbose) return '';
  return `${name}=${value}${mask === undefined || mask === all ? '' : `/${hex(mask)}`},`;
}

function addressPart(name: string, value: Uint8Array, mask: Uint8Array | undefined, verbose: boolean): string {
  if (mask && isZero(mask) && !verbose) return '';
  const text = (b: Uint8Array) => (b.length === 4 ? formatIpv4(Buffer.from(b).readUInt32BE()) : formatIpv6(b));
  return `${name}=${text(value)}${!mask || isOnes(mask) ? '' : `/${text(mask)}`},`;
}

const chomp = (text: string): string => (text.endsWith(',') ? text.slice(0, -1) : text);

/** `a|b` where the mask is `all`, `+a-b` otherwise. */
export function formatFlags(
  names: readonly (readonly [number, string])[],
  flags: number,
  mask: number | undefined,
  all: number,
): string {
  if (mask === undefined || mask === all) {
    const on = names.filter(([bit]) => flags & bit).map(([, name]) => name);
    const bad = flags & ~names.reduce((sum, [bit]) => sum | bit, 0);
    return [...on, ...(bad ? [hex(bad)] : [])].join('|') || '0';
  }
  if (mask === 0) return '0/0';
  return names
    .filter(([bit]) => mask & bit)
    .map(([bit, name]) => (flags & bit ? '+' : '-') + name)
    .join('');
}

function formatGeneve(options: readonly MaskedGeneveOption[], verbose: boolean): string {
  return options
    .map(({ key, mask }) => {
      const size = key.data.length;
      let text =
        part('class', hex(key.optClass), mask?.optClass, 0xffff, verbose) +
        part('type', hex(key.type), mask?.type, 0xff, verbose) +
        part('len', `${size}`, undefined, 0xff, verbose);
      if (size && (verbose || !mask || !isZero(mask.data))) {
        text += hexBytes(key.data);
        if (mask && !isOnes(mask.data)) text += `/${hexBytes(mask.data)}`;
      }
      return `{${chomp(text)}}`;
    })
    .join('');
}

export const formatGeneveOptions = (options: readonly GeneveOption[]): string =>
  formatGeneve(
    options.map((key) => ({ key })),
    false,
  );

function formatExtensions(key: FlowFields, mask: FlowFields | undefined, verbose: boolean): string {
  let text = '';
  if (key.tunGbpId || key.tunGbpFlags) {
    const gbp =
      part('id', `${key.tunGbpId}`, mask?.tunGbpId, 0xffff, verbose) +
      part('flags', hex(key.tunGbpFlags), mask?.tunGbpFlags, 0xff, verbose);
    text += `vxlan(gbp(${chomp(gbp)})),`;
  }
  return text;
}

function formatErspan(key: FlowFields, mask: FlowFields | undefined, verbose: boolean): string {
  const ver = key.tunErspanVer;
  if (ver !== 1 && ver !== 2) return '';
  let text = part('ver', `${ver}`, mask?.tunErspanVer, 0xff, verbose);
  if (ver === 1) text += `idx=${hex(key.tunErspanIdx)}${mask ? `/${hex(mask.tunErspanIdx)}` : ''},`;
  else
    text +=
      part('dir', `${key.tunErspanDir}`, mask?.tunErspanDir, 0xff, verbose) +
      part('hwid', hex(key.tunErspanHwid), mask?.tunErspanHwid, 0xff, verbose);
  return `erspan(${chomp(text)}),`;
}

function formatGtpu(key: FlowFields, mask: FlowFields | undefined, verbose: boolean): string {
  if (!key.tunGtpuFlags || !key.tunGtpuMsgtype) return '';
  const text =
    part('flags', hex(key.tunGtpuFlags), mask?.tunGtpuFlags, 0xff, verbose) +
    part('msgtype', `${key.tunGtpuMsgtype}`, mask?.tunGtpuMsgtype, 0xff, verbose);
  return `gtpu(${chomp(text)}),`;
}

const bytes4 = (n: number): Uint8Array => Uint8Array.of(n >>> 24, n >>> 16, n >>> 8, n);

/** Addresses and id: those that the key has. */
function formatOuter(key: FlowFields, mask: FlowFields | undefined, verbose: boolean): string {
  let text = '';
  if ((key.tunId || key.tunFlags & TUNNEL_F_KEY) && (verbose || !mask || mask.tunId)) {
    const full = !mask || mask.tunId === 0xffff_ffff_ffff_ffffn;
    const tail = full ? '' : `/${mask.tunId === 0n ? '0' : `0x${mask.tunId.toString(16)}`}`;
    text += `tun_id=0x${key.tunId.toString(16)}${tail},`;
  }
  if (key.tunSrc) text += addressPart('src', bytes4(key.tunSrc), mask && bytes4(mask.tunSrc), verbose);
  if (key.tunDst) text += addressPart('dst', bytes4(key.tunDst), mask && bytes4(mask.tunDst), verbose);
  if (!isZero(key.tunIpv6Src)) text += addressPart('ipv6_src', key.tunIpv6Src, mask?.tunIpv6Src, verbose);
  if (!isZero(key.tunIpv6Dst)) text += addressPart('ipv6_dst', key.tunIpv6Dst, mask?.tunIpv6Dst, verbose);
  if (key.tunTos) text += part('tos', hex(key.tunTos), mask?.tunTos, 0xff, verbose);
  text += part('ttl', `${key.tunTtl}`, mask?.tunTtl, 0xff, verbose);
  if (key.tunTpSrc) text += part('tp_src', `${key.tunTpSrc}`, mask?.tunTpSrc, 0xffff, verbose);
  if (key.tunTpDst) text += part('tp_dst', `${key.tunTpDst}`, mask?.tunTpDst, 0xffff, verbose);
  return text;
}

function formatKeyFlags(key: FlowFields, mask: FlowFields | undefined, verbose: boolean): string {
  const hasKey = key.tunId !== 0n || (key.tunFlags & TUNNEL_F_KEY) !== 0;
  const flags = (key.tunFlags & ~TUNNEL_F_KEY & ALL_FLAGS) | (hasKey ? TUNNEL_F_KEY : 0);
  if (!mask) return `flags(${formatFlags(TUNNEL_FLAG_NAMES, flags, undefined, ALL_FLAGS)})`;
  const maskFlags = (mask.tunFlags & ~TUNNEL_F_KEY & ALL_FLAGS) | (hasKey ? TUNNEL_F_KEY : 0);
  if (!maskFlags && !verbose) return '';
  return `flags(${formatFlags(TUNNEL_FLAG_NAMES, flags, maskFlags, ALL_FLAGS)})`;
}

/** True when the packets of `key` came out of a tunnel. */
export const hasTunnel = (key: FlowFields): boolean =>
  key.tunDst !== 0 || key.tunSrc !== 0 || !isZero(key.tunIpv6Dst) || !isZero(key.tunIpv6Src);

/** `tunnel(…)` of a flow key; `mask` undefined: exact. */
export function formatTunnelKey(
  key: FlowFields,
  mask: FlowFields | undefined,
  verbose: boolean,
  geneve?: GeneveOfKey,
): string {
  const options = geneve?.(key, mask) ?? [];
  const text =
    formatOuter(key, mask, verbose) +
    formatExtensions(key, mask, verbose) +
    (options.length ? `geneve(${formatGeneve(options, verbose)}),` : '') +
    formatErspan(key, mask, verbose) +
    formatGtpu(key, mask, verbose) +
    formatKeyFlags(key, mask, verbose);
  return `tunnel(${chomp(text)})`;
}

/** `tunnel(…)` of a `set` action. */
export function formatTunnelAction(t: DpTunnel): string {
  const parts: string[] = [];
  const hasKey = t.tunId !== 0n || (t.flags & TUNNEL_F_KEY) !== 0;
  if (hasKey) parts.push(`tun_id=0x${t.tunId.toString(16)}`);
  const six = t.src.length === 16 || t.dst.length === 16 ? 'ipv6_' : '';
  const address = (name: string, b: Uint8Array) => {
    if (!isZero(b)) parts.push(chomp(addressPart(`${six}${name}`, b, undefined, true)));
  };
  address('src', t.src);
  address('dst', t.dst);
  if (t.tos) parts.push(`tos=${hex(t.tos)}`);
  parts.push(`ttl=${t.ttl}`);
  if (t.tpSrc) parts.push(`tp_src=${t.tpSrc}`);
  if (t.tpDst) parts.push(`tp_dst=${t.tpDst}`);
  if (t.gbp && (t.gbp.id || t.gbp.flags)) parts.push(`vxlan(gbp(id=${t.gbp.id},flags=${hex(t.gbp.flags)}))`);
  if (t.geneve?.length) parts.push(`geneve(${formatGeneveOptions(t.geneve)})`);
  if (t.erspan?.ver === 1) parts.push(`erspan(ver=1,idx=${hex(t.erspan.idx)})`);
  else if (t.erspan) parts.push(`erspan(ver=2,dir=${t.erspan.dir},hwid=${hex(t.erspan.hwid)})`);
  if (t.gtpu) parts.push(`gtpu(flags=${hex(t.gtpu.flags)},msgtype=${t.gtpu.msgType})`);
  const flags = (t.flags & ~TUNNEL_F_KEY) | (hasKey ? TUNNEL_F_KEY : 0);
  parts.push(`flags(${formatFlags(TUNNEL_FLAG_NAMES, flags, undefined, ALL_FLAGS)})`);
  return `tunnel(${parts.join(',')})`;
}
