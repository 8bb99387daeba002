import type { Flow } from '../../flow/flow.ts';
import { flowFromPacket } from '../../flow/packet-flow.ts';
import { formatFlow } from '../flow-format.ts';
import { formatActions, formatMatch } from '../flow-text.ts';
import { OFP_NO_BUFFER, type PacketIn, type Resume, UINT64_MAX } from '../messages.ts';
import type { Continuation } from '../messages-nicira.ts';
import { formatTable, type PortNames } from '../port.ts';
import type { PrintContext, Printers } from './printer.ts';
import { hexDump } from './text.ts';

/** Packets that go to and come from controllers. */

/** Offset of the checksum in the header of a transport protocol, the header's size, and how it is called. */
const CHECKSUMS: Readonly<Record<number, readonly [name: string, at: number, size: number, header: number]>> = {
  1: ['icmp_csum', 2, 2, 8],
  6: ['tcp_csum', 16, 2, 20],
  17: ['udp_csum', 6, 2, 8],
  58: ['icmp6_csum', 2, 2, 4],
  132: ['sctp_csum', 8, 4, 12],
};

const ETH_TYPE_IP = 0x0800;
const ETH_TYPE_IPV6 = 0x86dd;

/** Where the transport header begins, undefined when there is none. */
function transportOffset(packet: Uint8Array, packetType: number): number | undefined {
  const u16 = (at: number) => (packet[at] << 8) | packet[at + 1];
  let at = packetType === 0 ? 12 : 0;
  let type = packetType === 0 ? u16(12) : packetType & 0xffff;
  while (packetType === 0 && (type === 0x8100 || type === 0x88a8)) {
    at += 4;
    type = u16(at);
  }
  if (packetType === 0) at += 2;
  if (type === ETH_TYPE_IP) return at + (packet[at] & 15) * 4;
  return type === ETH_TYPE_IPV6 ? skipExtensions(packet, at) : undefined;
}

/** RFC 8200: hop-by-hop, routing, destination options and authentication are of 8 (or 4) byte units, a fragment header of 8 bytes. */
function skipExtensions(packet: Uint8Array, ipv6: number): number {
  let next = packet[ipv6 + 6];
  let at = ipv6 + 40;
  while (at + 8 <= packet.length && [0, 43, 44, 51, 60].includes(next)) {
    const size = next === 44 ? 8 : next === 51 ? (packet[at + 1] + 2) * 4 : (packet[at + 1] + 1) * 8;
    next = packet[at];
    at += size;
  }
  return at;
}

function checksumText(packet: Uint8Array, nwProto: number, packetType: number): string {
  const row = CHECKSUMS[nwProto];
  const l4 = row && transportOffset(packet, packetType);
  if (l4 === undefined || packet.length - l4 < row[3]) return '';
  const [name, at, size] = row;
  const bytes = packet.subarray(l4 + at, l4 + at + size);
  const n = bytes.reduce((sum, b) => sum * 256 + b, 0);
  return ` ${name}:${n.toString(16)}`;
}

/** The headers of what is no Ethernet frame: as of a frame with the Ethertype that the packet's type names. */
function flowOfType(packet: Uint8Array, packetType: number): Flow {
  const frame = new Uint8Array(14 + packet.length);
  frame[12] = packetType >>> 8;
  frame[13] = packetType;
  frame.set(packet, 14);
  const flow = flowFromPacket(frame, 0);
  flow.packetType = packetType;
  return flow;
}

/** The headers of a packet as a flow, its transport checksum, and the end of the line. */
export function formatPacket(packet: Uint8Array, packetType = 0): string {
  const flow = packetType === 0 ? flowFromPacket(packet, 0) : flowOfType(packet, packetType);
  return `${formatFlow(flow)}${checksumText(packet, flow.nwProto, packetType)}\n`;
}

export const PACKET_IN_REASONS = ['no_match', 'action', 'invalid_ttl', 'action_set', 'group', 'packet_out', '', ''];

function stackEntry(value: Uint8Array): string {
  const digits = Buffer.from(value).toString('hex').replace(/^0+/, '');
  return `0x${digits || '0'}`;
}

function continuationText(c: Continuation, names: PortNames | undefined): string {
  // Each list is of the rule of a table, to which translation returns for it.
  const actions = c.actions.flatMap((a) => [
    `unroll_xlate(table=${formatTable(a.tableId, names)}, cookie=${a.cookie})`,
    ...(a.actions.length ? [formatActions(a.actions, names)] : []),
  ]);
  const line = (name: string, value: string | number) => ` continuation.${name}=${value}\n`;
  return [
    /^[0-]*$/.test(c.bridge) ? '' : line('bridge', c.bridge),
    c.stack.length
      ? ` continuation.stack=(top)${c.stack
          .map((v) => ` ${stackEntry(v)}`)
          .reverse()
          .join('')} (bottom)\n`
      : '',
    c.mirrors ? line('mirrors', `0x${c.mirrors.toString(16)}`) : '',
    c.conntracked ? line('conntracked', 'true') : '',
    actions.length ? line('actions', actions.join(',')) : '',
    c.actionSet.length ? line('action_set', formatActions(c.actionSet, names)) : '',
    c.odpPort ? line('odp_port', c.odpPort) : '',
  ].join('');
}

function bufferText(m: PacketIn | Resume): string {
  const size = m.packet.length;
  if (m.bufferId === OFP_NO_BUFFER)
    return ` (unbuffered)${m.totalLen !== size ? ' (***total_len != data_len***)' : ''}`;
  const id = m.bufferId.toString(16).padStart(8, '0');
  return ` buffer=0x${id}${m.totalLen < size ? ' (***total_len < data_len***)' : ''}`;
}

const dotted = (b: Uint8Array): string => Array.from(b, (x) => x.toString(16).padStart(2, '0')).join('.');

function packetInText(m: PacketIn | Resume, { names, verbosity }: PrintContext): string {
  const table =
    m.tableId || names?.tableNameOf?.(m.tableId) !== undefined ? ` table_id=${formatTable(m.tableId, names)}` : '';
  const reason = PACKET_IN_REASONS[m.reason] ?? m.reason;
  return [
    table,
    m.cookie === UINT64_MAX ? '' : ` cookie=0x${m.cookie.toString(16)}`,
    ` total_len=${m.totalLen} ${formatMatch(m.metadata, undefined, names)} (via ${reason})`,
    ` data_len=${m.packet.length}${bufferText(m)}\n`,
    m.userdata?.length ? ` userdata=${dotted(m.userdata)}\n` : '',
    m.continuation ? continuationText(m.continuation, names) : '',
    verbosity > 0 ? formatPacket(m.packet, m.metadata.flow.packetType) : '',
    verbosity > 2 ? hexDump(m.packet, false) : '',
  ].join('');
}

export const PACKETS: Printers = {
  packet_in: packetInText,
  nxt_resume: packetInText,
  packet_out: (m, { names, verbosity }) => {
    const head = ` ${formatMatch(m.metadata, undefined, names)} actions=${formatActions(m.actions, names)}`;
    if (m.bufferId !== OFP_NO_BUFFER) return `${head} buffer=0x${m.bufferId.toString(16).padStart(8, '0')}`;
    const packet = verbosity > 0 && m.packet.length ? `\n${formatPacket(m.packet, m.metadata.flow.packetType)}` : '';
    return `${head} data_len=${m.packet.length}${packet}${verbosity > 2 ? hexDump(m.packet, false) : ''}`;
  },
};
