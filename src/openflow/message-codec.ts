import type { RawName } from '../../protocols/openflow-messages.ts';
import type { Reader, Writer } from './buffer.ts';
import type { MessageOf, MessageType } from './messages.ts';

/** What a message's coder gets beside the bytes. */
export interface DecodeContext {
  version: number;
  /** The form of the message, Open vSwitch's name for it. */
  raw: RawName;
  /** Statistics: another part follows. */
  more: boolean;
  /** Tables of the switch, 255: not known. */
  nTables: number;
  /** The connection has turned NXT_FLOW_MOD_TABLE_ID on. */
  flowModTableId: boolean;
  /** A controller's view: what is not understood is left out; otherwise it is an error. */
  loose: boolean;
  /** The header's. */
  xid: number;
}

export interface EncodeContext {
  version: number;
  raw: RawName;
  flowModTableId: boolean;
}

/** Reads and writes the body of one type of message: what follows the headers of OpenFlow, the vendor and the statistics. */
export interface MessageCodec<T extends MessageType> {
  decode(r: Reader, ctx: DecodeContext): MessageOf<T>;
  encode(w: Writer, m: MessageOf<T>, ctx: EncodeContext): void;
  /** Statistics: lists that can be cut into several messages; encodes one element. */
  parts?: (m: MessageOf<T>, ctx: EncodeContext) => ((w: Writer) => void)[];
  /** An element is too long for any message: it is left out, and this says so. Without it that is an error. */
  tooLong?: () => void;
}

export type MessageCodecs = { readonly [T in MessageType]?: MessageCodec<T> };

/** A message without a body. */
export function emptyCodec<T extends MessageType>(message: MessageOf<T>): MessageCodec<T> {
  return { decode: () => message, encode: () => undefined };
}
