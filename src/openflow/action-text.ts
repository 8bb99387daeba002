import { NXAST } from '../../protocols/openflow-actions.ts';
import { formatCt, formatNat } from './action-ct.ts';
import { formatDecap, formatEncap } from './action-encap.ts';
import { formatBundle, formatMultipath } from './action-hash.ts';
import { formatLearn } from './action-learn.ts';
import { formatSample } from './action-sample.ts';
import type { Ofpact, OfpactOf, OfpactType, Subfield } from './actions.ts';
import { formatIpv4, formatMac, hex } from './address-text.ts';
import { formatField, formatSubfield } from './field-text.ts';
import { OFPR_ACTION } from './messages.ts';
import { formatPort, formatTable, type PortNames } from './port.ts';

/** Actions as ovs-ofctl prints them. */

export const OFPR_NAMES = [
  'no_match',
  'action',
  'invalid_ttl',
  'action_set',
  'group',
  'packet_out',
  'explicit_miss',
  'implicit_miss',
] as const;

const ALL64 = 0xffff_ffff_ffff_ffffn;

const ip = (n: number): string => formatIpv4(Uint8Array.of(n >>> 24, n >>> 16, n >>> 8, n));
const hex4 = (n: number): string => `0x${n.toString(16).padStart(4, '0')}`;
const dotted = (b: Uint8Array): string => Array.from(b, (x) => x.toString(16).padStart(2, '0')).join('.');

/** The parts of a load that one `load:` can say: 64 consecutive bits at most. */
function loads(a: OfpactOf<'set_field'>): string {
  const { field: f, mask, value } = a;
  const bit = (b: Uint8Array, i: number) => (b[f.nBytes - 1 - (i >> 3)] >> (i & 7)) & 1;
  const out: string[] = [];
  for (let ofs = 0; ofs < f.nBits; ofs++) {
    if (!bit(mask, ofs)) continue;
    let [nBits, n] = [0, 0n];
    while (nBits < 64 && ofs + nBits < f.nBits && bit(mask, ofs + nBits)) {
      if (bit(value, ofs + nBits)) n |= 1n << BigInt(nBits);
      nBits++;
    }
    out.push(`load:${hex(n)}->${formatSubfield({ field: f, ofs, nBits })}`);
    ofs += nBits - 1;
  }
  return out.join(',');
}

function formatController(a: OfpactOf<'controller'>): string {
  const plain =
    a.reason === OFPR_ACTION && !a.controllerId && !a.userdata?.length && !a.pause && a.meterId === undefined;
  if (plain) return `CONTROLLER:${a.maxLen}`;
  const items: string[] = [];
  if (a.reason !== OFPR_ACTION) items.push(`reason=${OFPR_NAMES[a.reason] ?? a.reason}`);
  if (a.maxLen !== 0xffff) items.push(`max_len=${a.maxLen}`);
  if (a.controllerId) items.push(`id=${a.controllerId}`);
  if (a.userdata?.length) items.push(`userdata=${dotted(a.userdata)}`);
  if (a.pause) items.push('pause');
  if (a.meterId !== undefined) items.push(`meter_id=${a.meterId}`);
  return `controller(${items.join(',')})`;
}

function formatResubmit(a: OfpactOf<'resubmit'>, names: PortNames | undefined): string {
  const own = a.inPort === 0xfffffff8;
  if (!own && a.tableId === 255) return `resubmit:${formatPort(a.inPort, names)}`;
  const table = a.tableId === 255 ? '' : formatTable(a.tableId, names);
  return `resubmit(${own ? '' : formatPort(a.inPort, names)},${table}${a.withCtOrig ? ',ct' : ''})`;
}

function formatOutput(a: OfpactOf<'output'>, names: PortNames | undefined): string {
  const port = formatPort(a.port, names);
  if (a.port === 0xfffffffd) return `CONTROLLER:${a.maxLen}`;
  return a.port < 0xff00 ? `output:${port}` : port;
}

function formatFinTimeout(a: OfpactOf<'fin_timeout'>): string {
  const idle = a.idleTimeout ? [`idle_timeout=${a.idleTimeout}`] : [];
  const hard = a.hardTimeout ? [`hard_timeout=${a.hardTimeout}`] : [];
  return `fin_timeout(${[...idle, ...hard].join(',')})`;
}

/** With the ids of its controllers when they are not the usual one, or came expressly. */
function formatDecTtl({ ids, raw }: OfpactOf<'dec_ttl'>): string {
  const plain = raw !== NXAST.DEC_TTL_CNT_IDS && ids.length === 1 && ids[0] === 0;
  return plain ? 'dec_ttl' : `dec_ttl(${ids.join(',')})`;
}

