import { NX_VENDOR_ID, OFP10_VERSION, OFP15_VERSION, ONF_VENDOR_ID } from '../../protocols/openflow.ts';
import {
  MESSAGE_RAWS,
  type MessageFamily,
  OFPST_VENDOR,
  OFPT_STATS_REPLY,
  OFPT_STATS_REQUEST,
  OFPT_VENDOR,
  type RawName,
} from '../../protocols/openflow-messages.ts';
import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import type { MessageType } from './messages.ts';

/** Headers of messages: which "raw" they announce, whether its length is possible, and how they are written. */

const log = vlogModule('ofp_msgs');
const rlVendor = new VlogRateLimit(1, 1);
const rlUnknown = new VlogRateLimit(1, 1);
const rlLength = new VlogRateLimit(1, 5);

/** One form of a message: a row of `MESSAGE_RAWS`. */
export interface Raw {
  name: RawName;
  type: MessageType;
  family: MessageFamily;
  from: number;
  to: number;
  number: number;
  minBody: number;
  multiple: number;
  /** Of the families with statistics: not a request but a reply. */
  reply: boolean;
}

export const RAWS: readonly Raw[] = MESSAGE_RAWS.map(([name, type, family, from, to, number, minBody, multiple]) => ({
  name,
  type,
  family,
  from,
  to,
  number,
  minBody,
  multiple,
  reply: name.endsWith('_REPLY'),
}));

const byWire = new Map<string, Raw[]>();
const byType = new Map<MessageType, Raw[]>();
const byName = new Map<RawName, Raw>();
const STATS: ReadonlySet<MessageFamily> = new Set<MessageFamily>(['OFPST', 'NXST', 'ONFST']);
const isStats = (family: MessageFamily): boolean => STATS.has(family);

function wireKey(family: MessageFamily, number: number, reply: boolean): string {
  return `${family} ${number} ${isStats(family) && reply}`;
}

for (const raw of RAWS) {
  const key = wireKey(raw.family, raw.number, raw.reply);
  byWire.set(key, [...(byWire.get(key) ?? []), raw]);
  byType.set(raw.type, [...(byType.get(raw.type) ?? []), raw]);
  byName.set(raw.name, raw);
}

function findRaw(family: MessageFamily, number: number, version: number, reply = false): Raw | undefined {
  return byWire.get(wireKey(family, number, reply))?.find((k) => k.from <= version && version <= k.to);
}

/** The header's types alone, by version: what most messages need. */
const standard: (Raw | undefined)[][] = [];
for (let version = 0; version <= OFP15_VERSION; version++)
  standard.push(Array.from({ length: 256 }, (_, number) => findRaw('OFPT', number, version)));

/** The forms of a type in this version, the default first. */
export function rawsOf(type: MessageType, version: number): Raw[] {
  return (byType.get(type) ?? []).filter((k) => k.from <= version && version <= k.to);
}

export const rawByName = (name: RawName): Raw => byName.get(name) as Raw;

const statsTypes = (version: number, of: typeof OFPT_STATS_REQUEST | typeof OFPT_STATS_REPLY): number =>
  version === OFP10_VERSION ? of.v10 : of.v11;

/** What the headers say. */
export interface Head {
  raw: Raw;
  /** Statistics: other parts follow. */
  more: boolean;
}

/** As Open vSwitch shows it: `OFPT_FLOW_MOD`, `OFPST_PORT_DESC reply`. */
export function rawText({ name, family }: Raw): string {
  const text = name.replace(/^([A-Z]+)[0-9]+_/, '$1_');
  return isStats(family) ? text.replace(/_REQUEST$/, ' request').replace(/_REPLY$/, ' reply') : text;
}

/** The name that all forms of a type go by. */
export function typeText(type: MessageType): string {
  const [first] = byType.get(type) ?? [];
  return first ? rawText(first) : type;
}

/** Reads all headers; `r` stands behind `ofp_header`, and then where the body begins. Throws OFPBRC_*. */
export function readHead(r: Reader, version: number, type: number): Head {
  const request = type === statsTypes(version, OFPT_STATS_REQUEST);
  if (request || type === statsTypes(version, OFPT_STATS_REPLY)) return readStatsHead(r, version, type, !request);
  if (type === OFPT_VENDOR) return { raw: readVendor(r, version, type), more: false };
  const raw = standard[version]?.[type];
  if (!raw) throw unknown('OFPBRC_BAD_TYPE', `version ${version}, type ${type}`);
  return { raw, more: false };
}

