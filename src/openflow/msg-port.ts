import { OFP10_VERSION, OFP11_VERSION, OFP13_VERSION, OFP14_VERSION } from '../../protocols/openflow.ts';
import { ofpPort } from '../base/types.ts';
import { vlogModule } from '../base/vlog.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { portFromOfp10 } from './field.ts';
import { ofpactsFromBitmap, ofpactsToBitmap } from './message-bitmaps.ts';
import type { MessageCodec, MessageCodecs } from './message-codec.ts';
import { propU32, pullProps, putPropU32, unknownProp } from './message-prop.ts';
import {
  C_ARP_MATCH_IP,
  C_GROUP_STATS,
  C_PORT_BLOCKED,
  C_STP,
  type FeaturesReply,
  PC_NO_FWD,
  PC_NO_PACKET_IN,
  PC_NO_RECV,
  PC_PORT_DOWN,
  type PhyPort,
  PS_LINK_DOWN,
} from './messages.ts';
import { portFromOfp11 } from './port.ts';

/** Switch features, port descriptions, port-status and port-mod. */

const log = vlogModule('ofp_port');

/** Configuration bits of OpenFlow 1.1+; 1.0 has all of `PC_*`, with the same numbers. */
const CONFIG11 = PC_PORT_DOWN | PC_NO_RECV | PC_NO_FWD | PC_NO_PACKET_IN;
const CONFIG10 = 0x7f;
const STP_STATE_MASK = 3 << 8;

const featuresFrom10 = (f: number): number => (f & 0x7f) | ((f & 0xf80) << 4);
const featuresTo10 = (f: number): number => (f & 0x7f) | ((f & 0xf800) >>> 4);

/** kbit/s of the fastest of the features. */
export function featuresToKbps(features: number): number {
  const speeds: readonly (readonly [mask: number, kbps: number])[] = [
    [0x200, 1_000_000_000],
    [0x100, 100_000_000],
    [0x80, 40_000_000],
    [0x40, 10_000_000],
    [0x30, 1_000_000],
    [0x0c, 100_000],
    [0x03, 10_000],
  ];
  return speeds.find(([mask]) => features & mask)?.[1] ?? 0;
}

/** Reads a port number as the version has it. */
export function pullPortNo(r: Reader, version: number) {
  return version === OFP10_VERSION ? ofpPort(portFromOfp10(r.readU16())) : portFromOfp11(r.readU32());
}

/** Writes it. */
export function putPortNo(w: Writer, port: number, version: number): void {
  if (version === OFP10_VERSION) w.putU16(port & 0xffff);
  else w.putU32(port);
}

function pullPort10(r: Reader): PhyPort {
  const portNo = ofpPort(portFromOfp10(r.readU16()));
  const [hwAddr, name, config, state] = [r.bytes(6), r.string(16), r.readU32() & CONFIG10, r.readU32()];
  const f = [r.readU32(), r.readU32(), r.readU32(), r.readU32()].map(featuresFrom10);
  const [curr, advertised, supported, peer] = f;
  return {
    portNo,
    hwAddr,
    name,
    config,
    state: state & (PS_LINK_DOWN | STP_STATE_MASK),
    curr,
    advertised,
    supported,
    peer,
    currSpeed: featuresToKbps(curr),
    maxSpeed: featuresToKbps(supported),
  };
}

function pullPort11(r: Reader): PhyPort {
  const portNo = portFromOfp11(r.readU32());
  r.skip(4);
  return { portNo, ...pullPortCommon(r), ...pullEthernet(r) };
}

function pullPortCommon(r: Reader) {
  const hwAddr = r.bytes(6);
  r.skip(2);
  return { hwAddr, name: r.string(16), config: r.readU32() & CONFIG11, state: r.readU32() & 7 };
}

function pullEthernet(r: Reader) {
  return {
    curr: r.readU32(),
    advertised: r.readU32(),
    supported: r.readU32(),
    peer: r.readU32(),
    currSpeed: r.readU32(),
    maxSpeed: r.readU32(),
  };
}

const NO_ETHERNET = { curr: 0, advertised: 0, supported: 0, peer: 0, currSpeed: 0, maxSpeed: 0 };
const PROP_ETHERNET = 0;

function pullPort14(r: Reader): PhyPort {
  if (r.left < 40) throw new OfDecodeError('OFPBRC_BAD_LEN');
  const rawPort = r.readU32();
  const length = r.readU16();
  if (length < 40) throw new OfDecodeError('OFPBRC_BAD_LEN');
  const body = r.sub(length - 6);
  const portNo = portFromOfp11(rawPort);
  body.skip(2);
  const port: PhyPort = { portNo, ...pullPortCommon(body), ...NO_ETHERNET };
  for (const p of pullProps(body)) {
    if (p.experimenter || p.type !== PROP_ETHERNET) {
      unknownProp(log, true, 'port', p);
      continue;
    }
    if (p.body.left !== 28) throw new OfDecodeError('OFPBPC_BAD_LEN');
    p.body.skip(4);
    Object.assign(port, pullEthernet(p.body));
  }
  return port;
}

export function pullPort(r: Reader, version: number): PhyPort {
  if (version === OFP10_VERSION) return pullPort10(r);
  return version < OFP14_VERSION ? pullPort11(r) : pullPort14(r);
}

export function pullPorts(r: Reader, version: number): PhyPort[] {
  const ports: PhyPort[] = [];
  while (r.left > 0) ports.push(pullPort(r, version));
  return ports;
}

