import {
  VHOST_USER_HDR_SIZE,
  VHOST_USER_MAX_REGIONS,
  VHOST_USER_NEED_REPLY,
  VHOST_USER_PAYLOADS,
  VHOST_USER_REPLY,
  VHOST_USER_REQUESTS,
  VHOST_USER_VERSION,
  VHOST_USER_VERSION_MASK,
  VHOST_USER_VRING_NOFD,
  type VhostUserMember,
  type VhostUserPayloadName,
  type VhostUserRequestName,
  type VhostUserRequestRow,
} from '../../protocols/vhost-user.ts';
import { err, ok, type Result } from '../base/result.ts';

/** vhost-user messages: a view of the header, and values of the payloads, all derived from the declaration in protocols/. */

type MemberValue<T> = T extends 'u64' ? bigint : number;
type MembersOf<L extends readonly VhostUserMember[]> = { [M in L[number] as M[0]]: MemberValue<M[1]> };
/** The value of a payload: a u64 member is a bigint, a u32 a number. */
export type VhostUserPayload<N extends VhostUserPayloadName> = MembersOf<(typeof VHOST_USER_PAYLOADS)[N]>;
export type VhostUserRegion = VhostUserPayload<'memRegion'>;

const SIZES = { u32: 4, u64: 8 } as const;

/** Bytes of a payload (of a memory table: without its regions). */
export function payloadSize(name: VhostUserPayloadName): number {
  return VHOST_USER_PAYLOADS[name].reduce((n, [, type]) => n + SIZES[type], 0);
}

const REGION_SIZE = payloadSize('memRegion');
const MEM_TABLE_SIZE = payloadSize('memTable');
/** Nothing that the switch understands is longer. */
export const VHOST_USER_MAX_PAYLOAD = MEM_TABLE_SIZE + VHOST_USER_MAX_REGIONS * REGION_SIZE;

/** Reads the payload `name` at `offset`; the caller has checked that it is whole. */
export function readPayload<N extends VhostUserPayloadName>(view: DataView, name: N, offset = 0): VhostUserPayload<N> {
  const value: Record<string, number | bigint> = {};
  for (const [member, type] of VHOST_USER_PAYLOADS[name]) {
    value[member] = type === 'u64' ? view.getBigUint64(offset, true) : view.getUint32(offset, true);
    offset += SIZES[type];
  }
  return value as VhostUserPayload<N>;
}

/** Writes the payload `name` at `offset`. */
export function writePayload<N extends VhostUserPayloadName>(
  view: DataView,
  name: N,
  value: VhostUserPayload<N>,
  offset = 0,
): void {
  const values = value as Record<string, number | bigint>;
  for (const [member, type] of VHOST_USER_PAYLOADS[name]) {
    if (type === 'u64') view.setBigUint64(offset, BigInt(values[member]!), true);
    else view.setUint32(offset, Number(values[member]), true);
    offset += SIZES[type];
  }
}

/** The first 12 bytes of a message. */
export interface VhostUserHeader {
  request: number;
  flags: number;
  /** Bytes that follow. */
  size: number;
}

export function readHeader(view: DataView): VhostUserHeader {
  return { request: view.getUint32(0, true), flags: view.getUint32(4, true), size: view.getUint32(8, true) };
}

const NAMES = new Map<number, VhostUserRequestName>(
  Object.entries(VHOST_USER_REQUESTS).map(([name, row]) => [row.id, name as VhostUserRequestName]),
);

/** The request of that number, if the switch knows it. */
export function requestName(id: number): VhostUserRequestName | undefined {
  return NAMES.get(id);
}

/** `SET_MEM_TABLE`, or `request 99`. */
export function requestLabel(id: number): string {
  return NAMES.get(id) ?? `request ${id}`;
}

export function requestRow(name: VhostUserRequestName): VhostUserRequestRow {
  return VHOST_USER_REQUESTS[name];
}

/** Why a header cannot start a message from a front end, or undefined when it can. Unknown requests pass: they are refused by name later. */
export function headerError(header: VhostUserHeader): string | undefined {
  const { request, flags, size } = header;
  if ((flags & VHOST_USER_VERSION_MASK) !== VHOST_USER_VERSION) return `${requestLabel(request)}: bad version`;
  if (flags & VHOST_USER_REPLY) return `${requestLabel(request)}: a reply that nobody asked for`;
  if (size > VHOST_USER_MAX_PAYLOAD) return `${requestLabel(request)}: size ${size} above ${VHOST_USER_MAX_PAYLOAD}`;
  const name = NAMES.get(request);
  if (name === undefined || name === 'SET_MEM_TABLE') return undefined;
  const want = payloadSize(requestRow(name).payload);
  return size === want ? undefined : `${name}: size ${size} instead of ${want}`;
}

