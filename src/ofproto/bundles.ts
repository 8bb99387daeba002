import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import { OfDecodeError } from '../openflow/buffer.ts';
import { decode } from '../openflow/codec.ts';
import { catchallMatch } from '../openflow/match.ts';
import { BF_ATOMIC, type Message, type MessageOf } from '../openflow/messages.ts';
import { FlowAddOp, FlowModOp } from './flow-mod.ts';
import { MessageLog } from './message-log.ts';
import { groupModOp, inSlices, type Outcome, PacketOutOp, PortModOp, type Request, type RequestHost } from './mods.ts';
import type { Ofconn } from './ofconn.ts';
import { change, type Failure, type ModOp } from './transaction.ts';

/** Bundles (OpenFlow 1.4 section 6.8, and ONF extension 230): messages that are applied together or not at all. */

interface OfBundle {
  flags: number;
  closed: boolean;
  ops: ModOp[];
  /** The message that added each of them. */
  messages: MessageLog;
  usedMs: number;
  /** The message that opened it. */
  raw: Uint8Array;
}

/** Messages of one bundle, their bytes, and bundles of one connection. */
const MAX_MESSAGES = 1_000_000;
const MAX_BYTES = 256 << 20;
const MAX_BUNDLES = 64;

const bundlesOf = new WeakMap<Ofconn, Map<number, OfBundle>>();

function bundles(conn: Ofconn): Map<number, OfBundle> {
  let map = bundlesOf.get(conn);
  if (!map) {
    map = new Map();
    bundlesOf.set(conn, map);
  }
  return map;
}

/** Forgets the bundles that have been left alone for too long, and says so. */
export function expireBundles(conn: Ofconn, nowMs: number, idleMs: number): void {
  for (const [id, b] of bundlesOf.get(conn) ?? []) {
    if (b.usedMs > nowMs - idleMs) continue;
    conn.sendError('OFPBFC_TIMEOUT', b.raw);
    bundles(conn).delete(id);
  }
}

export function bundleControl(r: Request<'bundle_control'>): Outcome {
  const { m, conn } = r;
  const answer = (error: OfErrorName | undefined): OfErrorName | undefined => {
    if (error) return error;
    const control = m.control.replace('request', 'reply') as typeof m.control;
    conn.reply({ type: 'bundle_control', bundleId: m.bundleId, control, flags: 0 }, r.env.xid);
    return undefined;
  };
  const outcome = control(r);
  return outcome instanceof Promise ? outcome.then(answer) : answer(outcome);
}

function control(r: Request<'bundle_control'>): Outcome {
  const { m, conn, host } = r;
  const map = bundles(conn);
  const bundle = map.get(m.bundleId);
  switch (m.control) {
    case 'open_request':
      return open(r, bundle);
    case 'close_request':
      return bundle ? close(r, bundle) : 'OFPBFC_BAD_ID';
    case 'commit_request':
      if (!bundle) return 'OFPBFC_BAD_ID';
      map.delete(m.bundleId);
      return bundle.flags === m.flags ? commit(host, conn, bundle) : 'OFPBFC_BAD_FLAGS';
    case 'discard_request':
      return map.delete(m.bundleId) ? undefined : 'OFPBFC_BAD_ID';
    default:
      return 'OFPBFC_BAD_TYPE';
  }
}

function open(r: Request<'bundle_control'>, bundle: OfBundle | undefined): OfErrorName | undefined {
  const { m, conn, host } = r;
  const map = bundles(conn);
  if (bundle) {
    host.log('bundles').info(`Bundle ${m.bundleId.toString(16)} already exists.`);
    map.delete(m.bundleId);
    return 'OFPBFC_BAD_ID';
  }
  if (map.size >= MAX_BUNDLES) return 'OFPBFC_OUT_OF_BUNDLES';
  map.set(m.bundleId, newBundle(m.flags, r));
  return undefined;
}

const newBundle = (flags: number, { host, raw }: Pick<Request, 'host' | 'raw'>): OfBundle => ({
  flags,
  closed: false,
  ops: [],
  messages: new MessageLog(),
  usedMs: host.nowMs(),
  raw: raw.slice(),
});

