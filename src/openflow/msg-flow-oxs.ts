import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { UINT64_MAX } from './messages.ts';

/** OpenFlow 1.5 section 7.2.4: statistics of a flow as OXS fields, each with a header like OXM's. What is absent is all ones. */

export interface OxsStats {
  durationSec: number;
  durationNsec: number;
  /** Seconds. */
  idleAge: number;
  packetCount: bigint;
  byteCount: bigint;
  flowCount: number;
}

export const UNKNOWN32 = 0xffffffff;

export const noStats = (): OxsStats => ({
  durationSec: UNKNOWN32,
  durationNsec: UNKNOWN32,
  idleAge: UNKNOWN32,
  packetCount: UINT64_MAX,
  byteCount: UINT64_MAX,
  flowCount: UNKNOWN32,
});

const OFPXSC_OPENFLOW_BASIC = 0x8002;
const OFPXSC_EXPERIMENTER = 0xffff;
const header = (field: number, length: number): number => ((OFPXSC_OPENFLOW_BASIC << 16) | (field << 9) | length) >>> 0;
const DURATION = header(0, 8);
const IDLE_TIME = header(1, 8);
const FLOW_COUNT = header(3, 4);
const PACKET_COUNT = header(4, 8);
const BYTE_COUNT = header(5, 8);

function pullEntry(r: Reader, s: OxsStats): void {
  const word = r.readU32();
  const experimenter = word >>> 16 === OFPXSC_EXPERIMENTER;
  const length = (word & 0xff) - (experimenter ? 4 : 0);
  if (length < 0) throw new OfDecodeError('OFPBMC_BAD_LEN');
  if (experimenter) r.skip(4);
  const value = r.sub(length);
  if (experimenter) return;
  // The reserved bit next to the length is part of the header.
  if (word === DURATION) [s.durationSec, s.durationNsec] = [value.readU32(), value.readU32()];
  else if (word === IDLE_TIME) s.idleAge = value.readU32();
  else if (word === FLOW_COUNT) s.flowCount = value.readU32();
  else if (word === PACKET_COUNT) s.packetCount = value.readU64();
  else if (word === BYTE_COUNT) s.byteCount = value.readU64();
}

/** Pulls an `ofp_stats` with its padding. Fields that are not known are skipped. Throws OFPBMC_BAD_LEN. */
export function pullOxsStats(r: Reader): OxsStats {
  const stats = noStats();
  if (r.left < 4) throw new OfDecodeError('OFPBMC_BAD_LEN');
  r.skip(2);
  const length = r.readU16();
  const padded = (length + 7) & ~7;
  if (length < 4 || padded - 4 > r.left) throw new OfDecodeError('OFPBMC_BAD_LEN');
  const body = r.sub(length - 4, 'OFPBMC_BAD_LEN');
  r.skip(padded - length);
  while (body.left > 0) pullEntry(body, stats);
  return stats;
}

/** Appends what is known, with padding to 8. */
export function putOxsStats(w: Writer, s: Partial<OxsStats>): void {
  const { durationSec, durationNsec, idleAge, packetCount, byteCount, flowCount } = { ...noStats(), ...s };
  const start = w.length;
  w.putZeros(4);
  if (durationSec !== UNKNOWN32) {
    w.putU32(DURATION);
    w.putU32(durationSec);
    w.putU32(durationNsec);
  }
  if (idleAge !== UNKNOWN32) {
    w.putU32(IDLE_TIME);
    w.putU32(idleAge);
    w.putU32(0);
  }
  put64(w, PACKET_COUNT, packetCount);
  put64(w, BYTE_COUNT, byteCount);
  if (flowCount !== UNKNOWN32) {
    w.putU32(FLOW_COUNT);
    w.putU32(flowCount);
  }
  w.setU16(start + 2, w.length - start);
  w.padTo(8, start);
}

function put64(w: Writer, head: number, n: bigint): void {
  if (n === UINT64_MAX) return;
  w.putU32(head);
  w.putU64(n);
}
