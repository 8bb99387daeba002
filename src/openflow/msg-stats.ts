import {
  INTEL_VENDOR_ID,
  OFP10_VERSION,
  OFP13_VERSION,
  OFP14_VERSION,
  OFP15_VERSION,
} from '../../protocols/openflow.ts';
import { vlogModule } from '../base/vlog.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { emptyCodec, type MessageCodec, type MessageCodecs } from './message-codec.ts';
import { type Prop, pullProps, putExpProp, putPropNested, unknownProp } from './message-prop.ts';
import { type PhyPort, type PortStats, RFC2819_COUNTERS, type Rfc2819Stats, UINT64_MAX } from './messages.ts';
import { pullPort, pullPortNo, putPort } from './msg-port.ts';

/** Statistics other than of flows, tables and queues: description, ports, port descriptions. */

const log = vlogModule('ofp_port');
const PROP_ETHERNET = 0;
const INTEL_PORT_STATS_RFC2819 = 1;
const INTEL_PORT_STATS_CUSTOM = 2;
const MAX_COUNTER_NAME = 63;

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
  if (r.left < 80) throw new OfDecodeError('OFPBRC_BAD_LEN');
  const length = r.readU16();
  if (length < 80) throw new OfDecodeError('OFPBRC_BAD_LEN');
  const body = r.sub(length - 2);
  body.skip(2);
  const portNo = pullPortNo(body, OFP14_VERSION);
  const duration = durationOf(body.readU32(), body.readU32());
  const c: Partial<Counters> = {};
  pullCounters(body, COMMON, c);
  for (const name of ETHERNET) c[name] = UINT64_MAX;
  const more: Pick<PortStats, 'custom' | 'rfc2819'> = {};
  for (const p of pullProps(body)) readStatsProp(p, c, more);
  return { portNo, ...(c as Counters), ...duration, ...more };
}

function readStatsProp(p: Prop, c: Partial<Counters>, more: Pick<PortStats, 'custom' | 'rfc2819'>): void {
  if (p.experimenter === 0 && p.type === PROP_ETHERNET) {
    if (p.body.left !== 36) throw new OfDecodeError('OFPBPC_BAD_LEN');
    p.body.skip(4);
    pullCounters(p.body, ETHERNET, c);
  } else if (p.experimenter === INTEL_VENDOR_ID && p.type === INTEL_PORT_STATS_RFC2819) {
    const found = pullRfc2819(p.body);
    if (found) more.rfc2819 = found;
  } else if (p.experimenter === INTEL_VENDOR_ID && p.type === INTEL_PORT_STATS_CUSTOM) {
    more.custom = pullCustomStats(p.body);
  } else unknownProp(log, true, 'port stats', p);
}

/** Absent when nothing is known. */
function pullRfc2819(r: Reader): Rfc2819Stats | undefined {
  if (r.left !== 4 + 8 * RFC2819_COUNTERS.length) throw new OfDecodeError('OFPBPC_BAD_LEN');
  r.skip(4);
  const counters = RFC2819_COUNTERS.map((name) => [name, r.readU64()] as const);
  return counters.every(([, n]) => n === UINT64_MAX) ? undefined : (Object.fromEntries(counters) as Rfc2819Stats);
}

function putRfc2819(w: Writer, s: Rfc2819Stats | undefined): void {
  putExpProp(w, INTEL_VENDOR_ID, INTEL_PORT_STATS_RFC2819, () => {
    w.putZeros(4);
    for (const name of RFC2819_COUNTERS) w.putU64(s?.[name] ?? UINT64_MAX);
  });
}

/** Intel's property of named counters. */
function pullCustomStats(r: Reader): { name: string; value: bigint }[] {
  r.skip(2);
  const n = r.readU16();
  return Array.from({ length: n }, () => {
    const size = r.readU8();
    return { name: r.string(size).slice(0, MAX_COUNTER_NAME), value: r.readU64() };
  });
}

function putCustomStats(w: Writer, custom: NonNullable<PortStats['custom']>): void {
  putExpProp(w, INTEL_VENDOR_ID, INTEL_PORT_STATS_CUSTOM, () => {
    w.putZeros(2);
    w.putU16(custom.length);
    for (const { name, value } of custom) {
      const bytes = Buffer.from(name, 'latin1').subarray(0, MAX_COUNTER_NAME);
      w.putU8(bytes.length);
      w.putBytes(bytes);
      w.putU64(value);
    }
  });
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
  putPropNested(w, PROP_ETHERNET, () => {
    for (const name of ETHERNET) w.putU64(s[name]);
  });
  putRfc2819(w, s.rfc2819);
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

export const STATS: MessageCodecs = {
  desc_stats_request: emptyCodec({ type: 'desc_stats_request' }),
  desc_stats_reply: descReply,
  port_stats_request: portRequest,
  port_stats_reply: portReply,
  port_desc_stats_request: portDescRequest,
  port_desc_stats_reply: portDescReply,
};