function close(r: Request<'bundle_control'>, bundle: OfBundle): OfErrorName | undefined {
  const { m, conn, host } = r;
  if (bundle.closed || bundle.flags !== m.flags) {
    bundles(conn).delete(m.bundleId);
    return bundle.closed ? 'OFPBFC_BUNDLE_CLOSED' : 'OFPBFC_BAD_FLAGS';
  }
  bundle.usedMs = host.nowMs();
  bundle.closed = true;
  return undefined;
}

/** Applies all messages in slices; when one fails, nothing has happened, and the failing one is answered. */
function commit(host: RequestHost, conn: Ofconn, bundle: OfBundle): Outcome {
  const { ops, messages } = bundle;
  const xidOf = (i: number) => messages.xid(i);
  const failed = inSlices(host.slicer, () => change(host.flowTables, ops, { conn, xid: 0 }, xidOf));
  const done = (f: Failure | undefined) => settled(host, conn, bundle, f);
  return failed instanceof Promise ? failed.then(done) : done(failed);
}

function settled(
  host: RequestHost,
  conn: Ofconn,
  bundle: OfBundle,
  failed: Failure | undefined,
): OfErrorName | undefined {
  if (failed) {
    conn.sendError(failed.error, bundle.messages.get(failed.index));
    return 'OFPBFC_MSG_FAILED';
  }
  const nowMs = host.nowMs();
  for (const op of bundle.ops) if (op.command) conn.countFlowMod(op.command, nowMs);
  return undefined;
}

/** For the matches of flow-mods while they are looked at. */
const scratch = catchallMatch();

/** The flow that a message adds, if it looks like others that have come. */
function quickOp({ m, conn, host }: Request<'bundle_add_message'>): FlowAddOp | OfErrorName | undefined {
  try {
    const add = conn.flowAdds().read(m.message, conn.tunTable());
    return add && FlowAddOp.ofFlowAdd(host.flowTables, add);
  } catch (e) {
    if (e instanceof OfDecodeError) return e.ofError;
    throw e;
  }
}

/** What a message does, or why it can't be done. `bundle`: undefined when this message opens it. */
function decodeOp(r: Request<'bundle_add_message'>, bundle: OfBundle | undefined): ModOp | OfErrorName {
  const { m, conn, host } = r;
  const quick = quickOp(r);
  if (quick) return quick;
  const inner = decode(m.message, conn.codecContext(scratch));
  if (!inner.ok) return inner.error.name;
  const { message, xid } = inner.value;
  if (xid !== r.env.xid) return 'OFPBFC_MSG_BAD_XID';
  if (message.type === 'flow_mod') conn.flowAdds().learn(m.message, message);
  return makeOp(host, conn, message, (bundle?.flags ?? m.flags) & BF_ATOMIC ? 'atomic' : 'plain');
}

export function bundleAdd(r: Request<'bundle_add_message'>): OfErrorName | undefined {
  const { m, conn, host } = r;
  const map = bundles(conn);
  let bundle = map.get(m.bundleId);
  const op = decodeOp(r, bundle);
  if (typeof op === 'string') return op;
  if (!bundle) {
    if (map.size >= MAX_BUNDLES) return 'OFPBFC_OUT_OF_BUNDLES';
    bundle = newBundle(m.flags, r);
    map.set(m.bundleId, bundle);
  } else if (bundle.closed || bundle.flags !== m.flags) {
    map.delete(m.bundleId);
    return bundle.closed ? 'OFPBFC_BUNDLE_CLOSED' : 'OFPBFC_BAD_FLAGS';
  }
  const { ops, messages } = bundle;
  if (ops.length >= MAX_MESSAGES || messages.size + r.raw.length > MAX_BYTES) return 'OFPBFC_MSG_TOO_MANY';
  bundle.usedMs = host.nowMs();
  ops.push(op);
  messages.add(r.raw);
  return undefined;
}

function makeOp(host: RequestHost, conn: Ofconn, m: Message, mode: 'atomic' | 'plain'): ModOp | OfErrorName {
  switch (m.type) {
    case 'flow_mod': {
      const op = FlowModOp.init(host.flowTables, m);
      return op instanceof FlowModOp ? op.pack() : op;
    }
    case 'group_mod':
      return groupModOp(host, m);
    case 'packet_out':
      return new PacketOutOp(host, m);
    case 'port_mod':
      return new PortModOp(host, m as MessageOf<'port_mod'>, mode === 'atomic', conn);
    default:
      return 'OFPBFC_MSG_UNSUP';
  }
}
