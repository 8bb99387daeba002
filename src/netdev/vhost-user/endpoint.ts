import { lstatSync, unlinkSync } from 'node:fs';
import type { FdStore } from '../../keeper/fd-store.ts';
import { close } from '../../sys/fd.ts';
import { FdWatcher } from '../../sys/fd-watcher.ts';
import { accept4, unixConnect, unixListen } from '../../sys/socket.ts';
import { isSysError, SysError } from '../../sys/sys-error.ts';
import type { Timers } from './connection.ts';

/** Time between two attempts to connect, as DPDK's; also between two to accept when that fails. */
export const RECONNECT_MS = 1000;

export interface EndpointDeps {
  /** Prefix of the keys in `fds`. */
  key: string;
  fds: FdStore;
  clock: Timers;
  warn(text: string): void;
  /** We begin to connect to the path. */
  opened(): void;
  /** A front end is there; its socket is under `<key>/conn`. */
  connected(fd: number): void;
}

/** Where front ends come from, one at a time. Control thread. */
export interface Endpoint {
  readonly path: string;
  /** `occupied`: a predecessor's front end is still served. Throws a SysError when the socket cannot be made. */
  open(occupied: boolean): void;
  /** The front end has gone and its state is forgotten: the next one may come; after one that `misbehaved`, only in a second. */
  released(misbehaved: boolean): void;
  close(): void;
}

/**
 * We listen (`dpdkvhostuser`). While a front end is served, the next waits in the backlog: one that restarts is served as soon as the
 * old connection's end is seen, and no fd is spent on others.
 */
export class ServerEndpoint implements Endpoint {
  readonly path: string;
  readonly #deps: EndpointDeps;
  #watcher: FdWatcher | undefined;

  constructor(path: string, deps: EndpointDeps) {
    this.path = path;
    this.#deps = deps;
  }

  open(occupied: boolean): void {
    const key = `${this.#deps.key}/listen`;
    if (this.#deps.fds.get(key) < 0) this.#deps.fds.put(key, listenAnew(this.path));
    const fd = this.#deps.fds.get(key);
    this.#watcher = new FdWatcher(fd, () => this.#accept(fd));
    if (!occupied) this.#watcher.arm();
  }

  released(misbehaved: boolean): void {
    if (misbehaved) this.#rest();
    else this.#watcher?.arm();
  }

  close(): void {
    if (!this.#watcher) return;
    this.#watcher.close();
    this.#watcher = undefined;
    this.#deps.fds.drop(`${this.#deps.key}/listen`);
    unlinkQuietly(this.path);
  }

  #accept(listenFd: number): void {
    let fd = -1;
    try {
      fd = accept4(listenFd);
    } catch (e) {
      if (!(e instanceof SysError)) throw e;
      this.#deps.warn(`${this.path}: ${e.message}`);
      this.#rest();
      return;
    }
    if (fd < 0) {
      this.#watcher?.arm();
      return;
    }
    this.#deps.fds.put(`${this.#deps.key}/conn`, fd);
    this.#deps.connected(fd);
  }

  #rest(): void {
    this.#deps.clock.after(RECONNECT_MS, () => this.#watcher?.arm());
  }
}

/** Listens at `path`; a socket that a dead process left there is removed first. */
function listenAnew(path: string): number {
  try {
    return unixListen(path);
  } catch (e) {
    if (!isSysError(e, 'EADDRINUSE') || !isStale(path)) throw e;
    unlinkSync(path);
    return unixListen(path);
  }
}

/** True for a socket at which nobody listens. */
function isStale(path: string): boolean {
  if (!lstatSync(path).isSocket()) return false;
  try {
    close(unixConnect(path));
    return false;
  } catch (e) {
    return isSysError(e, 'ECONNREFUSED');
  }
}

function unlinkQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== 'ENOENT') throw e;
  }
}

/** We connect (`dpdkvhostuserclient`): at once, and again every second, at most once in a second. */
export class ClientEndpoint implements Endpoint {
  readonly path: string;
  readonly #deps: EndpointDeps;
  #resting: ReturnType<Timers['after']> | undefined;
  #wanted = false;
  #complaint = '';

  constructor(path: string, deps: EndpointDeps) {
    this.path = path;
    this.#deps = deps;
  }

  open(occupied: boolean): void {
    this.#deps.opened();
    if (!occupied) this.#attempt();
  }

  released(): void {
    if (this.#resting === undefined) this.#attempt();
    else this.#wanted = true;
  }

  close(): void {
    this.#wanted = false;
    this.#resting?.cancel();
    this.#resting = undefined;
  }

  #attempt(): void {
    this.#resting = this.#deps.clock.after(RECONNECT_MS, () => {
      this.#resting = undefined;
      if (this.#wanted) this.#attempt();
    });
    try {
      const fd = unixConnect(this.path);
      this.#wanted = false;
      this.#complaint = '';
      this.#deps.fds.put(`${this.#deps.key}/conn`, fd);
      this.#deps.connected(fd);
    } catch (e) {
      if (!(e instanceof SysError)) throw e;
      this.#wanted = true;
      this.#complain(e);
    }
  }

  /** Once for each reason; that nobody listens yet is no reason. */
  #complain(e: SysError): void {
    const known = e.code === 'ENOENT' || e.code === 'ECONNREFUSED' || e.code === this.#complaint;
    this.#complaint = e.code;
    if (!known) this.#deps.warn(e.message);
  }
}
