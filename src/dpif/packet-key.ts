import { extract } from '../flow/extract.ts';
import { Flow } from '../flow/flow.ts';
import { FLOW_MEMBERS, type FlowMemberName } from '../gen/flow.ts';
import type { DpTunnel } from './dpif.ts';

/** What goes with a packet through a datapath beside its bytes: metadata, in the members of a Flow. */

/** OpenFlow packet types: Ethernet, and `1 << 16 | Ethertype` for what has no Ethernet header. */
export const PT_ETH = 0;
export const PT_NSH = 0x1894f;

/** Members of a datapath key that are not in the packet. */
const METADATA: readonly FlowMemberName[] = (Object.keys(FLOW_MEMBERS) as FlowMemberName[]).filter(
  (name) =>
    name.startsWith('tun_') ||
    name.startsWith('ct_') ||
    ['skb_priority', 'pkt_mark', 'dp_hash', 'in_port', 'recirc_id', 'packet_type'].includes(name),
);

/** Stretches of bytes that METADATA covers. */
const STRETCHES = METADATA.reduce<{ at: number; end: number }[]>((list, name) => {
  const { offset, size } = FLOW_MEMBERS[name];
  const last = list.at(-1);
  if (last?.end === offset) last.end += size;
  else list.push({ at: offset, end: offset + size });
  return list;
}, []);

/** The metadata of `from`, nothing else. */
export function metadataOf(from: Flow): Flow {
  const md = new Flow();
  for (const { at, end } of STRETCHES) md.u8.set(from.u8.subarray(at, end), at);
  return md;
}

/** The whole key of a packet: its headers, and the metadata of `md`. */
export function extractKey(packet: Uint8Array, md: Flow, vlanLimit?: number): Flow {
  const key = new Flow();
  if (md.packetType === PT_ETH) extract(packet, key, vlanLimit);
  else {
    const frame = new Uint8Array(packet.length + 14);
    frame.set(packet, 14);
    frame[12] = md.packetType >>> 8;
    frame[13] = md.packetType;
    extract(frame, key, 0);
  }
  for (const { at, end } of STRETCHES) key.u8.set(md.u8.subarray(at, end), at);
  return key;
}

/** A metadata Flow with nothing but the port that a packet came in by. */
export function portMetadata(inPort: number): Flow {
  const md = new Flow();
  md.inPort = inPort;
  return md;
}

const u32 = (b: Uint8Array): number => Buffer.from(b).readUInt32BE();

/** Puts what an encapsulation will need into a packet's metadata. Geneve options stay with the action. */
export function tunnelToMetadata(t: DpTunnel, md: Flow): void {
  const none = new Uint8Array(16);
  md.tunId = t.tunId;
  md.tunSrc = t.src.length === 4 ? u32(t.src) : 0;
  md.tunDst = t.dst.length === 4 ? u32(t.dst) : 0;
  md.tunIpv6Src = t.src.length === 16 ? t.src : none;
  md.tunIpv6Dst = t.dst.length === 16 ? t.dst : none;
  md.tunTos = t.tos;
  md.tunTtl = t.ttl;
  md.tunTpSrc = t.tpSrc;
  md.tunTpDst = t.tpDst;
  md.tunFlags = t.flags;
  md.tunGbpId = t.gbp?.id ?? 0;
  md.tunGbpFlags = t.gbp?.flags ?? 0;
  md.tunErspanVer = t.erspan?.ver ?? 0;
  md.tunErspanIdx = t.erspan?.ver === 1 ? t.erspan.idx : 0;
  md.tunErspanDir = t.erspan?.ver === 2 ? t.erspan.dir : 0;
  md.tunErspanHwid = t.erspan?.ver === 2 ? t.erspan.hwid : 0;
  md.tunGtpuFlags = t.gtpu?.flags ?? 0;
  md.tunGtpuMsgtype = t.gtpu?.msgType ?? 0;
}
