import { OFP_HEADER_SIZE } from '../../../protocols/openflow.ts';
import type { OfErrorName } from '../../../protocols/openflow-errors.ts';
import { decode } from '../codec.ts';
import type { Envelope, MessageOf, MessageType } from '../messages.ts';
import type { PortNames } from '../port.ts';
import { versionsOfBitmap } from '../protocol.ts';
import { BASIC } from './basic.ts';
import { elementEnds } from './elements.ts';
import { FLOWS } from './flows.ts';
import { GROUPS } from './groups.ts';
import { decodeHeader, type MessageHeader, messageName, readHeader } from './header.ts';
import { METERS_TEXT } from './meters.ts';
import { NICIRA } from './nicira.ts';
import { PACKETS } from './packets.ts';
import { PORTS } from './ports.ts';
import type { PrintContext, Printers } from './printer.ts';
import { TABLES } from './tables.ts';
import { bitNames, chomp, escapePrintable, hexDump, hexOf } from './text.ts';

/**
 * OpenFlow messages in the text of ovs-ofctl(8)'s ofp-print: a line of name, version and transaction, then what the message says, at a
 * verbosity from 0 up. Any bytes have a text; it always ends in a new line.
 */

const BUNDLE_FLAGS = new Map([
  [1 << 0, 'atomic'],
  [1 << 1, 'ordered'],
]);

const bundle = (id: number, rest: string, flags: number): string =>
  `\n bundle_id=${hexOf(id)}${rest} flags=${bitNames(flags, BUNDLE_FLAGS, ' ')}`;

/** Those that hold other messages, and hello. */
const ENVELOPES: Printers = {
  hello: helloText,
  error: errorText,
  bundle_control: (m) => bundle(m.bundleId, ` type=${m.control.toUpperCase()}`, m.flags),
  bundle_add_message: (m, { names, verbosity }) =>
    `${bundle(m.bundleId, '', m.flags)}\n${ofpToString(m.message, verbosity, names)}`,
};

const PRINTERS: Printers = {
  ...ENVELOPES,
  ...BASIC,
  ...PORTS,
  ...TABLES,
  ...GROUPS,
  ...METERS_TEXT,
  ...PACKETS,
  ...FLOWS,
  ...NICIRA,
};

const OFPHET_VERSIONBITMAP = 1;

/** True when a hello has elements that are unknown or malformed. */
function helloHasMore(bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = OFP_HEADER_SIZE; at < bytes.length; ) {
    if (bytes.length - at < 4) return true;
    const [type, length] = [view.getUint16(at), view.getUint16(at + 2)];
    const end = at + ((length + 7) & ~7);
    if (length < 4 || end > bytes.length) return true;
    if (type !== OFPHET_VERSIONBITMAP || length < 8 || length % 4 !== 0) return true;
    // There is no version 0: that bit alone says nothing.
    if (view.getUint32(at + 4) >>> 1 === 0) return true;
    at = end;
  }
  return false;
}

function helloText(m: MessageOf<'hello'>, { bytes }: PrintContext): string {
  const versions = versionsOfBitmap(m.versions).map((v) => `0x${v.toString(16).padStart(2, '0')}`);
  const more = helloHasMore(bytes) ? `\n unknown data in hello:\n${hexDump(bytes, true)}` : '';
  return `\n version bitmap: ${versions.join(', ')}${more}`;
}

/** The message that failed, or for a failed hello its explanation. */
function errorText(m: MessageOf<'error'>, { names }: PrintContext): string {
  const { name } = m.error;
  const words = name === 'OFPHFC_INCOMPATIBLE' || name === 'OFPHFC_EPERM';
  return ` ${name}\n${words ? escapePrintable(m.data) : ofpToString(m.data, 1, names)}`;
}

const VERSIONS = ['', '', ' (OF1.1)', ' (OF1.2)', ' (OF1.3)', ' (OF1.4)', ' (OF1.5)'];

function headerText(h: MessageHeader): string {
  const version = VERSIONS[h.version] ?? ` (OF 0x${h.version.toString(16).padStart(2, '0')})`;
  return `${messageName(h.family, h.type, h.number)}${version} (xid=0x${h.xid.toString(16)}):`;
}

const MORE = 1;
const OFP13_VERSION = 4;

