import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import { decode } from '../openflow/codec.ts';
import type { FlowMod, MessageOf } from '../openflow/messages.ts';
import { applyFlowMod, applyPortMod, type Request, type RequestHost } from './mods.ts';
import type { Ofconn } from './ofconn.ts';
import { N_TABLES } from './oftable.ts';

/** Bundles (OpenFlow 1.4 section 6.8, and ONF extension 230): messages that are applied together or not at all. */

type BundleMessage = { m: FlowMod | MessageOf<'port_mod'>; raw: Uint8Array };

interface OfBundle {
  flags: number;
  closed: boolean;
  messages: BundleMessage[];
}

/** Messages of one bundle. */
const MAX_MESSAGES = 1_000_000;
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

export function bundleControl(r: Request<'bundle_control'>): OfErrorName | undefined {
  const { m, conn, host } = r;
  const error = control(host, conn, m);
  if (error === 'handled') return undefined;
  if (error) return error;
  const answer = m.control.replace('request', 'reply') as typeof m.control;
  conn.reply({ type: 'bundle_control', bundleId: m.bundleId, control: answer, flags: m.flags }, r.env.xid);
  return undefined;
}

function control(host: RequestHost, conn: Ofconn, m: MessageOf<'bundle_control'>): OfErrorName | 'handled' | undefined {
  const map = bundles(conn);
  const bundle = map.get(m.bundleId);
  switch (m.control) {
    case 'open_request':
      if (bundle) {
        map.delete(m.bundleId);
        return 'OFPBFC_BAD_ID';
      }
      if (map.size >= MAX_BUNDLES) return 'OFPBFC_OUT_OF_BUNDLES';
      map.set(m.bundleId, { flags: m.flags, closed: false, messages: [] });
      return undefined;
    case 'close_request':
      if (!bundle) return 'OFPBFC_BAD_ID';
      if (bundle.closed || bundle.flags !== m.flags) {
        map.delete(m.bundleId);
        return bundle.closed ? 'OFPBFC_BUNDLE_CLOSED' : 'OFPBFC_BAD_FLAGS';
      }
      bundle.closed = true;
      return undefined;
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

/** Applies all messages; when one fails, those before it are undone, and the failing one is answered. */
function commit(host: RequestHost, conn: Ofconn, bundle: OfBundle): OfErrorName | 'handled' | undefined {
  let failed: { error: OfErrorName; raw: Uint8Array } | undefined;
  host.flowTables.transaction(() => {
    for (const { m, raw } of bundle.messages) {
      if (m.type !== 'flow_mod') continue;
      const error = applyFlowMod(host, m);
      if (!error) continue;
      failed = { error, raw };
      return false;
    }
    return true;
  });
  if (failed) {
    conn.sendError(failed.error, failed.raw);
    return 'OFPBFC_MSG_FAILED';
  }
  for (const { m, raw } of bundle.messages) {
    if (m.type !== 'port_mod') continue;
    const error = applyPortMod(host, m);
    if (error) conn.sendError(error, raw);
  }
  return undefined;
}

export function bundleAdd(r: Request<'bundle_add_message'>): OfErrorName | undefined {
  const { m, conn } = r;
  const map = bundles(conn);
  let bundle = map.get(m.bundleId);
  if (!bundle) {
    bundle = { flags: m.flags, closed: false, messages: [] };
    map.set(m.bundleId, bundle);
  }
  if (bundle.closed) {
    map.delete(m.bundleId);
    return 'OFPBFC_BUNDLE_CLOSED';
  }
  if (bundle.flags !== m.flags) return 'OFPBFC_BAD_FLAGS';
  if (bundle.messages.length >= MAX_MESSAGES) return 'OFPBFC_MSG_TOO_MANY';
  const inner = decode(m.message, { version: conn.version, nTables: N_TABLES, flowModTableId: conn.flowModTableId });
  if (!inner.ok) return inner.error.name;
  const { message, xid } = inner.value;
  if (xid !== r.env.xid) return 'OFPBFC_MSG_BAD_XID';
  if (message.type !== 'flow_mod' && message.type !== 'port_mod') return 'OFPBFC_MSG_UNSUP';
  bundle.messages.push({ m: message, raw: m.message });
  return undefined;
}
