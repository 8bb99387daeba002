import { isatty } from 'node:tty';
import { OF_ERRORS } from '../../../protocols/openflow-errors.ts';
import { strerror } from '../../base/errno.ts';
import { flowFromPacket } from '../../flow/packet-flow.ts';
import { formatIpv4 } from '../../openflow/address-text.ts';
import { encode, encodeError } from '../../openflow/codec.ts';
import { errorToWire, type OfErrorName } from '../../openflow/error.ts';
import { formatFlow } from '../../openflow/flow-format.ts';
import { parseKeyValues } from '../../openflow/key-value.ts';
import { ofpToString } from '../../openflow/print/ofp-print.ts';
import { formatPacket } from '../../openflow/print/packets.ts';
import { plainHexDump } from '../../openflow/print/text.ts';
import { err, type OfctlCommand, out, outMessage } from './context.ts';
import { Exit, Fatal } from './fatal.ts';
import { bytesFromHex, pullHexBytes, readInput } from './input.ts';
import { type PcapPacket, readPcap } from './pcap.ts';
import { TcpReader } from './tcp-reader.ts';
import { timeText } from './time-text.ts';
import { nextXid } from './xid.ts';

/** Commands that print messages and packets and need no switch. */

const ofpPrint: OfctlCommand = ({ args, options }) => {
  const verbosity = args[1] === undefined ? 2 : Number.parseInt(args[1], 10) || 0;
  outMessage(ofpToString(messageBytes(args[0], options.raw), verbosity));
};

/** Digits, or with `-` a line of digits (with `raw`, bytes) from stdin. */
function messageBytes(text: string, raw: boolean): Uint8Array {
  if (text === '-' && raw) return readInput('-');
  const line = text === '-' ? readInput('-').toString('latin1').split('\n')[0] : text;
  const bytes = bytesFromHex(line);
  if (!bytes) throw new Fatal('trailing garbage following hex bytes');
  return bytes;
}

const ofpParse: OfctlCommand = ({ args, options }) => {
  const [name] = args;
  let data: Buffer;
  try {
    data = readInput(name);
  } catch (e) {
    throw new Fatal(`${name}: open (${strerror(e)})`);
  }
  for (let at = 0; at < data.length; ) {
    if (data.length - at < 8) throw new Fatal(`${name}: unexpected end of file mid-message`);
    const length = data.readUInt16BE(at + 2);
    if (length < 8) throw new Fatal(`${name}: ${length}-byte message is too short for OpenFlow`);
    if (data.length - at < length) throw new Fatal(`${name}: unexpected end of file mid-message`);
    outMessage(ofpToString(data.subarray(at, at + length), options.verbosity + 2));
    at += length;
  }
};

const OPENFLOW_PORTS = [6653, 6633];

const ofpParsePcap: OfctlCommand = ({ args, options }) => {
  const ports = args.length > 1 ? args.slice(1).map((p) => Number.parseInt(p, 10)) : OPENFLOW_PORTS;
  const reader = new TcpReader();
  let first = true;
  for (const packet of orFatal(() => readPcap(args[0]))) {
    for (const { title, message } of messagesIn(packet, ports, reader)) {
      const time = options.timestamp ? `${timeText('%H:%M:%S.###', packet.whenMs)} ` : '';
      outMessage(`${first ? '' : '\n'}${time}${title}:\n${ofpToString(message, options.verbosity + 1)}`);
      first = false;
    }
  }
};

function orFatal<T>(make: () => T): T {
  try {
    return make();
  } catch (e) {
    throw new Fatal((e as Error).message);
  }
}

/** The OpenFlow messages that a packet completes, with the ends of its connection. */
function* messagesIn(
  packet: PcapPacket,
  ports: readonly number[],
  reader: TcpReader,
): Generator<{ title: string; message: Uint8Array }> {
  const flow = flowFromPacket(packet.data, 0);
  if (flow.dlType !== 0x0800 || flow.nwProto !== 6) return;
  if (!ports.includes(flow.tpSrc) && !ports.includes(flow.tpDst)) return;
  const ip = (n: number) => formatIpv4(Uint8Array.of(n >>> 24, n >>> 16, n >>> 8, n));
  const title = `${ip(flow.nwSrc)}.${flow.tpSrc} > ${ip(flow.nwDst)}.${flow.tpDst}`;
  const segment = tcpSegment(packet.data);
  let rest = segment && reader.push({ key: title, ...segment });
  while (rest && rest.length >= 8) {
    const length = rest.readUInt16BE(2);
    if (length < 8 || rest.length < length) return;
    yield { title, message: rest.subarray(0, length) };
    reader.consume(title, length);
    rest = rest.subarray(length);
  }
}