function statsFlagsText(h: MessageHeader): string {
  if (!h.statsFlags) return '';
  const more = (!h.statsRequest || h.version >= OFP13_VERSION) && (h.statsFlags & MORE) !== 0;
  const rest = more ? h.statsFlags & ~MORE : h.statsFlags;
  const unknown = rest ? `[***unknown flags 0x${rest.toString(16).padStart(4, '0')}***]` : '';
  return ` flags=${more ? '[more]' : ''}${unknown}`;
}

function bodyText(e: Envelope, h: MessageHeader, bytes: Uint8Array, verbosity: number, names?: PortNames): string {
  const printer = PRINTERS[e.message.type] as ((m: MessageOf<MessageType>, p: PrintContext) => string) | undefined;
  const { version, family, number } = h;
  return printer?.(e.message, { version, family, number, verbosity, names, bytes }) ?? '';
}

const withNewline = (s: string): string => (s === '' || s.endsWith('\n') ? s : `${s}\n`);

function messageText(msg: Uint8Array, verbosity: number, names: PortNames | undefined): string {
  const header = decodeHeader(msg);
  if (typeof header === 'string') return decodeErrorText('', header, msg);
  const head = headerText(header);
  const flags = statsFlagsText(header);
  const result = decode(msg, { flowModTableId: true, loose: true });
  if (!result.ok) {
    const known = FALLBACKS[header.type]?.(msg, header);
    if (known !== undefined) return withNewline(head + known);
    // An error of which nothing is known is no error.
    if (header.type === 'error') return decodeErrorText(`${head} `, 'OFPBRC_BAD_LEN', msg);
    const whole = wholePart(header, msg);
    const good = flags + (whole ? bodyText(whole, header, msg, verbosity, names) : '');
    return decodeErrorText(good ? withNewline(chomp(head + good, ' ')) : `${head} `, result.error.name, msg);
  }
  const text = chomp(head + flags + bodyText(result.value, header, msg, verbosity, names), ' ');
  return withNewline(verbosity >= 5 ? withNewline(text) + hexDump(msg, true) : text);
}

/** Messages that have a text also where what they ask for is refused. */
const FALLBACKS: { readonly [T in MessageType]?: (msg: Uint8Array, header: MessageHeader) => string } = {
  set_flow_format: () => ' format=(unknown)',
  ct_flush_zone: (msg, { bodyAt }) => ` zone_id=${(msg[bodyAt + 6] << 8) | msg[bodyAt + 7]}`,
  bundle_control: (msg, { bodyAt }) => {
    const view = new DataView(msg.buffer, msg.byteOffset + bodyAt);
    return bundle(view.getUint32(0), ' type=', view.getUint16(6));
  },
};

/** What can be decoded of a list that breaks off: the message with as many elements as that is possible for. */
function wholePart(header: MessageHeader, msg: Uint8Array): Envelope | undefined {
  let found: Envelope | undefined;
  for (const end of elementEnds(header, msg)) {
    const part = msg.slice(0, end);
    [part[2], part[3]] = [end >> 8, end & 0xff];
    const result = decode(part, { flowModTableId: true, loose: true });
    if (!result.ok) break;
    found = result.value;
  }
  return found;
}

const decodeErrorText = (head: string, error: OfErrorName, msg: Uint8Array): string =>
  `${head}***decode error: ${error}***\n${hexDump(msg, true)}`;

/** The text of one message, whatever `msg` is. */
export function ofpToString(msg: Uint8Array, verbosity: number, names?: PortNames): string {
  if (msg.length === 0) return 'OpenFlow message is empty\n';
  if (msg.length < OFP_HEADER_SIZE)
    return `OpenFlow packet too short (only ${msg.length} bytes):\n${hexDump(msg, true)}`;
  const length = (msg[2] << 8) | msg[3];
  if (length > msg.length) {
    const header = readHeader(msg);
    const head = header ? `${headerText(header)}\n` : '';
    return `${head}(***truncated to ${msg.length} bytes from ${length}***)\n${hexDump(msg, true)}`;
  }
  if (length < msg.length) return `(***only uses ${length} bytes out of ${msg.length}***)\n${hexDump(msg, true)}`;
  return messageText(msg, verbosity, names);
}
