/**
 * Flow formats ("protocols") as bits of a set: an OpenFlow version, and for OpenFlow 1.0 its standard or Nicira's flow messages, with or
 * without a table in flow-mods. What a flow needs is said by the set of the protocols that can carry it.
 */

export const P_OF10_STD = 1 << 0;
export const P_OF10_STD_TID = 1 << 1;
export const P_OF10_NXM = 1 << 2;
export const P_OF10_NXM_TID = 1 << 3;
export const P_OF11_STD = 1 << 4;
export const P_OF12_OXM = 1 << 5;
export const P_OF13_OXM = 1 << 6;
export const P_OF14_OXM = 1 << 7;
export const P_OF15_OXM = 1 << 8;

export const P_NONE = 0;
export const P_ANY = (1 << 9) - 1;
export const P_OF10_STD_ANY = P_OF10_STD | P_OF10_STD_TID;
export const P_OF10_NXM_ANY = P_OF10_NXM | P_OF10_NXM_TID;
export const P_OF10_ANY = P_OF10_STD_ANY | P_OF10_NXM_ANY;
export const P_OF15_UP = P_OF15_OXM;
export const P_OF14_UP = P_OF14_OXM | P_OF15_UP;
export const P_OF13_UP = P_OF13_OXM | P_OF14_UP;
export const P_OF12_UP = P_OF12_OXM | P_OF13_UP;
export const P_OF11_UP = P_OF11_STD | P_OF12_UP;
export const P_ANY_OXM = P_OF12_UP;
export const P_NXM_OF11_UP = P_OF10_NXM_ANY | P_OF11_UP;
export const P_NXM_OXM_ANY = P_OF10_NXM_ANY | P_ANY_OXM;
/** Those whose flow-mods name a table. */
export const P_TID = P_OF10_STD_TID | P_OF10_NXM_TID | P_OF11_STD | P_ANY_OXM;

/** A set of `P_*`. */
export type Protocols = number;
/** One of `P_*`. */
export type Protocol = number;

const NAMES: readonly (readonly [Protocol, string])[] = [
  [P_OF10_STD, 'OpenFlow10-table_id'],
  [P_OF10_STD_TID, 'OpenFlow10+table_id'],
  [P_OF10_NXM, 'NXM-table_id'],
  [P_OF10_NXM_TID, 'NXM+table_id'],
  [P_OF11_STD, 'OpenFlow11'],
  [P_OF12_OXM, 'OXM-OpenFlow12'],
  [P_OF13_OXM, 'OXM-OpenFlow13'],
  [P_OF14_OXM, 'OXM-OpenFlow14'],
  [P_OF15_OXM, 'OXM-OpenFlow15'],
];

/** Names of sets, the widest first. */
const ABBREVIATIONS: readonly (readonly [Protocols, string])[] = [
  [P_ANY, 'any'],
  [P_OF10_STD_ANY, 'OpenFlow10'],
  [P_OF10_NXM_ANY, 'NXM'],
  [P_ANY_OXM, 'OXM'],
];

/** `NXM,OXM`, `OpenFlow10-table_id`, `none`. */
export function protocolsToString(protocols: Protocols): string {
  if (!protocols) return 'none';
  const out: string[] = [];
  let rest = protocols;
  while (rest) {
    const found = ABBREVIATIONS.find(([bits]) => (rest & bits) === bits) ?? NAMES.find(([bit]) => (rest & bit) !== 0);
    if (!found) break;
    out.push(found[1]);
    rest &= ~found[0];
  }
  return out.join(',');
}

/** One name or abbreviation, in any case; undefined when it is neither. */
function protocolFromName(name: string): Protocols | undefined {
  const same = ([, known]: readonly [number, string]) => known.toLowerCase() === name.toLowerCase();
  return (NAMES.find(same) ?? ABBREVIATIONS.find(same))?.[0];
}

/** Reads `NXM,OXM`. Throws an Error in Open vSwitch's words. */
export function protocolsFromString(s: string): Protocols {
  let out = 0;
  for (const name of s.split(',').filter((n) => n !== '')) {
    const found = protocolFromName(name);
    if (found === undefined) throw new Error(`${name}: unknown flow protocol`);
    out |= found;
  }
  if (!out) throw new Error(`${s}: no flow protocol specified`);
  return out;
}

