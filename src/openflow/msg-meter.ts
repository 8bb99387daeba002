import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { emptyCodec, type MessageCodec, type MessageCodecs } from './message-codec.ts';
import type { MessageOf } from './messages.ts';
import {
  type MeterBand,
  type MeterBandType,
  type MeterCommand,
  type MeterConfig,
  type MeterMod,
  type MeterStats,
  MF_KBPS,
  MF_PKTPS,
} from './messages-meter.ts';

/** Meter-mods, and statistics, configuration and features of meters (OpenFlow 1.3+). */

const COMMANDS: readonly MeterCommand[] = ['add', 'modify', 'delete'];
/** By number: OFPMBT_*. */
const BAND_TYPES: readonly (MeterBandType | undefined)[] = [undefined, 'drop', 'dscp_remark'];
const BAND_SIZE = 16;

function pullBands(r: Reader): MeterBand[] {
  const bands: MeterBand[] = [];
  while (r.left >= BAND_SIZE) {
    const n = r.readU16();
    if (r.readU16() !== BAND_SIZE) throw new OfDecodeError('OFPBRC_BAD_LEN');
    const type = BAND_TYPES[n];
    if (!type) throw new OfDecodeError('OFPMMFC_BAD_BAND');
    const [rate, burstSize, level] = [r.readU32(), r.readU32(), r.readU8()];
    r.skip(3);
    bands.push({ type, rate, burstSize, precLevel: type === 'dscp_remark' ? level : 0 });
  }
  if (r.left) throw new OfDecodeError('OFPBRC_BAD_LEN');
  return bands;
}

function putBands(w: Writer, bands: readonly MeterBand[]): void {
  for (const b of bands) {
    w.putU16(BAND_TYPES.indexOf(b.type));
    w.putU16(BAND_SIZE);
    w.putU32(b.rate);
    w.putU32(b.burstSize);
    w.putU8(b.type === 'dscp_remark' ? b.precLevel : 0);
    w.putZeros(3);
  }
}

/** Reads the body of a meter-mod. */
export function pullMeterMod(r: Reader): MeterMod {
  const command = COMMANDS[r.readU16()];
  const [flags, meterId] = [r.readU16(), r.readU32()];
  if (!command) throw new OfDecodeError('OFPMMFC_BAD_COMMAND');
  if (command === 'delete') {
    r.skip(r.left);
    return { type: 'meter_mod', command, meterId, flags: 0, bands: [] };
  }
  if (flags & MF_KBPS && flags & MF_PKTPS) throw new OfDecodeError('OFPMMFC_BAD_FLAGS');
  return { type: 'meter_mod', command, meterId, flags, bands: pullBands(r) };
}

/** Appends the body of a meter-mod. */
export function putMeterMod(w: Writer, m: MeterMod): void {
  w.putU16(COMMANDS.indexOf(m.command));
  w.putU16(m.command === 'delete' ? 0 : m.flags);
  w.putU32(m.meterId);
  putBands(w, m.bands);
}

const meterMod: MessageCodec<'meter_mod'> = { decode: pullMeterMod, encode: putMeterMod };

type MeterRequest = 'meter_stats_request' | 'meter_config_stats_request';

function request<T extends MeterRequest>(type: T): MessageCodec<T> {
  return {
    decode(r) {
      const meterId = r.readU32();
      r.skip(4);
      return { type, meterId } as MessageOf<T>;
    },
    encode(w, m: MessageOf<MeterRequest>) {
      w.putU32(m.meterId);
      w.putZeros(4);
    },
  };
}

function pullConfig(r: Reader): MeterConfig {
  const [length, flags, meterId] = [r.readU16(), r.readU16(), r.readU32()];
  return { meterId, flags, bands: pullBands(r.sub(length - 8)) };
}

function putConfig(w: Writer, c: MeterConfig): void {
  w.putU16(8 + BAND_SIZE * c.bands.length);
  w.putU16(c.flags);
  w.putU32(c.meterId);
  putBands(w, c.bands);
}

const configReply: MessageCodec<'meter_config_stats_reply'> = {
  decode(r, { more }) {
    const meters: MeterConfig[] = [];
    while (r.left > 0) meters.push(pullConfig(r));
    return { type: 'meter_config_stats_reply', meters, more };
  },
  encode(w, m) {
    for (const c of m.meters) putConfig(w, c);
  },
  parts: (m) => m.meters.map((c) => (w) => putConfig(w, c)),
};

const STATS_SIZE = 40;

function pullStats(r: Reader): MeterStats {
  const [meterId, length] = [r.readU32(), r.readU16()];
  r.skip(6);
  const head = { meterId, flowCount: r.readU32(), packetInCount: r.readU64(), byteInCount: r.readU64() };
  const [durationSec, durationNsec] = [r.readU32(), r.readU32()];
  const body = r.sub(length - STATS_SIZE);
  const bands: MeterStats['bands'] = [];
  while (body.left > 0) bands.push({ packetCount: body.readU64(), byteCount: body.readU64() });
  return { ...head, durationSec, durationNsec, bands };
}

function putStats(w: Writer, s: MeterStats): void {
  w.putU32(s.meterId);
  w.putU16(STATS_SIZE + 16 * s.bands.length);
  w.putZeros(6);
  w.putU32(s.flowCount);
  w.putU64(s.packetInCount);
  w.putU64(s.byteInCount);
  w.putU32(s.durationSec);
  w.putU32(s.durationNsec);
  for (const b of s.bands) {
    w.putU64(b.packetCount);
    w.putU64(b.byteCount);
  }
}

const statsReply: MessageCodec<'meter_stats_reply'> = {
  decode(r, { more }) {
    const meters: MeterStats[] = [];
    while (r.left > 0) meters.push(pullStats(r));
    return { type: 'meter_stats_reply', meters, more };
  },
  encode(w, m) {
    for (const s of m.meters) putStats(w, s);
  },
  parts: (m) => m.meters.map((s) => (w) => putStats(w, s)),
};

const featuresReply: MessageCodec<'meter_features_stats_reply'> = {
  decode(r) {
    const features = {
      maxMeters: r.readU32(),
      bandTypes: r.readU32(),
      capabilities: r.readU32(),
      maxBands: r.readU8(),
      maxColor: r.readU8(),
    };
    r.skip(2);
    return { type: 'meter_features_stats_reply', ...features };
  },
  encode(w, m) {
    w.putU32(m.maxMeters);
    w.putU32(m.bandTypes);
    w.putU32(m.capabilities);
    w.putU8(m.maxBands);
    w.putU8(m.maxColor);
    w.putZeros(2);
  },
};

export const METER: MessageCodecs = {
  meter_mod: meterMod,
  meter_stats_request: request('meter_stats_request'),
  meter_stats_reply: statsReply,
  meter_config_stats_request: request('meter_config_stats_request'),
  meter_config_stats_reply: configReply,
  meter_features_stats_request: emptyCodec({ type: 'meter_features_stats_request' }),
  meter_features_stats_reply: featuresReply,
};
