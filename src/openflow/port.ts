import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import { type OfpPort, ofpPort } from '../base/types.ts';
import { OfDecodeError } from './buffer.ts';

/** OpenFlow port numbers on the wire and in text. In memory they always have 32 bits. */

/** Names of a bridge's ports, for `--names`. */
export interface PortNames {
  nameOf(port: OfpPort): string | undefined;
  numberOf(name: string): OfpPort | undefined;
  /** Names of its tables; absent: they have none. */
  tableNameOf?(tableId: number): string | undefined;
  tableNumberOf?(name: string): number | undefined;
}

const RESERVED: readonly (readonly [string, number])[] = [
  ['UNSET', 0xfffffff7],
  ['IN_PORT', 0xfffffff8],
  ['TABLE', 0xfffffff9],
  ['NORMAL', 0xfffffffa],
  ['FLOOD', 0xfffffffb],
  ['ALL', 0xfffffffc],
  ['CONTROLLER', 0xfffffffd],
  ['LOCAL', 0xfffffffe],
  ['ANY', 0xffffffff],
];
const nameByNumber = new Map(RESERVED.map(([name, n]) => [n, name]));
const numberByName = new Map([...RESERVED, ['NONE', 0xffffffff] as const]);

/** A port of OpenFlow 1.1+; between 0xff00 and 0xffffff00 there are none. */
export function portFromOfp11(port: number, error: OfErrorName = 'OFPBAC_BAD_OUT_PORT'): OfpPort {
  if (port >= 0xff00 && port < 0xffffff00) throw new OfDecodeError(error, `port ${port}`);
  return ofpPort(port);
}

/** `LOCAL`, a name of the bridge (quoted when it is not an identifier), or the number. */
export function formatPort(port: OfpPort, names?: PortNames): string {
  const reserved = nameByNumber.get(port);
  if (reserved) return reserved;
  const name = names?.nameOf(port);
  return name === undefined ? String(port) : quoteName(name);
}

/** A name as it is; in quotes when it is not an identifier. */
export function quoteName(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_.-]*$/.test(name) ? name : JSON.stringify(name);
}

/** A table's name where it has one, else its number. */
export function formatTable(tableId: number, names?: PortNames): string {
  const name = names?.tableNameOf?.(tableId);
  return name === undefined ? String(tableId) : quoteName(name);
}

/** Undefined when it is neither a number from 0 to 255 nor a known name, which may be quoted. */
export function parseTable(s: string, names?: PortNames): number | undefined {
  if (/^(0[xX][0-9a-fA-F]+|[0-9]+)$/.test(s)) {
    const n = /^0[0-7]/.test(s) ? Number.parseInt(s, 8) : Number(s);
    return n <= 255 ? n : undefined;
  }
  return names?.tableNumberOf?.(s.startsWith('"') && s.endsWith('"') ? String(JSON.parse(s)) : s);
}

/** Undefined when it is neither a number in range nor a known name. OpenFlow 1.0's reserved numbers are taken too. */
export function parsePort(s: string, names?: PortNames): OfpPort | undefined {
  if (/^[0-9]+$/.test(s)) {
    const n = Number(s);
    if (n < 0xff00) return ofpPort(n);
    if (n <= 0xffff) return ofpPort((n | 0xffff0000) >>> 0);
    return n >= 0xffffff00 && n <= 0xffffffff ? ofpPort(n) : undefined;
  }
  const reserved = numberByName.get(s.toUpperCase());
  if (reserved !== undefined) return ofpPort(reserved);
  return names?.numberOf(s.startsWith('"') && s.endsWith('"') ? String(JSON.parse(s)) : s);
}
