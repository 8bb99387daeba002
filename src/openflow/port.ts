import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import { type OfpPort, ofpPort } from '../base/types.ts';
import { OfDecodeError } from './buffer.ts';
import { portWarn, portWarnLimited, portWarnOfTable } from './openflow-log.ts';

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
  if (port >= 0xff00 && port < 0xffffff00) {
    portWarnLimited(`port ${port} is outside the supported range 0 through 65279 or 0xffffff00 through 0xffffffff`);
    throw new OfDecodeError(error, `port ${port}`);
  }
  return ofpPort(port);
}

/** `LOCAL`, a name of the bridge (quoted when it is not an identifier), or the number. */
export function formatPort(port: OfpPort, names?: PortNames): string {
  const reserved = nameByNumber.get(port);
  if (reserved) return reserved;
  const name = names?.nameOf(port);
  // Reserved ones without a name are shown by their number of OpenFlow 1.0.
  return name === undefined ? String(port < 0xffffff00 ? port : port & 0xffff) : quoteName(name);
}

/** A name as it is; in quotes when it is not a letter with letters and digits. */
export function quoteName(name: string): string {
  return /^[A-Za-z][A-Za-z0-9]*$/.test(name) ? name : JSON.stringify(name);
}

/** A table's name where it has one, else its number. */
export function formatTable(tableId: number, names?: PortNames): string {
  const name = names?.tableNameOf?.(tableId);
  return name === undefined ? String(tableId) : quoteName(name);
}

/** A name that may be a JSON string; undefined when it is a broken one. */
function unquote(s: string): string | undefined {
  if (s[0] !== '"') return s;
  try {
    const name: unknown = JSON.parse(s);
    return typeof name === 'string' ? name : undefined;
  } catch {
    return undefined;
  }
}

/** Undefined when it is neither a number from 0 to 255 nor a known name, which may be quoted. */
export function parseTable(s: string, names?: PortNames): number | undefined {
  if (s[0] === '-') {
    portWarnOfTable(`Negative value ${s} is not a valid table number.`);
    return undefined;
  }
  if (/^\s*\+?[0-9]+$/.test(s)) {
    const n = Number(s);
    if (n <= 255) return n;
    portWarnOfTable(`table ${n} is outside the supported range 0 through 255`);
    return undefined;
  }
  const name = unquote(s);
  return name === undefined ? undefined : names?.tableNumberOf?.(name);
}

const OFP10_MAX = 0xff00;
const OFP10_FIRST_RESERVED = 0xfff7;
const OFP11_MAX = 0xffffff00;
/** Reserved ports whose OpenFlow 1.0 number was taken once: that is said once. */
let deprecatedTold = false;

function parsePortNumber(n: number): OfpPort | undefined {
  if (n < OFP10_MAX) return ofpPort(n);
  const port = ofpPort((n | 0xffff0000) >>> 0);
  if (n < OFP10_FIRST_RESERVED)
    portWarn(
      `port ${n} is a reserved OF1.0 port number that will be translated to ${port} when talking to an OF1.1 or later controller`,
    );
  else if (n <= 0xffff) {
    if (!deprecatedTold)
      portWarn(
        `referring to port ${formatPort(port)} as ${n} is deprecated for compatibility with OpenFlow 1.1 and later`,
      );
    deprecatedTold = true;
  } else if (n < OFP11_MAX) {
    portWarn(
      `port ${n} is outside the supported range 0 through ffff or 0x${OFP11_MAX.toString(16)} through 0xffffffff`,
    );
    return undefined;
  } else return ofpPort(n);
  return port;
}

/** Undefined when it is neither a number in range nor a known name. OpenFlow 1.0's reserved numbers are taken too. */
export function parsePort(s: string, names?: PortNames): OfpPort | undefined {
  if (s[0] === '-') {
    portWarn(`Negative value ${s} is not a valid port number.`);
    return undefined;
  }
  if (/^[0-9]+$/.test(s) && Number(s) <= 0xffffffff) return parsePortNumber(Number(s));
  const reserved = numberByName.get(s.toUpperCase());
  if (reserved !== undefined) return ofpPort(reserved);
  const name = unquote(s);
  return name === undefined ? undefined : names?.numberOf(name);
}
