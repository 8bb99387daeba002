import type { OfError } from './error.ts';
import type { Envelope, Message } from './messages.ts';

/** What the codec must know of the switch beside the bytes. */
export interface CodecContext {
  /** Number of tables: a flow-mod's goto_table and resubmit are checked against it. Default 254. */
  nTables?: number;
}

export type DecodeResult = { ok: true; value: Envelope } | { ok: false; error: OfError; version: number; xid: number };

/** Decodes one whole message (its length field is `msg.length`). Copies what it keeps. */
export declare function decode(msg: Uint8Array, ctx?: CodecContext): DecodeResult;

/**
 * Encodes a message; replies of statistics that are longer than 65,535 bytes become several. Requests are encoded as ovs-ofctl
 * does. Throws when `version` has no form of the message.
 */
export declare function encode(message: Message, version: number, xid: number, opts?: { nxm?: boolean }): Uint8Array[];
