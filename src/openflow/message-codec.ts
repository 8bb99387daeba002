import type { MessageFamily } from '../../protocols/openflow-messages.ts';
import type { Reader, Writer } from './buffer.ts';
import type { MessageOf, MessageType } from './messages.ts';

/** What a message's coder gets beside the bytes. */
export interface DecodeContext {
  version: number;
  family: MessageFamily;
  /** Number within the family. */
  number: number;
  /** Statistics replies: another part follows. */
  more: boolean;
  /** Tables of the switch, 255: not known. */
  nTables: number;
  /** The connection has turned NXT_FLOW_MOD_TABLE_ID on. */
  flowModTableId: boolean;
}

export interface EncodeContext {
  version: number;
  family: MessageFamily;
  number: number;
  flowModTableId: boolean;
}

/** Reads and writes the body of one type of message: what follows the headers of OpenFlow, the vendor and the statistics. */
export interface MessageCodec<T extends MessageType> {
  decode(r: Reader, ctx: DecodeContext): MessageOf<T>;
  encode(w: Writer, m: MessageOf<T>, ctx: EncodeContext): void;
  /** Statistics replies: lists that can be cut into several messages; encodes one element. */
  parts?: (m: MessageOf<T>, ctx: EncodeContext) => ((w: Writer) => void)[];
}

export type MessageCodecs = { readonly [T in MessageType]?: MessageCodec<T> };

/** A message without a body. */
export function emptyCodec<T extends MessageType>(message: MessageOf<T>): MessageCodec<T> {
  return { decode: () => message, encode: () => undefined };
}