/** The formats that exist on a connection of a version. */
export function protocolsOfVersion(version: number): Protocols {
  if (version === 1) return P_OF10_ANY;
  return version >= 2 && version <= 6 ? P_OF11_STD << (version - 2) : 0;
}

/** The format in force when a connection of a version begins; 0: no such version. */
export function protocolOfVersion(version: number): Protocol {
  const all = protocolsOfVersion(version);
  return all & -all;
}

/** Wire version of one format. */
export function versionOfProtocol(protocol: Protocol): number {
  return protocol & P_OF10_ANY ? 1 : 32 - Math.clz32(protocol) - 3;
}

/** Bit n: wire version n. */
export function versionsOfProtocols(protocols: Protocols): number {
  let bitmap = 0;
  for (const [bit] of NAMES) if (protocols & bit) bitmap |= 1 << versionOfProtocol(bit);
  return bitmap;
}

export function protocolsOfVersions(bitmap: number): Protocols {
  let protocols = 0;
  for (let version = 1; version <= 6; version++) if (bitmap & (1 << version)) protocols |= protocolsOfVersion(version);
  return protocols;
}

/** The same format, with or without the table in flow-mods (OpenFlow 1.0 alone knows the difference). */
export function protocolSetTid(protocol: Protocol, enable: boolean): Protocol {
  if (protocol & P_OF10_STD_ANY) return enable ? P_OF10_STD_TID : P_OF10_STD;
  if (protocol & P_OF10_NXM_ANY) return enable ? P_OF10_NXM_TID : P_OF10_NXM;
  return protocol;
}

/** What `encode` is told for messages in this format. */
export function encodeOptionsOf(protocol: Protocol): { nxm: boolean; flowModTableId: boolean } {
  return {
    nxm: (protocol & P_OF10_NXM_ANY) !== 0,
    flowModTableId: (protocol & (P_OF10_STD_TID | P_OF10_NXM_TID)) !== 0,
  };
}

/** Protocols as bits in rising order: the order in which they are tried. */
export const PROTOCOL_BITS: readonly Protocol[] = NAMES.map(([bit]) => bit);

/** The order in which a flow dump tries them. */
export const FLOW_DUMP_PROTOCOLS: readonly Protocol[] = [
  P_OF15_OXM,
  P_OF14_OXM,
  P_OF13_OXM,
  P_OF12_OXM,
  P_OF11_STD,
  P_OF10_NXM,
  P_OF10_STD,
];

const VERSION_NAMES = ['', 'OpenFlow10', 'OpenFlow11', 'OpenFlow12', 'OpenFlow13', 'OpenFlow14', 'OpenFlow15'];

export const versionName = (version: number): string => VERSION_NAMES[version] ?? '';

/** Wire version of `OpenFlow13`, in any case; 0: unknown. */
export function versionFromName(name: string): number {
  const at = VERSION_NAMES.findIndex((known, i) => i > 0 && known.toLowerCase() === name.toLowerCase());
  return at < 0 ? 0 : at;
}

/** Wire versions of a bitmap, rising. */
export function versionsOfBitmap(bitmap: number): number[] {
  return Array.from({ length: 32 }, (_, i) => i).filter((i) => bitmap & (1 << i));
}

/** `OpenFlow10, OpenFlow13`. */
export function versionBitmapNames(bitmap: number): string {
  return versionsOfBitmap(bitmap).map(versionName).join(', ');
}

/** Reads `OpenFlow10,OpenFlow13` into a bitmap. Throws an Error in Open vSwitch's words. */
export function versionsFromString(s: string): number {
  let bitmap = 0;
  for (const name of s.split(/[\s,]+/).filter((n) => n !== '')) {
    const version = versionFromName(name);
    if (!version) throw new Error(`Unknown OpenFlow version: "${name}"`);
    bitmap |= 1 << version;
  }
  return bitmap;
}
