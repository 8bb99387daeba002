import { vlogModule } from '../../base/vlog.ts';
import { decode, encode } from '../../openflow/codec.ts';
import { FlowTextError } from '../../openflow/field-text.ts';
import type { Message, MessageOf, MessageType } from '../../openflow/messages.ts';
import type { PortNames } from '../../openflow/port.ts';
import { readHeader } from '../../openflow/print/header.ts';
import { ofpToString } from '../../openflow/print/ofp-print.ts';
import {
  encodeOptionsOf,
  FLOW_DUMP_PROTOCOLS,
  P_OF10_NXM_ANY,
  P_OF10_STD_ANY,
  PROTOCOL_BITS,
  type Protocol,
  type Protocols,
  protocolOfVersion,
  protocolSetTid,
  protocolsToString,
  versionOfProtocol,
} from '../../openflow/protocol.ts';
import { errMessage, type OfctlContext, outMessage } from './context.ts';
import { Exit, Fatal, fatalErrno } from './fatal.ts';
import { namesToShow } from './names.ts';
import { openVconn, type Vconn, VconnError } from './vconn.ts';
import { nextXid, xidOf } from './xid.ts';

/** What commands do with a switch: open it, ask it, change it, and print what it answers. */

const log = vlogModule('ofctl');

/** Opens SWITCH with what the options allow. */
export async function openSwitch(c: OfctlContext, name: string, suffix: 'mgmt' | 'snoop' = 'mgmt'): Promise<Vconn> {
  const { versions, tls } = c.options;
  return openVconn(name, suffix, { versions, tls, anyVersion: suffix === 'snoop' });
}

/** One message with a transaction id of its own, in the vconn's version. Throws Fatal when that has no such message. */
export function encodeRequest(vconn: { version: number }, message: Message, protocol = 0): Uint8Array {
  if (message.type === 'group_mod') checkGroupCommand(message, vconn.version);
  try {
    return encode(message, vconn.version, nextXid(), encodeOptionsOf(protocol))[0];
  } catch (e) {
    // The message as such was checked when its text was read: what is left is that the version does not have it.
    throw new Fatal((e as Error).message);
  }
}

const OFP10_VERSION = 1;
const OFP15_VERSION = 6;

/** Buckets are changed one by one in OpenFlow 1.5, and by Nicira's extension in 1.0. */
function checkGroupCommand({ command }: MessageOf<'group_mod'>, version: number): void {
  if (command !== 'insert_bucket' && command !== 'remove_bucket') return;
  if (version === OFP10_VERSION || version >= OFP15_VERSION) return;
  throw new Fatal(`${command.replace('_', '-')} needs OpenFlow 1.5 or later ('-O OpenFlow15')`);
}

/** Runs a parser of text; what it says is wrong ends the program. */
export function parsing<T>(parse: () => T): T {
  try {
    return parse();
  } catch (e) {
    if (e instanceof FlowTextError) throw new Fatal(e.message);
    throw e;
  }
}

/** Waits on the connection for a purpose that the error message names. */
async function receiving<T>(purpose: string, wait: () => Promise<T>): Promise<T> {
  try {
    return await wait();
  } catch (e) {
    if (e instanceof VconnError) throw fatalErrno(e.code, purpose);
    throw e;
  }
}

export const receive = (vconn: Vconn): Promise<Uint8Array> =>
  receiving('OpenFlow packet receive failed', () => vconn.recv());

/** Type of the message, undefined when its headers can't be read. */
export const typeOf = (msg: Uint8Array): string | undefined => readHeader(msg)?.type;

/** Decodes a reply that must be of this type. Throws Fatal with its text. */
export function expectReply<T extends MessageType>(c: OfctlContext, msg: Uint8Array, type: T): MessageOf<T> {
  const result = decode(msg);
  if (result.ok && result.value.message.type === type) return result.value.message as MessageOf<T>;
  throw new Fatal(`received bad reply: ${ofpToString(msg, c.options.verbosity + 1)}`);
}

const moreOf = (msg: Uint8Array): boolean => ((readHeader(msg)?.statsFlags ?? 0) & 1) !== 0;

/** Asks for statistics; calls `take` for every message of the reply until the last. An error ends it too, after `take`. */
export async function eachReply(vconn: Vconn, request: Uint8Array, take: (msg: Uint8Array) => void): Promise<void> {
  const xid = xidOf(request);
  vconn.send(request);
  for (;;) {
    const msg = await receive(vconn);
    if (xidOf(msg) !== xid) {
      const hex = (n: number) => n.toString(16).padStart(8, '0');
      log.dbg(() => `received reply with xid ${hex(xidOf(msg))} != expected ${hex(xid)}`);
      continue;
    }
    take(msg);
    if (typeOf(msg) === 'error' || !moreOf(msg)) return;
  }
}

