import { OFP10_VERSION, OFP12_VERSION, OFP13_VERSION, OFP14_VERSION } from '../../protocols/openflow.ts';
import { type OfpPort, ofpPort } from '../base/types.ts';
import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import type { MessageCodec, MessageCodecs } from './message-codec.ts';
import { propU16, pullProps, putPropU16, unknownProp } from './message-prop.ts';
import type { QueueConfig, QueueStats } from './messages.ts';
import { pullPortNo, putPortNo } from './msg-port.ts';

/** Queues: their configuration (a message of its own until OpenFlow 1.3, a multipart since 1.4) and statistics. */

const log = vlogModule('ofp_queue');
const rl = new VlogRateLimit(1, 5);
const OFPP_ALL = 0xfffffffc;
const OFPP_ANY = 0xffffffff;
const OFPQ_ALL = 0xffffffff;
const FIRST_RESERVED = 0xff00;
const RATE = { MIN: 1, MAX: 2 } as const;

/** Until OpenFlow 1.3 a request names one port; OpenFlow 1.1 and later have OFPP_ANY. */
function checkConfigPort(port: OfpPort, version: number): void {
  if (port < FIRST_RESERVED || (version > OFP10_VERSION && port === OFPP_ANY)) return;
  throw new OfDecodeError('OFPQOFC_BAD_PORT');
}

const configRequest: MessageCodec<'queue_get_config_request'> = {
  decode(r, { version }) {
    const portNo = pullPortNo(r, version);
    if (version >= OFP14_VERSION) return { type: 'queue_get_config_request', portNo, queueId: r.readU32() };
    r.skip(version === OFP10_VERSION ? 2 : 4);
    checkConfigPort(portNo, version);
    return { type: 'queue_get_config_request', portNo, queueId: OFPQ_ALL };
  },
  encode(w, m, { version }) {
    putPortNo(w, m.portNo, version);
    if (version >= OFP14_VERSION) w.putU32(m.queueId);
    else w.putZeros(version === OFP10_VERSION ? 2 : 4);
  },
};

/** Bytes of a queue's head. */
const headSize = (version: number): number => (version < OFP12_VERSION ? 8 : 16);

function pullConfig(r: Reader, version: number, ofPort: OfpPort): QueueConfig {
  const size = headSize(version);
  if (r.left < size) throw new OfDecodeError('OFPBRC_BAD_LEN');
  const portNo = version >= OFP14_VERSION ? pullPortNo(r, version) : ofPort;
  const queueId = r.readU32();
  if (version >= OFP12_VERSION && version < OFP14_VERSION) r.skip(4);
  const length = r.readU16();
  r.skip(version < OFP12_VERSION ? 2 : 6);
  if (length < size || length % 8) throw new OfDecodeError('OFPBRC_BAD_LEN');
  const q: QueueConfig = { portNo, queueId };
  const body = r.sub(length - size);
  if (version < OFP14_VERSION) pullRates10(body, q);
  else pullRates14(body, q);
  return q;
}

/** Properties before OpenFlow 1.4: a head of 8 bytes, and 8 bytes with the rate. */
function pullRates10(r: Reader, q: QueueConfig): void {
  while (r.left > 0) {
    const left = r.left;
    const [type, length] = [r.readU16(), r.readU16()];
    if (length < 8 || length > left || length % 8) throw new OfDecodeError('OFPBRC_BAD_LEN');
    const body = r.sub(length - 4);
    if (type !== RATE.MIN && type !== RATE.MAX) {
      log.infoRl(rl, `unknown queue property ${type}`);
      continue;
    }
    if (length !== 16) throw new OfDecodeError('OFPBRC_BAD_LEN');
    body.skip(4);
    setRate(q, type, body.readU16());
  }
}

function pullRates14(r: Reader, q: QueueConfig): void {
  for (const p of pullProps(r)) {
    if (!p.experimenter && (p.type === RATE.MIN || p.type === RATE.MAX)) setRate(q, p.type, propU16(p));
    else unknownProp(log, true, 'queue desc', p);
  }
}

const NO_RATE = 0xffff;

function setRate(q: QueueConfig, type: number, rate: number): void {
  if (rate === NO_RATE) return;
  if (type === RATE.MIN) q.minRate = rate;
  else q.maxRate = rate;
}

