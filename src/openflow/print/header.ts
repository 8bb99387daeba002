import { OFP15_VERSION } from '../../../protocols/openflow.ts';
import type { OfErrorName } from '../../../protocols/openflow-errors.ts';
import type { MessageFamily } from '../../../protocols/openflow-messages.ts';
import { OfDecodeError, Reader } from '../buffer.ts';
import { checkLength, RAWS, rawText, readHead } from '../message-raw.ts';
import type { MessageType } from '../messages.ts';

/** What the headers of a message say, and the names that Open vSwitch's users know messages by. */

export interface MessageHeader {
  version: number;
  xid: number;
  type: MessageType;
  family: MessageFamily;
  number: number;
  /** Statistics: the header's flags; undefined for other messages. */
  statsFlags: number | undefined;
  statsRequest: boolean;
  /** Where the body begins. */
  bodyAt: number;
}

/** `OFPT_FLOW_MOD`, `NXST_FLOW reply`. */
export function messageName(family: MessageFamily, type: string, number: number): string {
  const raw = RAWS.find((k) => k.family === family && k.type === type && k.number === number);
  return raw ? rawText(raw) : type;
}

const OFPT_HELLO = 0;

/** Reads the headers. Undefined when there is no such message; its length may be impossible. */
export function readHeader(msg: Uint8Array): MessageHeader | undefined {
  const result = decodeHeader(msg, false);
  return typeof result === 'string' ? undefined : result;
}

/** Reads the headers, and unless the message is cut short checks that one of its type can be that long. Or says what is wrong. */
export function decodeHeader(msg: Uint8Array, whole = true): MessageHeader | OfErrorName {
  try {
    return headerOf(msg, whole);
  } catch (e) {
    if (e instanceof OfDecodeError) return e.ofError;
    throw e;
  }
}

function headerOf(msg: Uint8Array, whole: boolean): MessageHeader {
  if (msg.length < 8) throw new OfDecodeError('OFPBRC_BAD_LEN');
  const [version, code] = msg;
  const r = new Reader(msg, 8);
  // A hello of a version to come is still a hello.
  const { raw } = readHead(r, code === OFPT_HELLO && version > OFP15_VERSION ? OFP15_VERSION : version, code);
  if (whole) checkLength(raw, r.pos, msg.length);
  const { type, family, number, reply } = raw;
  const stats = family.endsWith('ST');
  const statsFlags = stats ? r.view.getUint16(10) : undefined;
  const statsRequest = stats && !reply;
  return { version, xid: r.view.getUint32(4), type, family, number, statsFlags, statsRequest, bodyAt: r.pos };
}
