import { NX_VENDOR_ID, OFP10_VERSION, OFP15_VERSION, ONF_VENDOR_ID } from '../../../protocols/openflow.ts';
import {
  MESSAGE_NUMBERS,
  type MessageFamily,
  OFPST_VENDOR,
  OFPT_STATS_REPLY,
  OFPT_STATS_REQUEST,
  OFPT_VENDOR,
} from '../../../protocols/openflow-messages.ts';

/** What the headers of a message say, and the names that Open vSwitch's users know messages by. */

export interface MessageHeader {
  version: number;
  xid: number;
  /** Of `MESSAGE_NUMBERS`. */
  type: string;
  family: MessageFamily;
  number: number;
  /** Statistics: the header's flags; undefined for other messages. */
  statsFlags: number | undefined;
  statsRequest: boolean;
}

/** Where the name is not the type's in upper case. */
const NAMES: Readonly<Record<string, string>> = {
  'OFPT set_async_config': 'OFPT_SET_ASYNC',
  'NXT 27': 'NXT_SET_ASYNC_CONFIG2',
  'NXT 30': 'NXT_PACKET_IN2',
  'STATS_REQUEST queue_get_config_request': 'OFPST_QUEUE_DESC request',
  'STATS_REPLY queue_get_config_reply': 'OFPST_QUEUE_DESC reply',
};
const PREFIXES: Readonly<Record<string, string>> = { STATS: 'OFPST', NXSTATS: 'NXST', ONFSTATS: 'ONFST' };

/** `OFPT_FLOW_MOD`, `NXST_FLOW reply`. */
export function messageName(family: MessageFamily, type: string, number: number): string {
  const known = NAMES[`${family} ${type}`] ?? NAMES[`${family} ${number}`];
  if (known) return known;
  const stats = /^(.*)_(REQUEST|REPLY)$/.exec(family);
  if (!stats) return `${family}_${type.replace(/^nxt_/, '').toUpperCase()}`;
  const noun = type.replace(/_(request|reply)$/, '').replace(/_stats$/, '');
  return `${PREFIXES[stats[1]] ?? stats[1]}_${noun.toUpperCase()} ${stats[2].toLowerCase()}`;
}

/** Reads the headers. Undefined when there is no such message. */
export function readHeader(msg: Uint8Array): MessageHeader | undefined {
  if (msg.length < 8) return undefined;
  const view = new DataView(msg.buffer, msg.byteOffset, msg.byteLength);
  const version = msg[0];
  const known = Math.min(version, OFP15_VERSION);
  const base = { version, xid: view.getUint32(4), statsFlags: undefined, statsRequest: false };
  const code = msg[1];
  const v = known === OFP10_VERSION ? 'v10' : 'v11';
  if (version < OFP10_VERSION || (version > OFP15_VERSION && code !== 0)) return undefined;
  if (code === OFPT_STATS_REQUEST[v] || code === OFPT_STATS_REPLY[v]) {
    if (msg.length < (known === OFP10_VERSION ? 12 : 16)) return undefined;
    const request = code === OFPT_STATS_REQUEST[v];
    const number = view.getUint16(8);
    const at = known === OFP10_VERSION ? 12 : 16;
    const kind =
      number === OFPST_VENDOR
        ? vendorKind(view, at, known, request ? '_REQUEST' : '_REPLY')
        : findKind(request ? 'STATS_REQUEST' : 'STATS_REPLY', number, known);
    return kind && { ...base, ...kind, statsFlags: view.getUint16(10), statsRequest: request };
  }
  const kind = code === OFPT_VENDOR ? vendorKind(view, 8, known, '') : findKind('OFPT', code, known);
  return kind && { ...base, ...kind };
}

type Kind = Pick<MessageHeader, 'type' | 'family' | 'number'>;

function vendorKind(view: DataView, at: number, version: number, stats: string): Kind | undefined {
  if (view.byteLength < at + 8) return undefined;
  const vendor = view.getUint32(at);
  const number = view.getUint32(at + 4);
  const prefix = vendor === NX_VENDOR_ID ? 'NX' : vendor === ONF_VENDOR_ID ? 'ONF' : undefined;
  return prefix && findKind(`${prefix}${stats ? `STATS${stats}` : 'T'}` as MessageFamily, number, version);
}

function findKind(family: MessageFamily, number: number, version: number): Kind | undefined {
  const row = MESSAGE_NUMBERS.find(
    ([, f, from, to, n]) => f === family && n === number && from <= version && version <= to,
  );
  return row && { type: row[0], family, number };
}
