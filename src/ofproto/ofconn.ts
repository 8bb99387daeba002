import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import { decode, encode } from '../openflow/codec.ts';
import { ofError } from '../openflow/error.ts';
import type { AsyncConfig, AsyncConfigHalf, Envelope, Message, PacketInFormat } from '../openflow/messages.ts';
import { OFP10_VERSION, OFP12_VERSION, OFP14_VERSION } from './config.ts';
import type { OfStream } from './of-stream.ts';
import { N_TABLES } from './oftable.ts';

/** One OpenFlow connection: version negotiation, and the state that a controller can set. */

export type OfconnType = 'primary' | 'service' | 'snoop';
export type OfconnRole = 'equal' | 'primary' | 'secondary';

export interface OfconnEvents {
  /** A message of the negotiated version. */
  request(conn: Ofconn, env: Envelope, raw: Uint8Array): void;
  /** The version is agreed on. */
  ready(conn: Ofconn): void;
  /** Every message, for snooping. */
  copy(conn: Ofconn, raw: Uint8Array): void;
}

const OFPT_HELLO = 0;
/** Leaves room for the headers of any error. */
const ERROR_DATA_MAX = 0xffff - 64;
const OFP_DEFAULT_MISS_SEND_LEN = 128;

const bits = (...reasons: number[]): number => reasons.reduce((m, r) => m | (1 << r), 0);
const noAsync = (): AsyncConfigHalf => ({
  packetIn: 0,
  portStatus: 0,
  flowRemoved: 0,
  roleStatus: 0,
  tableStatus: 0,
  requestForward: 0,
});

/** What a controller gets when it has not said otherwise. */
export function defaultAsyncConfig(version: number): AsyncConfig {
  const packetIn = bits(0, 1, 3, 4, 5, 6) | (version <= OFP12_VERSION ? bits(7) : 0);
  const flowRemoved = version >= OFP14_VERSION ? bits(0, 1, 2, 3, 4, 5) : bits(0, 1, 2, 3);
  const primary = { ...noAsync(), packetIn, portStatus: bits(0, 1, 2), flowRemoved };
  return { primary, secondary: { ...noAsync(), portStatus: bits(0, 1, 2) } };
}

export class Ofconn {
  readonly type: OfconnType;
  readonly name: string;
  readonly stream: OfStream;
  readonly #events: OfconnEvents;
  readonly #allowed: number;
  /** 0 until negotiated. */
  version = 0;
  role: OfconnRole = 'equal';
  missSendLen: number;
  async: AsyncConfig | undefined;
  packetInFormat: PacketInFormat = 'standard';
  controllerId = 0;
  flowModTableId = false;
  /** OpenFlow 1.0 with Nicira's extended matches. */
  nxm = false;
  readonly enableAsync: boolean;
  lastActivityMs = 0;

  /** `versions`: bit n = version n may be spoken. */
  constructor(
    type: OfconnType,
    name: string,
    stream: OfStream,
    versions: number,
    events: OfconnEvents,
    enableAsync = true,
  ) {
    this.type = type;
    this.name = name;
    this.stream = stream;
    this.#allowed = versions;
    this.#events = events;
    this.enableAsync = enableAsync;
    this.missSendLen = type === 'primary' ? OFP_DEFAULT_MISS_SEND_LEN : 0;
  }

  /** Sends the hello. */
  start(): void {
    const highest = 31 - Math.clz32(this.#allowed);
    this.stream.send(encode({ type: 'hello', versions: this.#allowed }, highest, 1));
  }

  /** Handles one message from the peer. */
  receive(raw: Uint8Array): void {
    if (this.version === 0) {
      this.#negotiate(raw);
      return;
    }
    if (raw[1] === OFPT_HELLO) return;
    this.#events.copy(this, raw);
    const result = decode(raw, { version: this.version, nTables: N_TABLES, flowModTableId: this.flowModTableId });
    if (result.ok) this.#events.request(this, result.value, raw);
    else this.sendError(result.error.name, raw);
  }

  /** Answers a request. */
  reply(message: Message, xid: number, nxm = false): void {
    this.sendRaw(encode(message, this.version, xid, { nxm: nxm || this.nxm, flowModTableId: this.flowModTableId }));
  }

  /** Answers with an error that carries the request, as much of it as fits. */
  sendError(error: OfErrorName, request: Uint8Array): void {
    const xid = ((request[4] << 24) | (request[5] << 16) | (request[6] << 8) | request[7]) >>> 0;
    const data = request.slice(0, ERROR_DATA_MAX);
    this.sendRaw(encode({ type: 'error', error: ofError(error), data }, this.version, xid));
  }

  /** Sends what the peer did not ask for; false when it was dropped. */
  notify(message: Message): boolean {
    const messages = encode(message, this.version, 0, { nxm: this.nxm });
    for (const m of messages) this.#events.copy(this, m);
    return this.stream.sendAsync(messages);
  }

  sendRaw(messages: readonly Uint8Array[]): void {
    for (const m of messages) this.#events.copy(this, m);
    this.stream.send(messages);
  }

  /** Whether an asynchronous message of that kind and reason is wanted. */
  wants(kind: keyof AsyncConfigHalf, reason: number): boolean {
    if (this.version === 0 || this.stream.closed || this.type === 'snoop') return false;
    if (this.type === 'service' && this.missSendLen === 0) return false;
    if (!this.enableAsync && !this.async) return false;
    const config = this.async ?? defaultAsyncConfig(this.version);
    return ((config[this.role === 'secondary' ? 'secondary' : 'primary'][kind] >>> reason) & 1) === 1;
  }

  /** The first message must be a hello; picks the highest version that both sides speak. */
  #negotiate(raw: Uint8Array): void {
    if (raw[1] !== OFPT_HELLO) {
      this.stream.close('EPROTO');
      return;
    }
    const result = decode(raw);
    const theirs = result.ok && result.value.message.type === 'hello' ? result.value.message.versions : 0;
    const common = theirs & this.#allowed;
    if (!common) {
      this.#refuse(raw, theirs);
      return;
    }
    this.version = 31 - Math.clz32(common);
    this.#events.ready(this);
  }

  #refuse(raw: Uint8Array, theirs: number): void {
    const highest = 31 - Math.clz32(this.#allowed);
    const version = raw[0] < highest ? Math.max(raw[0], OFP10_VERSION) : highest;
    const text = `We support ${versionText(this.#allowed)}, you support ${versionText(theirs)}, no common versions.`;
    const data = new TextEncoder().encode(text);
    this.stream.send(encode({ type: 'error', error: ofError('OFPHFC_INCOMPATIBLE'), data }, version, 0));
    this.stream.close('EPROTO');
  }
}

/** `version 0x01`, or `versions 0x01, 0x04`. */
function versionText(versions: number): string {
  const list: string[] = [];
  for (let v = 1; v < 31; v++) if (versions & (1 << v)) list.push(`0x${v.toString(16).padStart(2, '0')}`);
  return list.length === 1 ? `version ${list[0]}` : `versions ${list.join(', ')}`;
}
