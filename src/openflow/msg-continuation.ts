import { vlogModule } from '../base/vlog.ts';
import { encodeActions } from './action-encode.ts';
import type { Ofpact } from './actions.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { pullActions } from './instruction.ts';
import {
  type Prop,
  propNested,
  propU8,
  propU32,
  propU64,
  pullProps,
  putProp,
  putPropNested,
  putPropU8,
  putPropU32,
  putPropU64,
  unknownProp,
} from './message-prop.ts';
import type { Continuation } from './messages-nicira.ts';

/** NXPINT_CONTINUATION: the state of a paused packet, as properties of its own. */

const log = vlogModule('ofp_packet');
const NXCPT = {
  BRIDGE: 0x8000,
  STACK: 0x8001,
  MIRRORS: 0x8002,
  CONNTRACKED: 0x8003,
  TABLE_ID: 0x8004,
  COOKIE: 0x8005,
  ACTIONS: 0x8006,
  ACTION_SET: 0x8007,
  ODP_PORT: 0x8008,
} as const;
const UUID_SIZE = 16;
/** Bytes of the widest value. */
const MAX_STACK_VALUE = 128;
export const NO_BRIDGE = '00000000-0000-0000-0000-000000000000';

function uuidText(b: Uint8Array): string {
  const hex = Buffer.from(b).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

const uuidBytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll('-', ''), 'hex'));

export function emptyContinuation(): Continuation {
  return { bridge: NO_BRIDGE, stack: [], mirrors: 0, conntracked: false, actions: [], actionSet: [] };
}

/** Table and cookie hold for the actions that follow them. */
interface At {
  tableId: number;
  cookie: bigint;
}

function readProp(c: Continuation, at: At, p: Prop, version: number, loose: boolean): void {
  const { body } = p;
  switch (p.experimenter ? undefined : p.type) {
    case NXCPT.BRIDGE:
      if (body.left !== UUID_SIZE) throw new OfDecodeError('OFPBPC_BAD_LEN');
      c.bridge = uuidText(body.rest());
      break;
    case NXCPT.STACK:
      if (body.left > MAX_STACK_VALUE) throw new OfDecodeError('OFPBPC_BAD_LEN');
      c.stack.unshift(body.rest());
      break;
    case NXCPT.MIRRORS:
      c.mirrors = propU32(p);
      break;
    case NXCPT.CONNTRACKED:
      c.conntracked = true;
      break;
    case NXCPT.TABLE_ID:
      at.tableId = propU8(p);
      break;
    case NXCPT.COOKIE:
      at.cookie = propU64(p);
      break;
    case NXCPT.ACTIONS:
      c.actions.push({ ...at, actions: pullActions(propNested(p), version, false) });
      break;
    case NXCPT.ACTION_SET:
      c.actionSet = pullActions(propNested(p), version, false);
      break;
    case NXCPT.ODP_PORT:
      c.odpPort = propU32(p);
      break;
    default:
      unknownProp(log, loose, 'continuation', p);
  }
}

/** Reads a continuation to the end of `r`. */
export function pullContinuation(r: Reader, version: number, loose: boolean): Continuation {
  const c = emptyContinuation();
  const at: At = { tableId: 0, cookie: 0n };
  for (const p of pullProps(r)) readProp(c, at, p, version, loose);
  return c;
}

/** Appends the properties of a continuation. */
export function putContinuation(w: Writer, c: Continuation, version: number): void {
  if (c.bridge !== NO_BRIDGE) putProp(w, NXCPT.BRIDGE, () => w.putBytes(uuidBytes(c.bridge)));
  for (const value of c.stack.toReversed()) putProp(w, NXCPT.STACK, () => w.putBytes(value));
  if (c.mirrors) putPropU32(w, NXCPT.MIRRORS, c.mirrors);
  if (c.conntracked) putProp(w, NXCPT.CONNTRACKED);
  putActions(w, c, version);
  if (c.actionSet.length) putActionList(w, NXCPT.ACTION_SET, c.actionSet, version);
  if (c.odpPort) putPropU32(w, NXCPT.ODP_PORT, c.odpPort);
}

function putActions(w: Writer, c: Continuation, version: number): void {
  const at: At = { tableId: 0, cookie: 0n };
  for (const { tableId, cookie, actions } of c.actions) {
    if (tableId !== at.tableId) putPropU8(w, NXCPT.TABLE_ID, tableId);
    if (cookie !== at.cookie) putPropU64(w, NXCPT.COOKIE, cookie);
    [at.tableId, at.cookie] = [tableId, cookie];
    if (actions.length) putActionList(w, NXCPT.ACTIONS, actions, version);
  }
}

function putActionList(w: Writer, type: number, actions: readonly Ofpact[], version: number): void {
  putPropNested(w, type, () => encodeActions(w, actions, version));
}
