import { formatIpv4, formatIpv6 } from '../address-text.ts';
import type { CtMatch, CtTuple, IpfixStats, TlvMap } from '../messages-nicira.ts';
import type { Printers } from './printer.ts';
import { counter, hexOf } from './text.ts';

/** Nicira's own: tunnel option tables, conntrack flushes, IPFIX statistics. */

function tlvTable(mappings: readonly TlvMap[]): string {
  const lines = mappings.map(
    (m) =>
      `\n ${hexOf(m.optionClass).padStart(6)}  ${hexOf(m.optionType).padStart(4)}  ${String(m.optionLen).padStart(6)}  tun_metadata${m.index}`,
  );
  return ` mapping table:\n  class  type  length  match field\n ------  ----  ------  --------------${lines.join('')}`;
}

const TLV_COMMANDS = { add: 'ADD', delete: 'DEL', clear: 'CLEAR' } as const;

const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;
const AF_INET = 2;

function isMapped(address: Uint8Array): boolean {
  return address.subarray(0, 10).every((b) => b === 0) && address[10] === 0xff && address[11] === 0xff;
}

const addressText = (address: Uint8Array): string =>
  isMapped(address) ? formatIpv4(address.subarray(12)) : formatIpv6(address);

function tupleText(t: CtTuple, { ipProto, l3Type }: CtMatch): string {
  const ip = l3Type === AF_INET ? 'ct_nw' : 'ct_ipv6';
  const addresses = `${ip}_src=${addressText(t.src)},${ip}_dst=${addressText(t.dst)}`;
  if (ipProto === IPPROTO_ICMP || ipProto === IPPROTO_ICMPV6)
    return `${addresses},icmp_id=${t.srcPort},icmp_type=${t.icmpType ?? 0},icmp_code=${t.icmpCode ?? 0}`;
  return `${addresses},ct_tp_src=${t.srcPort},ct_tp_dst=${t.dstPort}`;
}

/** Both directions of connections, as ct-flush takes them. */
export const formatCtMatch = (m: CtMatch): string =>
  `'${tupleText(m.orig, m)},ct_nw_proto=${m.ipProto}' '${tupleText(m.reply, m)}'`;

function ipfixText(s: IpfixStats, indent: number): string {
  const list = (items: Record<string, bigint>) =>
    Object.entries(items)
      .map(([name, n]) => `${name}=${counter(n)}`)
      .join(', ');
  const seen = list({
    flows: s.totalFlows,
    'current flows': s.currentFlows,
    'sampled pkts': s.pkts,
    'ipv4 ok': s.ipv4Pkts,
    'ipv6 ok': s.ipv6Pkts,
    'tx pkts': s.txPkts,
  });
  const errors = list({
    'pkts errs': s.errorPkts,
    'ipv4 errs': s.ipv4ErrorPkts,
    'ipv6 errs': s.ipv6ErrorPkts,
    'tx errs': s.txErrors,
  });
  return `${seen}\n${' '.repeat(indent)}${errors}\n`;
}

export const NICIRA: Printers = {
  nxt_tlv_table_mod: (m) => `\n ${TLV_COMMANDS[m.command]}${m.command === 'clear' ? '' : tlvTable(m.mappings)}`,
  nxt_tlv_table_reply: (m) => {
    const allocated = m.mappings.reduce((sum, map) => sum + map.optionLen, 0);
    return `\n max option space=${m.maxOptionSpace} max fields=${m.maxFields}\n allocated option space=${allocated}\n\n${tlvTable(m.mappings)}`;
  },
  ct_flush_zone: (m) => ` zone_id=${m.zoneId}`,
  ct_flush: (m) => ` zone=${m.zoneId ?? 0} ${formatCtMatch(m.match)}`,
  ipfix_bridge_stats_reply: (m) => `\n  bridge ipfix: ${ipfixText(m.stats, 16)}`,
  ipfix_flow_stats_reply: (m) => {
    const lines = m.stats.map((s) => `  id ${String(s.collectorSetId).padStart(3)}: ${ipfixText(s, 10)}`);
    return ` ${m.stats.length} ids\n${lines.join('')}`;
  },
};