/** The regions of a SET_MEM_TABLE, or what is wrong with its size. */
export function memTableRegions(payload: DataView): Result<VhostUserRegion[], string> {
  if (payload.byteLength < MEM_TABLE_SIZE) return err(`SET_MEM_TABLE: size ${payload.byteLength}`);
  const { nRegions } = readPayload(payload, 'memTable');
  if (nRegions === 0 || nRegions > VHOST_USER_MAX_REGIONS) return err(`SET_MEM_TABLE: ${nRegions} regions`);
  const want = MEM_TABLE_SIZE + nRegions * REGION_SIZE;
  // Some front ends send the table at its full size whatever the number of regions.
  if (payload.byteLength < want) return err(`SET_MEM_TABLE: size ${payload.byteLength} instead of ${want}`);
  const regions = Array.from({ length: nRegions }, (_, i) =>
    readPayload(payload, 'memRegion', MEM_TABLE_SIZE + i * REGION_SIZE),
  );
  return ok(regions);
}

/** Why `nFds` file descriptors are not what must come with the request, or undefined. */
export function fdsError(name: VhostUserRequestName, payload: DataView, nFds: number): string | undefined {
  const complain = (want: string | number) => `${name}: ${nFds} fds instead of ${want}`;
  switch (requestRow(name).fds) {
    case 'none':
      return nFds === 0 ? undefined : complain(0);
    case 'one':
      return nFds === 1 ? undefined : complain(1);
    case 'optional':
      return nFds <= 1 ? undefined : complain('at most 1');
    case 'vring': {
      const want = readPayload(payload, 'u64').value & BigInt(VHOST_USER_VRING_NOFD) ? 0 : 1;
      return nFds === want ? undefined : complain(want);
    }
    case 'regions': {
      const { nRegions } = readPayload(payload, 'memTable');
      return nFds === nRegions ? undefined : complain(nRegions);
    }
  }
}

function withHeader(id: number, flags: number, size: number): DataView {
  const message = new DataView(new ArrayBuffer(VHOST_USER_HDR_SIZE + size));
  message.setUint32(0, id, true);
  message.setUint32(4, VHOST_USER_VERSION | flags, true);
  message.setUint32(8, size, true);
  return message;
}

const bytesOf = (view: DataView) => new Uint8Array(view.buffer as ArrayBuffer);

/** A whole request, as a front end sends it. For a memory table use `encodeMemTable`. */
export function encodeRequest<N extends VhostUserRequestName>(
  name: N,
  value: VhostUserPayload<(typeof VHOST_USER_REQUESTS)[N]['payload']>,
  needReply = false,
): Uint8Array<ArrayBuffer> {
  const { id, payload } = VHOST_USER_REQUESTS[name];
  const message = withHeader(id, needReply ? VHOST_USER_NEED_REPLY : 0, payloadSize(payload));
  writePayload(message, payload, value as never, VHOST_USER_HDR_SIZE);
  return bytesOf(message);
}

export function encodeMemTable(regions: readonly VhostUserRegion[], needReply = false): Uint8Array<ArrayBuffer> {
  const size = MEM_TABLE_SIZE + regions.length * REGION_SIZE;
  const message = withHeader(VHOST_USER_REQUESTS.SET_MEM_TABLE.id, needReply ? VHOST_USER_NEED_REPLY : 0, size);
  writePayload(message, 'memTable', { nRegions: regions.length, padding: 0 }, VHOST_USER_HDR_SIZE);
  regions.forEach((region, i) => {
    writePayload(message, 'memRegion', region, VHOST_USER_HDR_SIZE + MEM_TABLE_SIZE + i * REGION_SIZE);
  });
  return bytesOf(message);
}

/** An answer to request `id`: the payload that its row names, or for REPLY_ACK a u64 of 0 (done) or 1 (refused). */
export function encodeReply<N extends VhostUserPayloadName>(
  id: number,
  payload: N,
  value: VhostUserPayload<N>,
): Uint8Array<ArrayBuffer> {
  const message = withHeader(id, VHOST_USER_REPLY, payloadSize(payload));
  writePayload(message, payload, value, VHOST_USER_HDR_SIZE);
  return bytesOf(message);
}