/** Of an Ethernet frame with IPv4 and TCP, perhaps with VLAN tags. */
function tcpSegment(frame: Uint8Array): { seq: number; syn: boolean; data: Uint8Array } | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  let ip = 14;
  while (ip + 4 <= frame.length && [0x8100, 0x88a8].includes(view.getUint16(ip - 2))) ip += 4;
  const tcp = ip + (frame[ip] & 15) * 4;
  const end = Math.min(frame.length, ip + view.getUint16(ip + 2));
  if (tcp + 20 > end) return undefined;
  const data = tcp + (frame[tcp + 12] >> 4) * 4;
  return {
    seq: view.getUint32(tcp + 4),
    syn: (frame[tcp + 13] & 2) !== 0,
    data: frame.subarray(data, Math.max(data, end)),
  };
}

function errorNamed(name: string): OfErrorName {
  if (!Object.hasOwn(OF_ERRORS, name)) throw new Fatal(`unknown error "${name}"`);
  return name as OfErrorName;
}

const printError: OfctlCommand = ({ args }) => {
  const name = errorNamed(args[0]);
  for (let version = 1; version <= 6; version++) {
    const wire = errorToWire(name, version);
    if (!wire) continue;
    const vendor = wire.vendor ? `0x${wire.vendor.toString(16)}` : '0';
    out(`OpenFlow 1.${version - 1}: vendor ${vendor}, type ${wire.type}, code ${wire.code}\n`);
  }
};

const encodeErrorReply: OfctlCommand = ({ args }) => {
  const name = errorNamed(args[0]);
  const request = bytesFromHex(args[1]);
  if (!request) throw new Fatal('Trailing garbage in hex data');
  if (request.length < 8) throw new Fatal('Request too short');
  if (((request[2] << 8) | request[3]) !== request.length) throw new Fatal('Request size inconsistent');
  out(plainHexDump(encodeError({ name }, request, request[0])));
};

const encodeHello: OfctlCommand = ({ args, options }) => {
  const versions = Number(args[0]) >>> 0;
  const hello = encode({ type: 'hello', versions }, 31 - Math.clz32(versions), nextXid())[0];
  out(plainHexDump(hello));
  outMessage(ofpToString(hello, options.verbosity));
};

const parseKeyValue: OfctlCommand = ({ args }) => {
  for (const arg of args) {
    const items = parseKeyValues(arg).map(({ key, value }) => (value === '' ? key : `${key}=${value}`));
    out(`${items.join(', ')}\n`);
  }
};

const parsePcap: OfctlCommand = ({ args }) => {
  let code = 0;
  for (const name of args) {
    try {
      for (const { data } of readPcap(name)) out(`${formatFlow(flowFromPacket(data, 0xffffffff))}\n`);
    } catch (e) {
      err(`ovs-ofctl: ${(e as Error).message}\n`);
      code = 1;
    }
  }
  throw new Exit(code);
};

const parsePacket: OfctlCommand = () => out(formatPacket(readInput('-').subarray(0, 65535)));

const composePacket: OfctlCommand = async ({ args, options }) => {
  if (options.pcap && isatty(1))
    throw new Fatal('not writing pcap data to stdout; redirect to a file or pipe to tcpdump instead');
  const { composeFromText } = await import('./compose-packet.ts');
  const l7 = args[1] === undefined ? undefined : pullHexBytes(args[1]);
  if (l7 && l7.end !== args[1].length) throw new Fatal(`${args[1]}: trailing garbage in packet data`);
  composeFromText(args[0], l7?.bytes, options.pcap);
};

export const COMMANDS = {
  'ofp-print': ofpPrint,
  'ofp-parse': ofpParse,
  'ofp-parse-pcap': ofpParsePcap,
  'print-error': printError,
  'encode-error-reply': encodeErrorReply,
  'encode-hello': encodeHello,
  'parse-key-value': parseKeyValue,
  'parse-pcap': parsePcap,
  'parse-packet': parsePacket,
  'compose-packet': composePacket,
};
