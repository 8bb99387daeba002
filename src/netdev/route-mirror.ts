import type { Clock } from '../base/clock.ts';
import { Paced } from '../base/paced.ts';
import { close } from '../sys/fd.ts';
import { FdWatcher } from '../sys/fd-watcher.ts';
import {
  ifIndexToName,
  netlinkReceive,
  RTM_GETROUTE,
  RTMGRP_IPV4_IFADDR,
  RTMGRP_IPV4_ROUTE,
  RTMGRP_IPV6_IFADDR,
  RTMGRP_IPV6_ROUTE,
  RTMGRP_LINK,
  rtnetlinkDump,
  rtnetlinkOpen,
} from '../sys/netlink.ts';
import type { SystemRoute } from './ovs-router.ts';
import { attributesOf, isIpFamily, mappedAddress, mappedBits, messagesOf, u32Of } from './rtnetlink-messages.ts';

/** Mirrors the host's routes (rtnetlink(7)): all of them are read again when one of them, an address or a link has changed. Control thread only. */

const RTM_NEWROUTE = 24;
const RTN_UNICAST = 1;
const RTN_LOCAL = 2;
const RT_SCOPE_NOWHERE = 255;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_MARK = 16;
const RTMSG = 12;

/** struct rtmsg { u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags }, attributes. */
function parseRoute(body: Uint8Array, nameOf: (ifindex: number) => string | undefined): SystemRoute | undefined {
  const [family, bits] = [body[0]!, body[1]!];
  const [scope, type] = [body[6]!, body[7]!];
  if (!isIpFamily(family) || scope === RT_SCOPE_NOWHERE) return undefined;
  if (type !== RTN_UNICAST && type !== RTN_LOCAL) return undefined;
  const found = attributesOf(body, RTMSG);
  const ifindex = u32Of(found.get(RTA_OIF));
  // Several next hops: there is no device to send by.
  const device = ifindex === undefined ? undefined : nameOf(ifindex);
  const network = mappedAddress(found.get(RTA_DST), family);
  const via = found.get(RTA_GATEWAY);
  const gateway = via && mappedAddress(via, family);
  if (!device || !network || (via && !gateway)) return undefined;
  const prefix = bits + mappedBits(family);
  if (prefix > 128) return undefined;
  return { network, prefix, device, gateway, mark: u32Of(found.get(RTA_MARK)) ?? 0, local: type === RTN_LOCAL };
}

/** The routes in a datagram of a dump. Pure. */
export function parseRoutes(datagram: Uint8Array, nameOf: (ifindex: number) => string | undefined): SystemRoute[] {
  const routes: SystemRoute[] = [];
  for (const { type, body } of messagesOf(datagram)) {
    const route = type === RTM_NEWROUTE && body.length >= RTMSG ? parseRoute(body, nameOf) : undefined;
    if (route) routes.push(route);
  }
  return routes;
}

const GROUPS = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE;

/** A host whose routes change all the time has them read this often: each reading is of all of them. */
const READ_EVERY_MS = 100;

export class RouteMirror {
  readonly #tell: (routes: SystemRoute[]) => void;
  readonly #reading: Paced;
  readonly #buffer = new Uint8Array(65536);
  #open: { fd: number; watcher: FdWatcher } | undefined;

  /** `tell` gets all routes, at once and soon after each change. Where there is no netlink, there are none. */
  constructor(clock: Clock, tell: (routes: SystemRoute[]) => void) {
    this.#tell = tell;
    this.#reading = new Paced(clock, READ_EVERY_MS, () => this.#read());
    try {
      const fd = rtnetlinkOpen(GROUPS);
      this.#open = { fd, watcher: new FdWatcher(fd, () => this.#receive()) };
    } catch {
      return;
    }
    this.#reading.ask();
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
    if (heard) this.#reading.ask();
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
      whole = rtnetlinkDump(RTM_GETROUTE, this.#buffer, (datagram) => routes.push(...parseRoutes(datagram, nameOf)));
    } catch {
      // No descriptor or no memory was left for it (EMFILE, ENOBUFS).
    }
    if (whole) this.#tell(routes);
  }

  close(): void {
    this.#reading.close();
    if (!this.#open) return;
    this.#open.watcher.close();
    close(this.#open.fd);
    this.#open = undefined;
  }
}
