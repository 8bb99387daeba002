import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { Envelope, Message } from '../openflow/messages.ts';
import type { Ofconn } from './ofconn.ts';

/** Requests in several parts (OpenFlow 1.3 section A.3.5): they are handled when the last one is there. */

interface Partial {
  message: Message;
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

const isStats = (raw: Uint8Array): boolean => raw[0] >= OFP13_VERSION && raw[1] === OFPT13_MULTIPART_REQUEST;

/** Whether a message says that other parts of it follow. */
const hasMore = (raw: Uint8Array): boolean => isStats(raw) && raw.length >= 12 && (raw[11] & 1) !== 0;

/** The whole request; undefined while parts are missing; or what is wrong with it. */
export function joinParts(
  conn: Ofconn,
  env: Envelope,
  raw: Uint8Array,
  nowMs: number,
): Message | OfErrorName | undefined {
  const { message, xid } = env;
  const more = hasMore(raw);
  const partial = isStats(raw) ? partialsOf.get(conn)?.get(xid) : undefined;
  if (!partial && !more) return message;
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

/** Most requests have no lists: then the first part says it all. */
function append({ message: a }: Partial, b: Message): Message | undefined {
  if (a.type !== b.type) return undefined;
  if (a.type === 'table_features_stats_request' && b.type === a.type) a.tables.push(...b.tables);
  else if (a.type === 'flow_monitor_stats_request' && b.type === a.type) a.monitors.push(...b.monitors);
  return a;
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