function putConfig(w: Writer, q: QueueConfig, version: number): void {
  const start = w.length;
  const v14 = version >= OFP14_VERSION;
  if (v14) w.putU32(q.portNo);
  w.putU32(q.queueId);
  if (version >= OFP12_VERSION && !v14) w.putU32(q.portNo);
  const lengthAt = w.length;
  w.putU16(0);
  w.putZeros(version < OFP12_VERSION ? 2 : 6);
  putRate(w, RATE.MIN, q.minRate, v14);
  putRate(w, RATE.MAX, q.maxRate, v14);
  w.setU16(lengthAt, w.length - start);
}

function putRate(w: Writer, type: number, rate: number | undefined, v14: boolean): void {
  if (rate === undefined) return;
  if (v14) {
    putPropU16(w, type, rate);
    return;
  }
  w.putU16(type);
  w.putU16(16);
  w.putZeros(4);
  w.putU16(rate);
  w.putZeros(6);
}

/** In OpenFlow 1.4 the reply is a list of queues, each with its port; `portNo` is then that of the first. */
const configReply: MessageCodec<'queue_get_config_reply'> = {
  decode(r, { version, more }) {
    const queues: QueueConfig[] = [];
    if (version >= OFP14_VERSION) {
      const portNo = ofpPort(r.left >= 4 ? r.peekU32() : OFPP_ANY);
      while (r.left > 0) queues.push(pullConfig(r, version, portNo));
      return { type: 'queue_get_config_reply', portNo, queues, more };
    }
    const portNo = pullPortNo(r, version);
    r.skip(version === OFP10_VERSION ? 6 : 4);
    while (r.left > 0) queues.push(pullConfig(r, version, portNo));
    return { type: 'queue_get_config_reply', portNo, queues };
  },
  encode(w, m, { version }) {
    if (version < OFP14_VERSION) {
      putPortNo(w, m.portNo, version);
      w.putZeros(version === OFP10_VERSION ? 6 : 4);
    }
    for (const q of m.queues) putConfig(w, q, version);
  },
};

/** OpenFlow 1.0 says "all ports" with OFPP_ALL. */
const statsRequest: MessageCodec<'queue_stats_request'> = {
  decode(r, { version }) {
    const portNo = pullPortNo(r, version);
    if (version !== OFP10_VERSION) return { type: 'queue_stats_request', portNo, queueId: r.readU32() };
    r.skip(2);
    return {
      type: 'queue_stats_request',
      portNo: portNo === OFPP_ALL ? ofpPort(OFPP_ANY) : portNo,
      queueId: r.readU32(),
    };
  },
  encode(w, m, { version }) {
    const all = version === OFP10_VERSION && m.portNo === OFPP_ANY;
    putQueueId(w, all ? ofpPort(OFPP_ALL) : m.portNo, m.queueId, version);
  },
};

function putQueueId(w: Writer, portNo: OfpPort, queueId: number, version: number): void {
  putPortNo(w, portNo, version);
  if (version === OFP10_VERSION) w.putZeros(2);
  w.putU32(queueId);
}

const UNKNOWN_DURATION = 0xffffffff;
const STATS14_SIZE = 48;

function pullStats(r: Reader, version: number): QueueStats {
  let length = STATS14_SIZE;
  if (version >= OFP14_VERSION) {
    length = r.readU16();
    r.skip(6);
    if (length < STATS14_SIZE) throw new OfDecodeError('OFPBRC_BAD_LEN');
  }
  const portNo = pullPortNo(r, version);
  if (version === OFP10_VERSION) r.skip(2);
  const s = { portNo, queueId: r.readU32(), txBytes: r.readU64(), txPackets: r.readU64(), txErrors: r.readU64() };
  if (version < OFP13_VERSION) return s;
  const [durationSec, durationNsec] = [r.readU32(), r.readU32()];
  r.skip(length - STATS14_SIZE);
  return durationSec === UNKNOWN_DURATION ? s : { ...s, durationSec, durationNsec };
}

function putStats(w: Writer, s: QueueStats, version: number): void {
  if (version >= OFP14_VERSION) {
    w.putU16(STATS14_SIZE);
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

const statsReply: MessageCodec<'queue_stats_reply'> = {
  decode(r, { version, more }) {
    const queues: QueueStats[] = [];
    while (r.left > 0) queues.push(pullStats(r, version));
    return { type: 'queue_stats_reply', queues, more };
  },
  encode(w, m, { version }) {
    for (const s of m.queues) putStats(w, s, version);
  },
  parts: (m, { version }) => m.queues.map((s) => (w) => putStats(w, s, version)),
};

export const QUEUE: MessageCodecs = {
  queue_get_config_request: configRequest,
  queue_get_config_reply: configReply,
  queue_stats_request: statsRequest,
  queue_stats_reply: statsReply,
};