type Formatters = { [T in OfpactType]?: (a: OfpactOf<T>, names: PortNames | undefined) => string };
const sub = (name: string) => (a: { subfield: Subfield }) => `${name}:${formatSubfield(a.subfield)}`;

/** Types without a row here are printed by their name. */
const FORMATTERS: Formatters = {
  output: formatOutput,
  output_trunc: (a, names) => `output(port=${formatPort(a.port, names)},max_len=${a.maxLen})`,
  output_reg: (a) => `output:${formatSubfield(a.src)}`,
  controller: formatController,
  bundle: formatBundle,
  multipath: formatMultipath,
  learn: formatLearn,
  sample: formatSample,
  ct: (a, names) => formatCt(a, names, (nested) => formatActions(nested, names)),
  nat: formatNat,
  encap: formatEncap,
  decap: formatDecap,
  enqueue: (a, names) => `enqueue:${formatPort(a.port, names)}:${a.queue}`,
  group: (a) => `group:${a.groupId}`,
  set_field: (a, names) =>
    a.load ? loads(a) : `set_field:${formatField(a.field, a.value, a.mask, names)}->${a.field.name}`,
  reg_move: (a) => `move:${formatSubfield(a.src)}->${formatSubfield(a.dst)}`,
  set_vlan_vid: (a) => `${a.pushIfNeeded ? 'mod' : 'set'}_vlan_vid:${a.vid}`,
  set_vlan_pcp: (a) => `${a.pushIfNeeded ? 'mod' : 'set'}_vlan_pcp:${a.pcp}`,
  strip_vlan: (a) => (a.popVlan ? 'pop_vlan' : 'strip_vlan'),
  push_vlan: (a) => `push_vlan:${hex(a.ethertype)}`,
  set_eth_src: (a) => `mod_dl_src:${formatMac(a.mac)}`,
  set_eth_dst: (a) => `mod_dl_dst:${formatMac(a.mac)}`,
  set_ipv4_src: (a) => `mod_nw_src:${ip(a.ip)}`,
  set_ipv4_dst: (a) => `mod_nw_dst:${ip(a.ip)}`,
  set_ip_dscp: (a) => `mod_nw_tos:${a.dscp}`,
  set_ip_ecn: (a) => `mod_nw_ecn:${a.ecn}`,
  set_ip_ttl: (a) => `mod_nw_ttl:${a.ttl}`,
  set_l4_src_port: (a) => `mod_tp_src:${a.port}`,
  set_l4_dst_port: (a) => `mod_tp_dst:${a.port}`,
  dec_ttl: formatDecTtl,
  set_mpls_label: (a) => `set_mpls_label(${a.label})`,
  set_mpls_tc: (a) => `set_mpls_tc(${a.tc})`,
  set_mpls_ttl: (a) => `set_mpls_ttl(${a.ttl})`,
  push_mpls: (a) => `push_mpls:${hex4(a.ethertype)}`,
  pop_mpls: (a) => `pop_mpls:${hex4(a.ethertype)}`,
  delete_field: (a) => `delete_field:${a.field.name}`,
  set_tunnel: (a) => `set_tunnel${a.tunId > 0xffffffffn || a.raw === NXAST.SET_TUNNEL64 ? '64' : ''}:${hex(a.tunId)}`,
  set_queue: (a) => `set_queue:${a.queue}`,
  fin_timeout: formatFinTimeout,
  stack_push: sub('push'),
  stack_pop: sub('pop'),
  resubmit: formatResubmit,
  conjunction: (a) => `conjunction(${a.id},${a.clause + 1}/${a.nClauses})`,
  note: (a) => `note:${dotted(a.data)}`,
  clone: (a, names) => `clone(${formatActions(a.actions, names)})`,
  check_pkt_larger: (a) => `check_pkt_larger(${a.pktLen})->${formatSubfield(a.dst)}`,
  meter: (a) => `meter:${a.meterId}`,
  write_actions: (a, names) => `write_actions(${formatActions(a.actions, names)})`,
  write_metadata: (a) => `write_metadata:${hex(a.metadata)}${a.mask === ALL64 ? '' : `/${hex(a.mask)}`}`,
  goto_table: (a, names) => `goto_table:${formatTable(a.tableId, names)}`,
};

export function formatAction(a: Ofpact, names?: PortNames): string {
  const format = FORMATTERS[a.type] as ((a: Ofpact, names: PortNames | undefined) => string) | undefined;
  return format ? format(a, names) : a.type;
}

/** `output:2,dec_ttl`; an empty list is `drop`. */
export function formatActions(actions: readonly Ofpact[], names?: PortNames): string {
  return actions.length ? actions.map((a) => formatAction(a, names)).join(',') : 'drop';
}