function unknown(error: 'OFPBRC_BAD_TYPE' | 'OFPBRC_BAD_STAT' | 'OFPBRC_BAD_SUBTYPE', what: string): OfDecodeError {
  log.warnRl(rlUnknown, `unknown OpenFlow message (${what})`);
  return new OfDecodeError(error, what);
}

function readStatsHead(r: Reader, version: number, type: number, reply: boolean): Head {
  const stat = r.readU16();
  const more = (r.readU16() & 1) !== 0;
  if (version !== OFP10_VERSION) r.skip(4);
  if (stat === OFPST_VENDOR) return { raw: readVendorStats(r, version, type, reply), more };
  const raw = findRaw('OFPST', stat, version, reply);
  if (!raw) throw unknown('OFPBRC_BAD_STAT', `version ${version}, type ${type}, stat ${stat}`);
  return { raw, more };
}

/** The family of a vendor's messages; ONF has no statistics in OpenFlow 1.0. */
function familyOf(vendor: number, stats: boolean, version: number): MessageFamily {
  if (vendor === NX_VENDOR_ID) return stats ? 'NXST' : 'NXT';
  if (vendor === ONF_VENDOR_ID && !(stats && version === OFP10_VERSION)) return stats ? 'ONFST' : 'ONFT';
  log.warnRl(rlVendor, `OpenFlow message has unknown vendor 0x${vendor.toString(16)}`);
  throw new OfDecodeError('OFPBRC_BAD_VENDOR', `vendor ${vendor}`);
}

const vendorText = (vendor: number, subtype: number): string => `vendor 0x${vendor.toString(16)}, subtype ${subtype}`;

function readVendor(r: Reader, version: number, type: number): Raw {
  const vendor = r.readU32();
  if (r.left < 4 && vendor !== NX_VENDOR_ID && vendor !== ONF_VENDOR_ID) r.skip(4);
  const family = familyOf(vendor, false, version);
  const subtype = r.readU32();
  const raw = findRaw(family, subtype, version);
  if (!raw) throw unknown('OFPBRC_BAD_SUBTYPE', `version ${version}, type ${type}, ${vendorText(vendor, subtype)}`);
  return raw;
}

function readVendorStats(r: Reader, version: number, type: number, reply: boolean): Raw {
  const vendor = r.readU32();
  const family = familyOf(vendor, true, version);
  const subtype = r.readU32();
  if (version === OFP10_VERSION) r.skip(4);
  const raw = findRaw(family, subtype, version, reply);
  if (!raw) {
    const what = `version ${version}, type ${type}, stat ${OFPST_VENDOR}, ${vendorText(vendor, subtype)}`;
    throw unknown('OFPBRC_BAD_SUBTYPE', what);
  }
  return raw;
}

/** Throws OFPBRC_BAD_LEN when a message of this form can't have `length` bytes, `head` of them headers. */
export function checkLength(raw: Raw, head: number, length: number): void {
  const min = head + raw.minBody;
  const { multiple } = raw;
  if (multiple === 0 ? length === min : length >= min && (length - min) % multiple === 0) return;
  const expected =
    multiple === 0
      ? `expected length ${min}`
      : multiple === 1
        ? `expected length at least ${min} bytes`
        : `must be exactly ${min} bytes or longer by an integer multiple of ${multiple} bytes`;
  log.warnRl(rlLength, `received ${rawText(raw)} with incorrect length ${length} (${expected})`);
  throw new OfDecodeError('OFPBRC_BAD_LEN', `${raw.name} of ${length} bytes`);
}

/** Appends the headers, the length as 0; returns where the flags of statistics are. */
export function putHead(w: Writer, raw: Raw, version: number, xid: number): number {
  const { family, number } = raw;
  const stats = isStats(family);
  w.putU8(version);
  w.putU8(headerType(raw, version));
  w.putU16(0);
  w.putU32(xid);
  const vendor = family === 'NXT' || family === 'NXST' ? NX_VENDOR_ID : ONF_VENDOR_ID;
  const vendorStats = stats && family !== 'OFPST';
  const flagsAt = w.length + 2;
  if (stats) {
    w.putU16(vendorStats ? OFPST_VENDOR : number);
    w.putZeros(version === OFP10_VERSION ? 2 : 6);
  }
  if (family === 'OFPT' || family === 'OFPST') return flagsAt;
  w.putU32(vendor);
  w.putU32(number);
  if (vendorStats && version === OFP10_VERSION) w.putZeros(4);
  return flagsAt;
}

function headerType(raw: Raw, version: number): number {
  if (isStats(raw.family)) return statsTypes(version, raw.reply ? OFPT_STATS_REPLY : OFPT_STATS_REQUEST);
  return raw.family === 'OFPT' ? raw.number : OFPT_VENDOR;
}
