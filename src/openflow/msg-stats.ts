import {
  INTEL_VENDOR_ID,
  OFP10_VERSION,
  OFP13_VERSION,
  OFP14_VERSION,
  OFP15_VERSION,
} from '../../protocols/openflow.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { emptyCodec, type MessageCodec, type MessageCodecs } from './message-codec.ts';
import { type PhyPort, type PortStats, type QueueStats, UINT64_MAX } from './messages.ts';
import { pullPort, pullPortNo, putPort } from './msg-port.ts';

/** Statistics other than of flows and tables: description, ports, port descriptions, queues. */

const descReply: MessageCodec<'desc_stats_reply'> = {
  decode: (r) => ({
    type: 'desc_stats_reply',
    mfrDesc: r.string(256),
    hwDesc: r.string(256),
    swDesc: r.string(256),
    serialNum: r.string(32),
    dpDesc: r.string(256),
  }),
  encode(w, m) {
    w.putString(m.mfrDesc, 256);
    w.putString(m.hwDesc, 256);
    w.putString(m.swDesc, 256);
    w.putString(m.serialNum, 32);
    w.putString(m.dpDesc, 256);
  },
};

function pullPortRequest(r: Reader, version: number) {
  const portNo = pullPortNo(r, version);
  r.skip(version === OFP10_VERSION ? 6 : 4);
  return portNo;
}

function putPortRequest(w: Writer, portNo: number, version: number): void {
  if (version === OFP10_VERSION) w.putU16(portNo & 0xffff);
  else w.putU32(portNo);
  w.putZeros(version === OFP10_VERSION ? 6 : 4);
}

const portRequest: MessageCodec<'port_stats_request'> = {
  decode: (r, { version }) => ({ type: 'port_stats_request', portNo: pullPortRequest(r, version) }),
  encode: (w, m, { version }) => putPortRequest(w, m.portNo, version),
};

/** OpenFlow 1.5 alone can ask for one port; before, it is all of them. */
const portDescRequest: MessageCodec<'port_desc_stats_request'> = {
  decode: (r, { version }) => ({
    type: 'port_desc_stats_request',
    portNo: version >= OFP15_VERSION ? pullPortRequest(r, version) : ANY,
  }),
  encode(w, m, { version }) {
    if (version >= OFP15_VERSION) putPortRequest(w, m.portNo, version);
  },
};
const ANY = 0xffffffff as PortStats['portNo'];
const UNKNOWN_DURATION = 0xffffffff;

const COMMON = [
  'rxPackets',
  'txPackets',
  'rxBytes',
  'txBytes',
  'rxDropped',
  'txDropped',
  'rxErrors',
  'txErrors',
] as const satisfies readonly (keyof PortStats)[];
const ETHERNET = ['rxFrameErr', 'rxOverErr', 'rxCrcErr', 'collisions'] as const satisfies readonly (keyof PortStats)[];
type Counter = (typeof COMMON)[number] | (typeof ETHERNET)[number];
type Counters = Record<Counter, bigint>;

function pullCounters(r: Reader, names: readonly Counter[], into: Partial<Counters>): void {
  for (const name of names) into[name] = r.readU64();
}

function durationOf(sec: number, nsec: number): { durationSec?: number; durationNsec?: number } {
  return sec === UNKNOWN_DURATION ? {} : { durationSec: sec, durationNsec: nsec };
}

function pullPortStats(r: Reader, version: number): PortStats {
  if (version >= OFP14_VERSION) return pullPortStats14(r);
  const portNo = pullPortNo(r, version);
  r.skip(version === OFP10_VERSION ? 6 : 4);
  const c: Partial<Counters> = {};
  pullCounters(r, [...COMMON, ...ETHERNET], c);
  const duration = version >= OFP13_VERSION ? durationOf(r.readU32(), r.readU32()) : {};
  return { portNo, ...(c as Counters), ...duration };
}

function pullPortStats14(r: Reader): PortStats {
  const length = r.readU16();
  if (length < 80) throw new OfDecodeError('OFPBRC_BAD_LEN');
  const body = r.sub(length - 2);
  body.skip(2);
  const portNo = pullPortNo(body, OFP14_VERSION);
  const duration = durationOf(body.readU32(), body.readU32());
  const c: Partial<Counters> = {};
  pullCounters(body, COMMON, c);
  for (const name of ETHERNET) c[name] = UINT64_MAX;
  let custom: PortStats['custom'];
  while (body.left >= 4) {
    const type = body.readU16();
    const size = body.readU16();
    if (size < 4) throw new OfDecodeError('OFPBPC_BAD_LEN');
    const p = body.sub(size - 4, 'OFPBPC_BAD_LEN');
    if (type === 0) {
      p.skip(4);
      pullCounters(p, ETHERNET, c);
    } else if (type === 0xffff) custom = pullCustomStats(p) ?? custom;
    body.skip(Math.min(body.left, -size & 7));
  }
  return { portNo, ...(c as Counters), ...duration, ...(custom ? { custom } : {}) };
}

/** Intel's property of named counters; undefined for other experimenters' properties. */
function pullCustomStats(p: Reader): PortStats['custom'] {
  if (p.readU32() !== INTEL_VENDOR_ID || p.readU32() !== INTEL_PORT_STATS_CUSTOM) return undefined;
  p.skip(2);
  const n = p.readU16();
  return Array.from({ length: n }, () => {
    const size = p.readU8();
    return { name: p.string(size), value: p.readU64() };
  });
}

const INTEL_PORT_STATS_CUSTOM = 2;

