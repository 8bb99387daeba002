import { ofpPort } from '../base/types.ts';
import { parseActionsText } from './action-parse.ts';
import { fieldByName, matchProtocols, matchSetField } from './field.ts';
import { FlowTextError, parseField } from './field-text.ts';
import { parseKeyValues } from './key-value.ts';
import { catchallMatch, type Match } from './match.ts';
import { OFP_NO_BUFFER, type PacketOut } from './messages.ts';
import { parseHexBytes, strtoull } from './number-text.ts';
import { type PortNames, parsePort } from './port.ts';
import { P_ANY, type Protocols } from './protocol.ts';

/** Packet-outs in ovs-ofctl's syntax: `in_port=1 packet=… actions=…`. Throws FlowTextError. */

const OFPP_CONTROLLER = 0xfffffffd;
const OFPP_LOCAL = 0xfffffffe;
const OFPP_NONE = 0xffffffff;
const MIN_FRAME = 14;

/** A frame from digits. */
export function parseFrame(text: string): Uint8Array {
  const { bytes, rest } = parseHexBytes(text);
  if (rest !== '') throw new FlowTextError('Trailing garbage in packet data');
  if (bytes.length < MIN_FRAME) throw new FlowTextError('Packet data too short for Ethernet');
  return bytes;
}

/** Fields that a packet has beside its headers. */
const PIPELINE =
  /^(tun_(id|src|dst|ipv6_src|ipv6_dst|flags|gbp_id|gbp_flags|erspan_.*|gtpu_.*|metadata\d+)|metadata|in_port|in_port_oxm|x{0,2}reg\d+|packet_type)$/;

function inPort(value: string, names: PortNames | undefined): number {
  const port = parsePort(value, names);
  if (port === undefined) throw new FlowTextError(`${value} is not a valid OpenFlow port`);
  const special = port === OFPP_LOCAL || port === OFPP_NONE || port === OFPP_CONTROLLER;
  if ((port & 0xffff) > 0xff00 && !special)
    throw new FlowTextError(`${value} is not a valid OpenFlow port for PACKET_OUT`);
  return port;
}

/** `(ns,type)`. */
function packetType(name: string, value: string): number {
  const comma = value.indexOf(',');
  if (comma < 0) throw new FlowTextError(`${name}(${value}) can't be interpreted`);
  const [ns, type] = [strtoull(value.slice(0, comma)), strtoull(value.slice(comma + 1))];
  return Number(((ns & 0xffffn) << 16n) | (type & 0xffffn));
}

function setInPort(m: Match, port: number): void {
  m.flow.inPort = port;
  m.wc.inPort = 0xffffffff;
}

export function parsePacketOut(s: string, names?: PortNames): { packetOut: PacketOut; protocols: Protocols } {
  const split = /actions?\s*=/.exec(s);
  const metadata = catchallMatch();
  setInPort(metadata, OFPP_CONTROLLER);
  let packet: Uint8Array | undefined;
  let usable: Protocols = P_ANY;
  for (const { key, value } of parseKeyValues(split ? s.slice(0, split.index) : s)) {
    if (value === '') throw new FlowTextError(`field ${key} missing value`);
    if (key === 'in_port') setInPort(metadata, inPort(value, names));
    else if (key === 'packet_type') {
      metadata.flow.packetType = packetType(key, value);
      metadata.wc.packetType = 0xffffffff;
    } else if (key === 'packet') packet = framed(value);
    else usable &= pipelineField(metadata, key, value, names);
  }
  if (!packet?.length) throw new FlowTextError('must specify packet');
  const { actions, protocols: ofActions } = split
    ? parseActionsText(s.slice(split.index + split[0].length), names)
    : { actions: [], protocols: P_ANY };
  usable &= ofActions;
  const packetOut: PacketOut = {
    type: 'packet_out',
    packet,
    bufferId: OFP_NO_BUFFER,
    metadata,
    inPort: ofpPort(metadata.flow.inPort),
    actions,
  };
  return { packetOut, protocols: usable };
}

function framed(value: string): Uint8Array {
  try {
    return parseFrame(value);
  } catch (e) {
    throw new FlowTextError(`packet: ${(e as Error).message}`);
  }
}

function pipelineField(metadata: Match, key: string, value: string, names: PortNames | undefined): Protocols {
  const field = fieldByName(key);
  if (!field) throw new FlowTextError(`unknown keyword ${key}`);
  const parsed = parseField(field, value, names);
  if (!PIPELINE.test(field.name)) throw new FlowTextError(`${key} is not a valid pipeline field for PACKET_OUT`);
  matchSetField(metadata, field, parsed.value, parsed.mask.every((b) => b === 0xff) ? undefined : parsed.mask);
  return matchProtocols(field, parsed.mask);
}
