import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { Envelope, Message } from '../openflow/messages.ts';
import type { Ofconn } from './ofconn.ts';

/** Requests in several parts (OpenFlow 1.3 section A.3.5): they are handled when the last one is there. */

/** A request whose parts can be joined. */
type Joinable = Extract<Message, { type: 'table_features_stats_request' | 'flow_monitor_stats_request' }>;

interface Partial {
  message: Joinable;
  size: number;
  expireMs: number;
  /** The first part. */
  raw: Uint8Array;
}

const TIMEOUT_MS = 1000;
/** Table features of 254 tables are more than a megabyte. */
const MAX_SIZE = 4 << 20;

const partialsOf = new WeakMap<Ofconn, Map<number, Partial>>();

const OFP13_VERSION = 4;
const OFPT13_MULTIPART_REQUEST = 18;

/** Whether a message says that other parts of it follow. */
const hasMore = (raw: Uint8Array): boolean =>
  raw[0] >= OFP13_VERSION && raw[1] === OFPT13_MULTIPART_REQUEST && raw.length >= 12 && (raw[11] & 1) !== 0;

const isJoinable = (m: Message): m is Joinable =>
  m.type === 'table_features_stats_request' || m.type === 'flow_monitor_stats_request';

/** The whole request; undefined while parts are missing; or what is wrong with it. */
export function joinParts(
  conn: Ofconn,
  env: Envelope,
  raw: Uint8Array,
  nowMs: number,
): Message | OfErrorName | undefined {
  const { message, xid } = env;
  const more = hasMore(raw);
  const partial = partialsOf.get(conn)?.get(xid);
  if (!partial && !more) return message;
  if (!isJoinable(message)) return more ? 'OFPBRC_BAD_STAT' : message;
  let all = partialsOf.get(conn);
  if (!all) {
    all = new Map();
    partialsOf.set(conn, all);
  }
  const whole = partial ? append(partial, message) : message;
  const size = (partial?.size ?? 0) + raw.length;
  all.delete(xid);
  if (!whole) return 'OFPBRC_BAD_STAT';
  if (size > MAX_SIZE) return 'OFPBRC_MULTIPART_BUFFER_OVERFLOW';
  if (!more) return whole;
  all.set(xid, { message: whole, size, expireMs: nowMs + TIMEOUT_MS, raw: partial?.raw ?? raw.slice() });
  return undefined;
}

function append({ message: a }: Partial, b: Joinable): Joinable | undefined {
  if (a.type === 'table_features_stats_request' && b.type === a.type) {
    a.tables.push(...b.tables);
    return a;
  }
  if (a.type === 'flow_monitor_stats_request' && b.type === a.type) {
    a.monitors.push(...b.monitors);
    return a;
  }
  return undefined;
}

/** Answers the requests whose next part has not come in time. */
export function expireParts(conn: Ofconn, nowMs: number): void {
  const all = partialsOf.get(conn);
  for (const [xid, p] of all ?? []) {
    if (nowMs < p.expireMs) continue;
    conn.sendError('OFPBRC_MULTIPART_REQUEST_TIMEOUT', p.raw);
    all?.delete(xid);
  }
}
