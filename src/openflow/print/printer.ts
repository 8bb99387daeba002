import type { MessageFamily } from '../../../protocols/openflow-messages.ts';
import type { MessageOf, MessageType } from '../messages.ts';
import type { PortNames } from '../port.ts';

/** What a message's printer gets beside the message. */
export interface PrintContext {
  version: number;
  family: MessageFamily;
  /** Number within the family. */
  number: number;
  /** 0: least. */
  verbosity: number;
  /** Names of ports and tables to show. */
  names: PortNames | undefined;
  /** The message itself, from its header on. */
  bytes: Uint8Array;
}

/** What follows the header's text; it begins with a space or a new line. */
export type Printer<T extends MessageType> = (m: MessageOf<T>, p: PrintContext) => string;

/** A type without a row has nothing to say beyond its name. */
export type Printers = { readonly [T in MessageType]?: Printer<T> };
