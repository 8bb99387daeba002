/**
 * Classic pcap files (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html): both byte orders, time stamps in µs and ns,
 * link type Ethernet.
 *
 *     file:   u32 magic | u16 major | u16 minor | u32 0 | u32 0 | u32 snaplen | u32 linktype        24 bytes
 *     record: u32 seconds | u32 fraction | u32 captured size | u32 original size | the bytes        16 bytes + frame
 */

export interface PcapFrame {
  /** A view into the file's bytes. */
  data: Uint8Array;
  /** Nanoseconds since 1970. */
  timeNs: bigint;
  /** Bytes that the frame had on the wire; more than `data` holds when the capture cut it. */
  wireSize: number;
}

const MAGIC_US = 0xa1b2c3d4;
const MAGIC_NS = 0xa1b23c4d;
const LINKTYPE_ETHERNET = 1;
const FILE_HEADER = 24;
const RECORD_HEADER = 16;

export class PcapError extends Error {
  override name = 'PcapError';
}

interface Format {
  littleEndian: boolean;
  /** Nanoseconds of a unit of the fraction. */
  unitNs: bigint;
}

function readFormat(view: DataView): Format {
  if (view.byteLength < FILE_HEADER) throw new PcapError('too short for a pcap file');
  for (const littleEndian of [true, false]) {
    const magic = view.getUint32(0, littleEndian);
    if (magic === MAGIC_US) return { littleEndian, unitNs: 1000n };
    if (magic === MAGIC_NS) return { littleEndian, unitNs: 1n };
  }
  if (view.getUint32(0) === 0x0a0d0d0a)
    throw new PcapError('a pcapng file; convert it with: tshark -F pcap -r IN -w OUT');
  throw new PcapError('not a pcap file');
}

/** All frames of a file. Throws PcapError with the offset of a record that is cut short. */
export function parsePcap(file: Uint8Array): PcapFrame[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const { littleEndian, unitNs } = readFormat(view);
  const linktype = view.getUint32(20, littleEndian) & 0xffff;
  if (linktype !== LINKTYPE_ETHERNET) throw new PcapError(`link type ${linktype}, not Ethernet`);
  const frames: PcapFrame[] = [];
  for (let at = FILE_HEADER; at < file.length; ) {
    if (at + RECORD_HEADER > file.length) throw new PcapError(`record at byte ${at} is cut short`);
    const size = view.getUint32(at + 8, littleEndian);
    const start = at + RECORD_HEADER;
    if (size > file.length - start) throw new PcapError(`record at byte ${at} is cut short`);
    const seconds = BigInt(view.getUint32(at, littleEndian));
    const timeNs = seconds * 1_000_000_000n + BigInt(view.getUint32(at + 4, littleEndian)) * unitNs;
    const wireSize = view.getUint32(at + 12, littleEndian);
    frames.push({ data: file.subarray(start, start + size), timeNs, wireSize });
    at = start + size;
  }
  return frames;
}
