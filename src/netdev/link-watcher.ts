import { close } from '../sys/fd.ts';
import { FdWatcher } from '../sys/fd-watcher.ts';
import { netlinkReceive, RTMGRP_LINK, rtnetlinkOpen } from '../sys/netlink.ts';

/** News of the host's network interfaces, by rtnetlink(7). Control thread only. */

/** What has happened to the interface `name`; undefined: anything to any of them. */
export interface LinkNews {
  name: string | undefined;
  /** It came or went. */
  came: boolean;
}

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const IFLA_IFNAME = 3;
const AF_UNSPEC = 0;
const NLMSG_HEADER = 16;
const IFINFOMSG = 16;
const RTATTR_HEADER = 4;

const align4 = (n: number) => (n + 3) & ~3;

/** Reads the messages of one datagram: struct nlmsghdr { u32 len; u16 type, flags; u32 seq, pid }, ifinfomsg, attributes. Pure. */
export function parseLinkNews(
  datagram: Uint8Array,
): { type: 'new' | 'gone'; ifindex: number; name: string | undefined }[] {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  const news: ReturnType<typeof parseLinkNews> = [];
  for (let at = 0; at + NLMSG_HEADER <= datagram.length; ) {
    const size = view.getUint32(at, true);
    if (size < NLMSG_HEADER || at + size > datagram.length) break;
    const type = view.getUint16(at + 4, true);
    if ((type === RTM_NEWLINK || type === RTM_DELLINK) && size >= NLMSG_HEADER + IFINFOMSG) {
      const body = at + NLMSG_HEADER;
      const name = interfaceName(datagram, view, body + IFINFOMSG, at + size);
      // Of another family: news of a port of the kernel's bridge, not of the interface.
      if (datagram[body] === AF_UNSPEC)
        news.push({ type: type === RTM_NEWLINK ? 'new' : 'gone', ifindex: view.getInt32(body + 4, true), name });
    }
    at += align4(size);
  }
  return news;
}

function interfaceName(datagram: Uint8Array, view: DataView, from: number, end: number): string | undefined {
  for (let at = from; at + RTATTR_HEADER <= end; ) {
    const size = view.getUint16(at, true);
    if (size < RTATTR_HEADER || at + size > end) return undefined;
    if (view.getUint16(at + 2, true) === IFLA_IFNAME)
      return Buffer.from(datagram.subarray(at + RTATTR_HEADER, at + size))
        .toString('latin1')
        .replace(/\0.*$/s, '');
    at += align4(size);
  }
  return undefined;
}

/** Open while somebody listens. */
export class LinkWatcher {
  readonly #listeners = new Set<(news: LinkNews) => void>();
  readonly #buffer = new Uint8Array(65536);
  /** Names of the interfaces that were heard of, by number: whatever else comes is new. */
  readonly #known = new Map<number, string | undefined>();
  #open: { fd: number; watcher: FdWatcher } | undefined;

  /** Calls `listener` at each change; returns what ends that. Where there is no netlink, it is never called. */
  listen(listener: (news: LinkNews) => void): () => void {
    this.#listeners.add(listener);
    this.#start();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#stop();
    };
  }

  #start(): void {
    if (this.#open) return;
    try {
      const fd = rtnetlinkOpen(RTMGRP_LINK);
      this.#open = { fd, watcher: new FdWatcher(fd, () => this.#receive()) };
    } catch {
      return;
    }
    this.#open.watcher.arm();
  }

  #stop(): void {
    if (!this.#open) return;
    this.#open.watcher.close();
    close(this.#open.fd);
    this.#open = undefined;
    this.#known.clear();
  }

  #receive(): void {
    while (this.#open) {
      const size = netlinkReceive(this.#open.fd, this.#buffer);
      if (size === 'lost') this.#tell({ name: undefined, came: true });
      else if (size <= 0) break;
      else for (const news of parseLinkNews(this.#buffer.subarray(0, size))) this.#onNews(news);
    }
    this.#open?.watcher.arm();
  }

  #onNews({ type, ifindex, name }: ReturnType<typeof parseLinkNews>[number]): void {
    const before = this.#known.get(ifindex);
    const came = type === 'gone' || before !== name;
    if (type === 'gone') this.#known.delete(ifindex);
    else this.#known.set(ifindex, name);
    this.#tell({ name, came });
    // A new name: whoever had the old one has lost it.
    if (before !== undefined && before !== name) this.#tell({ name: before, came: true });
  }

  #tell(news: LinkNews): void {
    for (const listener of [...this.#listeners]) listener(news);
  }
}

/** The one of this process. */
export const links = new LinkWatcher();