/** Sends a request and prints the whole reply. */
export async function dumpTransaction(c: OfctlContext, vconn: Vconn, request: Uint8Array): Promise<void> {
  const verbosity = c.options.verbosity + 1;
  const names = await namesToShow(c, vconn.name);
  const header = readHeader(request);
  if (header?.statsFlags === undefined) {
    outMessage(ofpToString(await vconn.transact(request), verbosity, names));
    return;
  }
  const wanted = header.type.replace(/_request$/, '_reply');
  await eachReply(vconn, request, (msg) => {
    const type = typeOf(msg);
    outMessage(ofpToString(msg, verbosity, names));
    if (type !== 'error' && type !== wanted)
      throw new Fatal(`received bad reply: ${ofpToString(msg, verbosity, names)}`);
  });
}

/** Opens SWITCH, sends a request and prints the reply. */
export async function dumpTrivial(c: OfctlContext, name: string, message: Message): Promise<void> {
  const vconn = await openSwitch(c, name);
  await dumpTransaction(c, vconn, encodeRequest(vconn, message));
  vconn.close();
}

/** Sends requests that have replies only when they fail, one after the other. The first failure is printed and ends the program. */
export async function transactNoreply(c: OfctlContext, vconn: Vconn, ...requests: Uint8Array[]): Promise<void> {
  for (const request of requests) {
    const reply = await vconn.transactNoreply(request);
    if (!reply) continue;
    errMessage(ofpToString(reply, c.options.verbosity + 2, await namesToShow(c, vconn.name)));
    throw new Exit(1);
  }
}

/** The flow format after a step from `current` towards `want`, and the request for it; undefined when there is no step. */
function nextProtocol(current: Protocol, want: Protocol): { message: Message; next: Protocol } | undefined {
  if (current === want || versionOfProtocol(current) !== versionOfProtocol(want)) return undefined;
  const base = (p: Protocol) => protocolSetTid(p, false);
  if (base(current) !== base(want)) {
    const nxm = (want & P_OF10_NXM_ANY) !== 0;
    return {
      message: { type: 'set_flow_format', format: nxm ? 'nxm' : 'openflow10' },
      next: protocolSetTid(base(want), encodeOptionsOf(current).flowModTableId),
    };
  }
  const enable = encodeOptionsOf(want).flowModTableId;
  return { message: { type: 'flow_mod_table_id', enable }, next: protocolSetTid(current, enable) };
}

/** Changes the flow format of a connection. Returns whether it is in force. */
async function trySetProtocol(vconn: Vconn, want: Protocol, from: { protocol: Protocol }): Promise<boolean> {
  for (;;) {
    const step = nextProtocol(from.protocol, want);
    if (!step) return from.protocol === want;
    const reply = await vconn.transactNoreply(encodeRequest(vconn, step.message));
    if (reply) {
      log.dbg(() => `${vconn.name}: failed to set protocol, switch replied: ${ofpToString(reply, 2)}`);
      return false;
    }
    from.protocol = step.next;
  }
}

function noUsableFormat(c: OfctlContext, usable: Protocols): Fatal {
  return new Fatal(
    `none of the usable flow formats (${protocolsToString(usable)}) is among the allowed flow formats (${protocolsToString(c.options.protocols)})`,
  );
}

const noFormatOfSwitch = (usable: Protocols): Fatal =>
  new Fatal(`switch does not support any of the usable flow formats (${protocolsToString(usable)})`);

/** Opens SWITCH for changes that `usable` formats can carry. */
export async function openForMod(
  c: OfctlContext,
  name: string,
  usable: Protocols,
): Promise<{ vconn: Vconn; protocol: Protocol }> {
  const wanted = usable & c.options.protocols;
  if (!wanted) throw noUsableFormat(c, usable);
  const vconn = await openSwitch(c, name);
  const from = { protocol: protocolOfVersion(vconn.version) };
  if (wanted & from.protocol) return { vconn, protocol: from.protocol };
  const first = from.protocol;
  for (const bit of PROTOCOL_BITS) {
    if (bit !== first && wanted & bit && (await trySetProtocol(vconn, bit, from))) return { vconn, protocol: bit };
  }
  throw noFormatOfSwitch(usable);
}

/** Chooses the flow format of a dump on a connection that is open. */
export async function setProtocolForDump(c: OfctlContext, vconn: Vconn, usable: Protocols): Promise<Protocol> {
  const from = { protocol: protocolOfVersion(vconn.version) };
  const wanted = usable & c.options.protocols;
  for (const p of FLOW_DUMP_PROTOCOLS) if (wanted & p && (await trySetProtocol(vconn, p, from))) return p;
  throw wanted ? noFormatOfSwitch(usable) : noUsableFormat(c, usable);
}

/** True for OpenFlow 1.0's own flow messages, which say less. */
export const isStandard10 = (protocol: Protocol): boolean => (protocol & P_OF10_STD_ANY) !== 0;

export type { PortNames };
