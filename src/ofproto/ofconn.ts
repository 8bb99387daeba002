import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { CodecContext } from '../openflow/codec.ts';
import { decode, encode, typeOf } from '../openflow/codec.ts';
import { ofError } from '../openflow/error.ts';
import { FlowAddReader } from '../openflow/flow-add.ts';
import type { Match } from '../openflow/match.ts';
import {
  type AsyncConfig,
  type AsyncConfigHalf,
  type Envelope,
  type FlowModCommand,
  type Message,
  type MessageType,
  OFPR_INVALID_TTL,
  type PacketInFormat,
} from '../openflow/messages.ts';
import { TunTable } from '../openflow/tun-metadata.ts';
import { OFP10_VERSION, OFP12_VERSION, OFP13_VERSION, OFP14_VERSION, OFP15_VERSION } from './config.ts';
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
  /** A message of another version than the negotiated one. */
  badVersion(conn: Ofconn, raw: Uint8Array): void;
  /** An error is about to be sent. */
  error(conn: Ofconn, name: OfErrorName, request: Uint8Array): void;
  /** Every message, for the log and for snoopers. */
  traffic(conn: Ofconn, raw: Uint8Array, way: 'sent' | 'received'): void;
  /** Which versions the two sides speak, as bit maps; they have agreed on one, or not. */
  negotiated(conn: Ofconn, ours: number, theirs: number): void;
}

const OFPT_HELLO = 0;
/** Flow-removed messages of some hundred thousand flows are less. */
const UNREAD_MAX = 128 << 20;
/** Leaves room for the headers of any error. */
const ERROR_DATA_MAX = 0xffff - 64;
export const OFP_DEFAULT_MISS_SEND_LEN = 128;

/** What a secondary controller may not do (OpenFlow 1.2 section 6.3.4). */
export const SECONDARY_MAY_NOT: ReadonlySet<MessageType> = new Set<MessageType>([
  'flow_mod',
  'packet_out',
  'port_mod',
  'table_mod',
  'group_mod',
  'meter_mod',
  'bundle_control',
  'bundle_add_message',
  'nxt_tlv_table_mod',
]);

/** What a controller may say without having taken the switch. */
const BEFORE_ADMISSION: ReadonlySet<MessageType> = new Set<MessageType>([
  'hello',
  'error',
  'echo_request',
  'echo_reply',
  'features_request',
  'get_config_request',
  'set_config',
  'queue_get_config_request',
  'get_async_request',
  'group_stats_request',
  'group_desc_stats_request',
  'group_features_stats_request',
  'table_features_stats_request',
  'table_desc_request',
]);

const bits = (...reasons: number[]): number => reasons.reduce((m, r) => m | (1 << r), 0);
const INVALID_TTL = 1 << OFPR_INVALID_TTL;
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
  const flowRemoved =
    version >= OFP14_VERSION ? bits(0, 1, 2, 3, 4, 5) : version === OFP13_VERSION ? bits(0, 1, 2, 3) : bits(0, 1, 2);
  const primary = { ...noAsync(), packetIn, portStatus: bits(0, 1, 2), flowRemoved };
  return { primary, secondary: { ...noAsync(), portStatus: bits(0, 1, 2) } };
}

export class Ofconn {
  readonly type: OfconnType;
  /** `bridge<->peer`. */
  readonly name: string;
  /** The peer's target, or what it is called where it has none. */
  peer = '';
  readonly stream: OfStream;
  readonly #events: OfconnEvents;
  readonly #allowed: number;
  /** 0 until negotiated. */
  version = 0;
  role: OfconnRole = 'equal';
  /** The peer has asked for more than what the switch is: it means to control it. */
  admitted = false;
  missSendLen: number;
  async: AsyncConfig | undefined;
  packetInFormat: PacketInFormat = 'standard';
  controllerId = 0;
  flowModTableId = false;
  /** OpenFlow 1.0 with Nicira's extended matches. */
  nxm = false;
  readonly enableAsync: boolean;
  /** The bridge's mapping of tunnel options to fields. */
  readonly tunTable: () => TunTable;
  lastActivityMs = 0;
  #flowAdds: FlowAddReader | undefined = undefined;
  readonly #flowMods = { add: 0, modify: 0, delete: 0, firstMs: 0, lastMs: 0 };

