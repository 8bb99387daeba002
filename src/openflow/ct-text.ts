import { parseIpv4, parseIpv6 } from './address-text.ts';
import { FlowTextError } from './field-text.ts';
import { parseKeyValues } from './key-value.ts';
import type { CtMatch, CtTuple } from './messages-nicira.ts';
import { strToU8, strToU16 } from './number-text.ts';

/** Tuples of connections, as `ct-flush` takes them: `ct_nw_src=10.0.0.1,ct_nw_proto=17,ct_tp_dst=53`. */

const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;

export const emptyCtMatch = (): CtMatch => ({ ipProto: 0, l3Type: 0, orig: emptyTuple(), reply: emptyTuple() });
const emptyTuple = (): CtTuple => ({ src: new Uint8Array(16), dst: new Uint8Array(16), srcPort: 0, dstPort: 0 });

const failed = (key: string): FlowTextError => new FlowTextError(`failed to parse field ${key}`);

/** Runs a parser whose own words are not shown. */
function orFailed<T>(key: string, parse: () => T): T {
  try {
    return parse();
  } catch {
    throw failed(key);
  }
}

function mapped(ip: Uint8Array): Uint8Array {
  return Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...ip);
}

function address(m: CtMatch, tuple: CtTuple, key: string, value: string): void {
  const v6 = key.startsWith('ct_ipv6');
  const family = v6 ? AF_INET6 : AF_INET;
  const side = key.endsWith('src') ? 'src' : 'dst';
  if (m.l3Type && m.l3Type !== family) throw new FlowTextError(`the L3 protocol does not match ${value}`);
  if (tuple[side].some((b) => b !== 0)) throw new FlowTextError(`${key} is set multiple times`);
  const ip = v6 ? parseIpv6(value) : parseIpv4(value);
  if (!ip) throw failed(key);
  m.l3Type = family;
  tuple[side] = v6 ? ip : mapped(ip);
}

function icmp(m: CtMatch, tuple: CtTuple, key: string, value: string): void {
  if (m.ipProto !== IPPROTO_ICMP && m.ipProto !== IPPROTO_ICMPV6) throw new FlowTextError('invalid L4 fields');
  orFailed(key, () => {
    if (key === 'icmp_type') tuple.icmpType = strToU8(value, key);
    else if (key === 'icmp_code') tuple.icmpCode = strToU8(value, key);
    else tuple.srcPort = strToU16(value, key);
  });
}

/** Reads one side of a connection into `m`. Throws FlowTextError. */
export function parseCtTuple(m: CtMatch, side: 'orig' | 'reply', s: string): void {
  const tuple = m[side];
  for (const { key, value } of parseKeyValues(s)) {
    if (value === '') throw new FlowTextError(`field ${key} missing value`);
    if (/^ct_(nw|ipv6)_(src|dst)$/.test(key)) address(m, tuple, key, value);
    else if (key === 'ct_nw_proto') m.ipProto = orFailed(key, () => strToU8(value, key));
    else if (key === 'ct_tp_src') tuple.srcPort = orFailed(key, () => strToU16(value, key));
    else if (key === 'ct_tp_dst') tuple.dstPort = orFailed(key, () => strToU16(value, key));
    else if (/^icmp_(type|code|id)$/.test(key)) icmp(m, tuple, key, value);
    else throw new FlowTextError(`invalid conntrack tuple field: ${key}`);
  }
  if (!m.ipProto && (tuple.srcPort || tuple.dstPort)) throw new FlowTextError('port is set without protocol');
}
