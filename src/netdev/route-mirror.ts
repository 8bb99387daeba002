import { close } from '../sys/fd.ts';
import { FdWatcher } from '../sys/fd-watcher.ts';
import {
  ifIndexToName,
  netlinkReceive,
  RTMGRP_IPV4_IFADDR,
  RTMGRP_IPV4_ROUTE,
  RTMGRP_IPV6_IFADDR,
  RTMGRP_IPV6_ROUTE,
  RTMGRP_LINK,
  rtnetlinkDumpRoutes,
  rtnetlinkOpen,
} from '../sys/netlink.ts';
import type { SystemRoute } from './ovs-router.ts';

/** Mirrors the host's routes (rtnetlink(7)): all of them are read again when one of them, an address or a link has changed. Control thread only. */

const RTM_NEWROUTE = 24;
const AF_INET = 2;
const AF_INET6 = 10;
const RTN_UNICAST = 1;
const RTN_LOCAL = 2;
const RT_SCOPE_NOWHERE = 255;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_MARK = 16;
const NLMSG_HEADER = 16;
const RTMSG = 12;
const RTATTR_HEADER = 4;
const V4_BITS = 96;

const align4 = (n: number) => (n + 3) & ~3;

/** A 16-byte address of one of either family; undefined: it has another size. */
function address(bytes: Uint8Array | undefined, family: number): Uint8Array | undefined {
  const out = new Uint8Array(16);
  if (family === AF_INET) out.fill(0xff, 10, 12);
  const size = family === AF_INET ? 4 : 16;
  if (bytes && bytes.length !== size) return undefined;
  if (bytes) out.set(bytes, 16 - size);
  return out;
}

function attributes(datagram: Uint8Array, view: DataView, from: number, end: number): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  for (let at = from; at + RTATTR_HEADER <= end; ) {
    const size = view.getUint16(at, true);
    if (size < RTATTR_HEADER || at + size > end) break;
    found.set(view.getUint16(at + 2, true), datagram.subarray(at + RTATTR_HEADER, at + size));
    at += align4(size);
  }
  return found;
}

const u32 = (bytes: Uint8Array | undefined): number | undefined =>
  bytes?.length === 4 ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) : undefined;

/** struct rtmsg { u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags }, attributes. */
function parseRoute(
  datagram: Uint8Array,
  view: DataView,
  body: number,
  end: number,
  nameOf: (ifindex: number) => string | undefined,
): SystemRoute | undefined {
  const [family, bits] = [datagram[body]!, datagram[body + 1]!];
  const [scope, type] = [datagram[body + 6]!, datagram[body + 7]!];
  if ((family !== AF_INET && family !== AF_INET6) || scope === RT_SCOPE_NOWHERE) return undefined;
  if (type !== RTN_UNICAST && type !== RTN_LOCAL) return undefined;
  const found = attributes(datagram, view, body + RTMSG, end);
  const ifindex = u32(found.get(RTA_OIF));
  // Several next hops: there is no device to send by.
  const device = ifindex === undefined ? undefined : nameOf(ifindex);
  const network = address(found.get(RTA_DST), family);
  const via = found.get(RTA_GATEWAY);
  const gateway = via && address(via, family);
  if (!device || !network || (via && !gateway)) return undefined;
  const prefix = bits + (family === AF_INET ? V4_BITS : 0);
  if (prefix > 128) return undefined;
  return { network, prefix, device, gateway, mark: u32(found.get(RTA_MARK)) ?? 0, local: type === RTN_LOCAL };
}

/** The routes in a datagram of a dump: struct nlmsghdr { u32 len; u16 type, flags; u32 seq, pid } and what follows, one after the other. Pure. */
export function parseRoutes(datagram: Uint8Array, nameOf: (ifindex: number) => string | undefined): SystemRoute[] {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  const routes: SystemRoute[] = [];
  for (let at = 0; at + NLMSG_HEADER <= datagram.length; ) {
    const size = view.getUint32(at, true);
    if (size < NLMSG_HEADER || at + size > datagram.length) break;
    if (view.getUint16(at + 4, true) === RTM_NEWROUTE && size >= NLMSG_HEADER + RTMSG) {
      const route = parseRoute(datagram, view, at + NLMSG_HEADER, at + size, nameOf);
      if (route) routes.push(route);
    }
    at += align4(size);
  }
  return routes;
}

const GROUPS = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE;

export class RouteMirror {
  readonly #tell: (routes: SystemRoute[]) => void;
  readonly #buffer = new Uint8Array(65536);
  #open: { fd: number; watcher: FdWatcher } | undefined;

  /** `tell` gets all routes, at once and after each change. Where there is no netlink, there are none. */
  constructor(tell: (routes: SystemRoute[]) => void) {
    this.#tell = tell;
    try {
      const fd = rtnetlinkOpen(GROUPS);
      this.#open = { fd, watcher: new FdWatcher(fd, () => this.#receive()) };
    } catch {
      return;
    }
    this.#read();
    this.#open.watcher.arm();
  }

  /** What the news are does not matter. */
  #receive(): void {
    if (!this.#open) return;
    let heard = false;
    for (;;) {
      const size = netlinkReceive(this.#open.fd, this.#buffer);
      if (size !== 'lost' && size <= 0) break;
      heard = true;
    }
    if (heard) this.#read();
    this.#open.watcher.arm();
  }

  /** A dump that fails leaves the routes as they are: the next change has another try. */
  #read(): void {
    const names = new Map<number, string | undefined>();
    const nameOf = (ifindex: number) => {
      if (!names.has(ifindex)) names.set(ifindex, ifIndexToName(ifindex));
      return names.get(ifindex);
    };
    const routes: SystemRoute[] = [];
    let whole = false;
    try {
      whole = rtnetlinkDumpRoutes(this.#buffer, (datagram) => routes.push(...parseRoutes(datagram, nameOf)));
    } catch {
      // No descriptor or no memory was left for it (EMFILE, ENOBUFS).
    }
    if (whole) this.#tell(routes);
  }

  close(): void {
    if (!this.#open) return;
    this.#open.watcher.close();
    close(this.#open.fd);
    this.#open = undefined;
  }
}