function putCustomStats(w: Writer, custom: NonNullable<PortStats['custom']>): void {
  const start = w.length;
  w.putU16(0xffff);
  w.putU16(0);
  w.putU32(INTEL_VENDOR_ID);
  w.putU32(INTEL_PORT_STATS_CUSTOM);
  w.putZeros(2);
  w.putU16(custom.length);
  for (const { name, value } of custom) {
    const bytes = Buffer.from(name, 'latin1').subarray(0, 63);
    w.putU8(bytes.length);
    w.putBytes(bytes);
    w.putU64(value);
  }
  w.setU16(start + 2, w.length - start);
  w.padTo(8, start);
}

function putPortStats(w: Writer, s: PortStats, version: number): void {
  if (version >= OFP14_VERSION) {
    putPortStats14(w, s);
    return;
  }
  putPortRequest(w, s.portNo, version);
  for (const name of [...COMMON, ...ETHERNET]) w.putU64(s[name]);
  if (version < OFP13_VERSION) return;
  w.putU32(s.durationSec ?? UNKNOWN_DURATION);
  w.putU32(s.durationNsec ?? UNKNOWN_DURATION);
}

function putPortStats14(w: Writer, s: PortStats): void {
  const start = w.length;
  w.putZeros(4);
  w.putU32(s.portNo);
  w.putU32(s.durationSec ?? UNKNOWN_DURATION);
  w.putU32(s.durationNsec ?? UNKNOWN_DURATION);
  for (const name of COMMON) w.putU64(s[name]);
  w.putU16(0);
  w.putU16(40);
  w.putZeros(4);
  for (const name of ETHERNET) w.putU64(s[name]);
  if (s.custom?.length) putCustomStats(w, s.custom);
  w.setU16(start, w.length - start);
}

const portReply: MessageCodec<'port_stats_reply'> = {
  decode(r, { version, more }) {
    const ports: PortStats[] = [];
    while (r.left > 0) ports.push(pullPortStats(r, version));
    return { type: 'port_stats_reply', ports, more };
  },
  encode(w, m, { version }) {
    for (const s of m.ports) putPortStats(w, s, version);
  },
  parts: (m, { version }) => m.ports.map((s) => (w) => putPortStats(w, s, version)),
};

const portDescReply: MessageCodec<'port_desc_stats_reply'> = {
  decode(r, { version, more }) {
    const ports: PhyPort[] = [];
    while (r.left > 0) ports.push(pullPort(r, version));
    return { type: 'port_desc_stats_reply', ports, more };
  },
  encode(w, m, { version }) {
    for (const p of m.ports) putPort(w, p, version);
  },
  parts: (m, { version }) => m.ports.map((p) => (w) => putPort(w, p, version)),
};

const queueRequest: MessageCodec<'queue_stats_request'> = {
  decode(r, { version }) {
    const portNo = pullPortNo(r, version);
    if (version === OFP10_VERSION) r.skip(2);
    return { type: 'queue_stats_request', portNo, queueId: r.readU32() };
  },
  encode: (w, m, { version }) => putQueueId(w, m.portNo, m.queueId, version),
};

function putQueueId(w: Writer, portNo: number, queueId: number, version: number): void {
  if (version === OFP10_VERSION) {
    w.putU16(portNo & 0xffff);
    w.putZeros(2);
  } else w.putU32(portNo);
  w.putU32(queueId);
}

function pullQueueStats(r: Reader, version: number): QueueStats {
  const start = r.pos;
  const length = version >= OFP14_VERSION ? r.readU16() : 0;
  if (version >= OFP14_VERSION) r.skip(6);
  const portNo = pullPortNo(r, version);
  if (version === OFP10_VERSION) r.skip(2);
  const s = { portNo, queueId: r.readU32(), txBytes: r.readU64(), txPackets: r.readU64(), txErrors: r.readU64() };
  const duration = version >= OFP13_VERSION ? durationOf(r.readU32(), r.readU32()) : {};
  if (version >= OFP14_VERSION) r.skip(length - (r.pos - start));
  return { ...s, ...duration };
}

function putQueueStats(w: Writer, s: QueueStats, version: number): void {
  if (version >= OFP14_VERSION) {
    w.putU16(48);
    w.putZeros(6);
  }
  putQueueId(w, s.portNo, s.queueId, version);
  w.putU64(s.txBytes);
  w.putU64(s.txPackets);
  w.putU64(s.txErrors);
  if (version < OFP13_VERSION) return;
  w.putU32(s.durationSec ?? UNKNOWN_DURATION);
  w.putU32(s.durationNsec ?? UNKNOWN_DURATION);
}

const queueReply: MessageCodec<'queue_stats_reply'> = {
  decode(r, { version, more }) {
    const queues: QueueStats[] = [];
    while (r.left > 0) queues.push(pullQueueStats(r, version));
    return { type: 'queue_stats_reply', queues, more };
  },
  encode(w, m, { version }) {
    for (const s of m.queues) putQueueStats(w, s, version);
  },
  parts: (m, { version }) => m.queues.map((s) => (w) => putQueueStats(w, s, version)),
};

export const STATS: MessageCodecs = {
  desc_stats_request: emptyCodec({ type: 'desc_stats_request' }),
  desc_stats_reply: descReply,
  port_stats_request: portRequest,
  port_stats_reply: portReply,
  port_desc_stats_request: portDescRequest,
  port_desc_stats_reply: portDescReply,
  queue_stats_request: queueRequest,
  queue_stats_reply: queueReply,
};