  /** `versions`: bit n = version n may be spoken. */
  constructor(
    type: OfconnType,
    name: string,
    stream: OfStream,
    versions: number,
    events: OfconnEvents,
    enableAsync = true,
    tunTable = () => TunTable.EMPTY,
  ) {
    this.tunTable = tunTable;
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
    this.sendRaw(encode({ type: 'hello', versions: this.#allowed }, highest, 1));
  }

  /** Handles one message from the peer. */
  receive(raw: Uint8Array): void {
    this.#events.traffic(this, raw, 'received');
    if (this.version === 0) {
      this.#negotiate(raw);
      return;
    }
    if (raw[1] === OFPT_HELLO) return;
    const result = decode(raw, this.codecContext());
    if (result.ok) {
      this.admitted ||= !BEFORE_ADMISSION.has(result.value.message.type);
      this.#events.request(this, result.value, raw);
      return;
    }
    if (raw[0] !== this.version && result.error.name === 'OFPBRC_BAD_VERSION') this.#events.badVersion(this, raw);
    this.sendError(this.#mayNot(raw) ? 'OFPBRC_IS_SECONDARY' : result.error.name, raw);
  }

  /** What a secondary controller may not send is refused before its body is looked at. */
  #mayNot(raw: Uint8Array): boolean {
    const type = this.role === 'secondary' && raw[0] === this.version ? typeOf(raw) : undefined;
    return type !== undefined && SECONDARY_MAY_NOT.has(type);
  }

  /** `scratch`: see CodecContext. */
  codecContext(scratch?: Match): CodecContext {
    const { version, flowModTableId } = this;
    return { version, nTables: N_TABLES, flowModTableId, tunTable: this.tunTable(), ...(scratch && { scratch }) };
  }

  /** Reads flow-mods of the negotiated version that are like others of this connection. */
  flowAdds(): FlowAddReader {
    this.#flowAdds ??= new FlowAddReader(this.version, N_TABLES);
    return this.#flowAdds;
  }

  /** Takes note of a flow-mod that was done. */
  countFlowMod(command: FlowModCommand, nowMs: number): void {
    const n = this.#flowMods;
    if (n.add + n.modify + n.delete === 0) n.firstMs = nowMs;
    n[command === 'add' ? 'add' : command.startsWith('modify') ? 'modify' : 'delete']++;
    n.lastMs = nowMs;
  }

  /** What flow-mods there were, in the words of the log, when the first one is `ageMs` ago; they are forgotten. */
  takeFlowModReport(nowMs: number, ageMs: number): string | undefined {
    const n = this.#flowMods;
    const total = n.add + n.modify + n.delete;
    if (total === 0 || nowMs - n.firstMs < ageMs) return undefined;
    const ago = Math.floor((nowMs - n.firstMs) / 1000);
    const interval = Math.floor((n.lastMs - n.firstMs) / 1000);
    const when =
      interval === ago
        ? `in the last ${ago} s`
        : interval
          ? `in the ${interval} s starting ${ago} s ago`
          : `${ago} s ago`;
    const kinds = [
      n.add ? `${n.add} adds` : '',
      n.delete ? `${n.delete} deletes` : '',
      n.modify ? `${n.modify} modifications` : '',
    ];
    n.add = n.modify = n.delete = 0;
    return `${total} flow_mods ${when} (${kinds.filter(Boolean).join(', ')})`;
  }

  /** Answers a request. */
  reply(message: Message, xid: number, nxm = false): void {
    this.sendRaw(encode(message, this.version, xid, { nxm: nxm || this.nxm, flowModTableId: this.flowModTableId }));
  }

  /** Answers with an error that carries the request, as much of it as fits. */
  sendError(error: OfErrorName, request: Uint8Array): void {
    const xid = ((request[4] << 24) | (request[5] << 16) | (request[6] << 8) | request[7]) >>> 0;
    const data = request.slice(0, ERROR_DATA_MAX);
    this.#events.error(this, error, request);
    // In the version of the request, as far as there is one.
    const version = request[0] >= OFP10_VERSION && request[0] <= OFP15_VERSION ? request[0] : this.version;
    this.sendRaw(encode({ type: 'error', error: ofError(error), data }, version, xid));
  }

  /** Sends what the peer did not ask for and must not miss: its requests wait when it does not keep up, and one that never reads is cut off. */
  tell(message: Message): void {
    if (this.stream.queued > UNREAD_MAX) {
      this.stream.close('ENOBUFS');
      this.stream.socket.destroy();
    }
    this.sendRaw(encode(message, this.version, 0, { nxm: this.nxm }));
  }

  /** Sends what the peer can do without, a packet-in; false when it was dropped. */
  notify(message: Message): boolean {
    const messages = encode(message, this.version, 0, { nxm: this.nxm });
    for (const m of messages) this.#events.traffic(this, m, 'sent');
    return this.stream.sendAsync(messages);
  }

  /** Whether two messages are the same in this connection's version. */
  looksSame(a: Message, b: Message): boolean {
    const [x, y] = [a, b].map((m) => encode(m, this.version, 0, { nxm: this.nxm })[0]);
    return Buffer.compare(x, y) === 0;
  }

  sendRaw(messages: readonly Uint8Array[]): void {
    for (const m of messages) this.#events.traffic(this, m, 'sent');
    this.stream.send(messages);
  }

  /** What it has asked for, or what it gets by default. */
  asyncConfig(): AsyncConfig {
    if (this.async) return this.async;
    return this.enableAsync ? defaultAsyncConfig(this.version) : { primary: noAsync(), secondary: noAsync() };
  }

  invalidTtlToController(): boolean {
    return (this.asyncConfig().primary.packetIn & INVALID_TTL) !== 0;
  }

  /** OpenFlow 1.1 and 1.2 say so with the switch's configuration. */
  setInvalidTtlToController(on: boolean): void {
    const { primary, secondary } = this.asyncConfig();
    const packetIn = on ? primary.packetIn | INVALID_TTL : primary.packetIn & ~INVALID_TTL;
    this.async = { primary: { ...primary, packetIn }, secondary };
  }

  /** Whether an asynchronous message of that kind and reason is wanted. */
  wants(kind: keyof AsyncConfigHalf, reason: number): boolean {
    if (this.version === 0 || this.stream.closed || this.type === 'snoop') return false;
    if (this.type === 'service' && this.missSendLen === 0) return false;
    return ((this.asyncConfig()[this.role === 'secondary' ? 'secondary' : 'primary'][kind] >>> reason) & 1) === 1;
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
    if (common) this.version = 31 - Math.clz32(common);
    this.#events.negotiated(this, this.#allowed, theirs);
    if (!common) {
      this.#refuse(raw, theirs);
      return;
    }
    this.#events.ready(this);
  }

  #refuse(raw: Uint8Array, theirs: number): void {
    const highest = 31 - Math.clz32(this.#allowed);
    const version = raw[0] < highest ? Math.max(raw[0], OFP10_VERSION) : highest;
    const text = `We support ${versionText(this.#allowed)}, you support ${versionText(theirs)}, no common versions.`;
    const data = new TextEncoder().encode(text);
    this.sendRaw(encode({ type: 'error', error: ofError('OFPHFC_INCOMPATIBLE'), data }, version, 0));
    this.stream.close('EPROTO');
  }
}

/** `version 0x01`, `version 0x04 and earlier`, or `versions 0x01, 0x04`. */
export function versionText(versions: number): string {
  const hex = (v: number) => `0x${v.toString(16).padStart(2, '0')}`;
  const list: number[] = [];
  for (let v = 1; v < 31; v++) if (versions & (1 << v)) list.push(v);
  if (list.length === 0) return 'no versions';
  if (list.length === 1) return `version ${hex(list[0])}`;
  if (list.length === list.at(-1)) return `version ${hex(list.length)} and earlier`;
  return `versions ${list.map(hex).join(', ')}`;
}
