import { readFileSync } from 'node:fs';
import { strerror } from '../../base/errno.ts';

/** Files of libpcap's classic format, in either byte order, with microseconds or nanoseconds. */

export interface PcapPacket {
  /** Milliseconds since 1970. */
  whenMs: number;
  data: Uint8Array;
}

const MAGIC_US = 0xa1b2c3d4;
const MAGIC_NS = 0xa1b23c4d;
const FILE_HEADER = 24;
const PACKET_HEADER = 16;

/** All packets of a file; one that is cut short ends them. Throws an Error that says what is wrong with the file. */
export function readPcap(name: string): PcapPacket[] {
  let data: Buffer;
  try {
    data = readFileSync(name);
  } catch (e) {
    throw new Error(`${name}: open failed (${strerror(e)})`);
  }
  const bad = (what: string) => new Error(`${name}: open failed (${what})`);
  if (data.length < FILE_HEADER) throw bad('Protocol error');
  const little = [MAGIC_US, MAGIC_NS].includes(data.readUInt32LE(0));
  const u32 = (at: number) => (little ? data.readUInt32LE(at) : data.readUInt32BE(at));
  if (![MAGIC_US, MAGIC_NS].includes(u32(0))) throw bad('Protocol error');
  const perMs = u32(0) === MAGIC_NS ? 1_000_000 : 1000;
  const out: PcapPacket[] = [];
  for (let at = FILE_HEADER; at + PACKET_HEADER <= data.length; ) {
    const size = u32(at + 8);
    const end = at + PACKET_HEADER + size;
    if (end > data.length) break;
    out.push({ whenMs: u32(at) * 1000 + u32(at + 4) / perMs, data: data.subarray(at + PACKET_HEADER, end) });
    at = end;
  }
  return out;
}

/** A file with one packet. */
export function pcapOf(packet: Uint8Array): Uint8Array {
  const out = Buffer.alloc(FILE_HEADER + PACKET_HEADER + packet.length);
  out.writeUInt32LE(MAGIC_US, 0);
  out.writeUInt16LE(2, 4);
  out.writeUInt16LE(4, 6);
  out.writeUInt32LE(1518, 16);
  out.writeUInt32LE(1, 20);
  const now = Date.now();
  out.writeUInt32LE(Math.floor(now / 1000), FILE_HEADER);
  out.writeUInt32LE((now % 1000) * 1000, FILE_HEADER + 4);
  out.writeUInt32LE(packet.length, FILE_HEADER + 8);
  out.writeUInt32LE(packet.length, FILE_HEADER + 12);
  out.set(packet, FILE_HEADER + PACKET_HEADER);
  return out;
}
