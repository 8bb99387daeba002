import { isIP } from 'node:net';
import { addressError } from '../attach/link.ts';
import { invalidConfig } from './error.ts';
import type { Fields, JsonRecord } from './json.ts';
import type { CniVersion } from './versions.ts';
import { isAtLeast } from './versions.ts';

/** A result of ADD as version 1.1.0 has it, whatever version it came in or goes out. */
export interface CniResult {
  readonly interfaces: readonly CniInterface[];
  readonly ips: readonly CniIp[];
  readonly routes: readonly CniRoute[];
  readonly dns: JsonRecord | undefined;
}

export interface CniInterface {
  readonly name: string;
  readonly mac?: string | undefined;
  readonly mtu?: number | undefined;
  /** Undefined for one of the host. */
  readonly sandbox?: string | undefined;
  readonly socketPath?: string | undefined;
  readonly pciID?: string | undefined;
}

export interface CniIp {
  readonly address: string;
  readonly gateway?: string | undefined;
  /** Into `interfaces`. */
  readonly interface?: number | undefined;
}

export interface CniRoute {
  readonly dst: string;
  readonly gw?: string | undefined;
  readonly mtu?: number | undefined;
  readonly advmss?: number | undefined;
  readonly priority?: number | undefined;
  readonly table?: number | undefined;
  readonly scope?: number | undefined;
}

export const EMPTY_RESULT: CniResult = { interfaces: [], ips: [], routes: [], dns: undefined };

const MAX_U32 = 0xffffffff;

/** Reads a result of any version from 0.3.0 on. Throws CniError with code 7. */
export function parseResult(fields: Fields): CniResult {
  const interfaces = fields.objects('interfaces').map(parseInterface);
  return {
    interfaces,
    ips: fields.objects('ips').map((ip) => parseIp(ip, interfaces.length)),
    routes: fields.objects('routes').map(parseRoute),
    dns: fields.record('dns'),
  };
}

function parseInterface(fields: Fields): CniInterface {
  const name = fields.text('name');
  if (name === undefined) throw invalidConfig('an interface of a result has no name');
  return {
    name,
    mac: fields.text('mac'),
    mtu: fields.integer('mtu', 0, MAX_U32),
    sandbox: fields.text('sandbox'),
    socketPath: fields.text('socketPath'),
    pciID: fields.text('pciID'),
  };
}

function parseIp(fields: Fields, nInterfaces: number): CniIp {
  const address = fields.text('address') ?? '';
  const error = addressError(address);
  if (error !== undefined || !address.includes('/')) throw invalidConfig(error ?? `"${address}" has no prefix length`);
  // host-local of old versions says -1 for "none".
  const index = fields.integer('interface', -1, Number.MAX_SAFE_INTEGER) ?? -1;
  return {
    address,
    gateway: checkedIp(fields.text('gateway')),
    interface: index >= 0 && index < nInterfaces ? index : undefined,
  };
}

function parseRoute(fields: Fields): CniRoute {
  const dst = fields.text('dst') ?? '';
  const error = addressError(dst);
  if (error !== undefined) throw invalidConfig(error);
  const number = (name: string) => fields.integer(name, 0, MAX_U32);
  return {
    dst,
    gw: checkedIp(fields.text('gw')),
    mtu: number('mtu'),
    advmss: number('advmss'),
    priority: number('priority'),
    table: number('table'),
    scope: number('scope'),
  };
}

function checkedIp(text: string | undefined): string | undefined {
  if (text !== undefined && isIP(text) === 0) throw invalidConfig(`"${text}" is not an IP address`);
  return text;
}

/** The result in the words of `version`. Pure. */
export function formatResult(result: CniResult, version: CniVersion): JsonRecord {
  const isV1 = isAtLeast(version, '1.0.0');
  const isV11 = isAtLeast(version, '1.1.0');
  const onlyV11 = <T extends object>(extra: T) => (isV11 ? extra : {});
  return {
    cniVersion: version,
    interfaces: result.interfaces.map(({ name, mac, sandbox, mtu, socketPath, pciID }) => ({
      name,
      mac,
      sandbox,
      ...onlyV11({ mtu, socketPath, pciID }),
    })),
    ips: result.ips.map((ip) => ({
      ...(isV1 ? {} : { version: isIP(ip.address.split('/')[0]!) === 6 ? '6' : '4' }),
      ...ip,
    })),
    routes: result.routes.map(({ dst, gw, ...rest }) => ({ dst, gw, ...onlyV11(rest) })),
    dns: result.dns ?? {},
  };
}