export function putPort(w: Writer, p: PhyPort, version: number): void {
  putPortNo(w, p.portNo, version);
  if (version === OFP10_VERSION) {
    putPort10(w, p);
    return;
  }
  if (version < OFP14_VERSION) w.putZeros(4);
  else {
    w.putU16(72);
    w.putZeros(2);
  }
  w.putBytes(p.hwAddr);
  w.putZeros(2);
  w.putString(p.name, 16);
  w.putU32(p.config & CONFIG11);
  w.putU32(p.state & 7);
  if (version >= OFP14_VERSION) {
    w.putU16(PROP_ETHERNET);
    w.putU16(32);
    w.putZeros(4);
  }
  for (const n of [p.curr, p.advertised, p.supported, p.peer, p.currSpeed, p.maxSpeed]) w.putU32(n);
}

function putPort10(w: Writer, p: PhyPort): void {
  w.putBytes(p.hwAddr);
  w.putString(p.name, 16);
  w.putU32(p.config & CONFIG10);
  w.putU32(p.state & (PS_LINK_DOWN | STP_STATE_MASK));
  for (const n of [p.curr, p.advertised, p.supported, p.peer]) w.putU32(featuresTo10(n));
}

const STP10 = 8;

/** The capabilities that a version has bits for. */
function capabilitiesMask(version: number): number {
  const common = 0x67;
  if (version === OFP10_VERSION) return common | C_ARP_MATCH_IP;
  if (version === OFP11_VERSION) return common | C_GROUP_STATS | C_ARP_MATCH_IP;
  const v12 = common | C_GROUP_STATS | C_PORT_BLOCKED;
  return version < OFP14_VERSION ? v12 : v12 | 0x600;
}

const featuresReply: MessageCodec<'features_reply'> = {
  decode(r, { version }) {
    const head = { datapathId: r.readU64(), nBuffers: r.readU32(), nTables: r.readU8(), auxiliaryId: r.readU8() };
    r.skip(2);
    const raw = r.readU32();
    const stp = version === OFP10_VERSION && raw & STP10 ? C_STP : 0;
    const bitmap = r.readU32();
    const m: FeaturesReply = {
      type: 'features_reply',
      ...head,
      auxiliaryId: version >= OFP13_VERSION ? head.auxiliaryId : 0,
      capabilities: (raw & capabilitiesMask(version)) | stp,
      actions: version === OFP10_VERSION ? [...ofpactsFromBitmap(bitmap, version)] : [],
      ports: version < OFP13_VERSION ? pullPorts(r, version) : [],
    };
    return m;
  },
  encode(w, m, { version }) {
    w.putU64(m.datapathId);
    w.putU32(m.nBuffers);
    w.putU8(m.nTables);
    w.putU8(version >= OFP13_VERSION ? m.auxiliaryId : 0);
    w.putZeros(2);
    const stp = version === OFP10_VERSION && m.capabilities & C_STP ? STP10 : 0;
    w.putU32((m.capabilities & capabilitiesMask(version)) | stp);
    w.putU32(version === OFP10_VERSION ? ofpactsToBitmap(new Set(m.actions), version) : 0);
    if (version < OFP13_VERSION) for (const p of m.ports) putPort(w, p, version);
  },
};

const PORT_REASONS = ['add', 'delete', 'modify'] as const;

const portStatus: MessageCodec<'port_status'> = {
  decode(r, { version }) {
    const reason = PORT_REASONS[r.readU8()];
    if (!reason) throw new OfDecodeError('NXBRC_BAD_REASON');
    r.skip(7);
    return { type: 'port_status', reason, port: pullPort(r, version) };
  },
  encode(w, m, { version }) {
    w.putU8(PORT_REASONS.indexOf(m.reason));
    w.putZeros(7);
    putPort(w, m.port, version);
  },
};

const portMod: MessageCodec<'port_mod'> = {
  decode(r, { version, loose }) {
    const portNo = pullPortNo(r, version);
    if (version !== OFP10_VERSION) r.skip(4);
    const hwAddr = r.bytes(6);
    if (version !== OFP10_VERSION) r.skip(2);
    const bits = version === OFP10_VERSION ? CONFIG10 : CONFIG11;
    const [config, mask] = [r.readU32() & bits, r.readU32() & bits];
    const advertise = version < OFP14_VERSION ? pullAdvertise(r, version) : pullAdvertise14(r, loose);
    return { type: 'port_mod', portNo, hwAddr, config: config & mask, mask, advertise };
  },
  encode(w, m, { version }) {
    putPortNo(w, m.portNo, version);
    if (version !== OFP10_VERSION) w.putZeros(4);
    w.putBytes(m.hwAddr);
    if (version !== OFP10_VERSION) w.putZeros(2);
    const bits = version === OFP10_VERSION ? CONFIG10 : CONFIG11;
    w.putU32(m.config & bits);
    w.putU32(m.mask & bits);
    if (version < OFP14_VERSION) {
      w.putU32(version === OFP10_VERSION ? featuresTo10(m.advertise) : m.advertise);
      w.putZeros(4);
    } else if (m.advertise) putPropU32(w, PROP_ETHERNET, m.advertise);
  },
};

function pullAdvertise(r: Reader, version: number): number {
  const raw = r.readU32();
  r.skip(4);
  return version === OFP10_VERSION ? featuresFrom10(raw) : raw & 0xffff;
}

function pullAdvertise14(r: Reader, loose: boolean): number {
  let advertise = 0;
  for (const p of pullProps(r)) {
    if (!p.experimenter && p.type === PROP_ETHERNET) advertise = propU32(p) & 0xffff;
    else unknownProp(log, loose, 'port_mod', p);
  }
  return advertise;
}

export const PORT: MessageCodecs = {
  features_reply: featuresReply,
  port_status: portStatus,
  port_mod: portMod,
};
