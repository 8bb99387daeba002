import { chmodSync, existsSync, rmSync } from 'node:fs';
import type { Server as NetServer, Socket } from 'node:net';
import * as net from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { absFileName, ovsRundir } from '../base/dirs.ts';
import { withSocketPath } from '../base/unix-path.ts';
import type { TlsConfig } from './tls.ts';

/** Open vSwitch's names of streams (ovsdb(7), "Connection Methods"). */

export const OVSDB_PORT = 6640;

export type StreamName =
  | { readonly kind: 'unix' | 'punix'; readonly path: string }
  | { readonly kind: 'tcp' | 'ssl'; readonly host: string; readonly port: number }
  | { readonly kind: 'ptcp' | 'pssl'; readonly host: string | undefined; readonly port: number };

/** Takes a connection method apart; undefined when it is none. A relative socket path is one in the rundir. */
export function parseStreamName(name: string): StreamName | undefined {
  const colon = name.indexOf(':');
  const kind = name.slice(0, colon);
  const rest = name.slice(colon + 1);
  switch (kind) {
    case 'unix':
    case 'punix':
      return rest ? { kind, path: absFileName(ovsRundir(), rest) } : undefined;
    case 'tcp':
    case 'ssl':
      return activeInet(kind, rest);
    case 'ptcp':
    case 'pssl':
      return passiveInet(kind, rest);
    default:
      return undefined;
  }
}

function parsePort(text: string | undefined): number | undefined {
  if (!text) return OVSDB_PORT;
  const port = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  return port <= 0xffff ? port : undefined;
}

function unbracket(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1');
}

/** HOST[:PORT], with an IPv6 address in brackets. */
function activeInet(kind: 'tcp' | 'ssl', text: string): StreamName | undefined {
  const match = /^(\[[^\]]+\]|[^:]+)(?::(\d*))?$/.exec(text);
  const port = match ? parsePort(match[2]) : undefined;
  return match && port !== undefined ? { kind, host: unbracket(match[1]!), port } : undefined;
}

/** [PORT][:HOST]. */
function passiveInet(kind: 'ptcp' | 'pssl', text: string): StreamName | undefined {
  const match = /^(\d*)(?::(\[[^\]]+\]|[^:]*))?$/.exec(text);
  const port = match ? parsePort(match[1]) : undefined;
  return match && port !== undefined ? { kind, host: match[2] ? unbracket(match[2]) : undefined, port } : undefined;
}

export function isPassive(name: StreamName): boolean {
  return name.kind.startsWith('p');
}

/** A silent peer on the same machine is there; one elsewhere may be gone. */
export function needsProbes(name: StreamName): boolean {
  return name.kind !== 'unix' && name.kind !== 'punix';
}

/** Connects to an active stream. Rejects with a system error; also when `signal` ends it. */
export async function connectStream(name: StreamName, tls: TlsConfig, signal?: AbortSignal): Promise<Duplex> {
  switch (name.kind) {
    case 'unix':
      return withSocketPath(name.path, (path) => connected(net.connect({ path }), 'connect', signal));
    case 'tcp':
      return connected(net.connect({ host: name.host, port: name.port, noDelay: true }), 'connect', signal);
    case 'ssl': {
      // Loaded where it is needed: it makes the start of a program half as long again.
      const { TlsClient } = await import('./tls.ts');
      const client = new TlsClient(tls);
      const socket = await connected(client.connect(name.host, name.port), 'secureConnect', signal).catch(
        asProtocolError,
      );
      client.checkPeer(socket);
      return socket;
    }
    default:
      throw Object.assign(new Error('not an active connection method'), { code: 'EAFNOSUPPORT' });
  }
}

/** A handshake that failed. To the caller it is a protocol error, since OpenSSL's complaints have no error number. */
export class TlsError extends Error {
  readonly code = 'EPROTO';
  /** In OpenSSL's words. */
  readonly detail: string;

  constructor(error: Error) {
    const [, code = '0', reason] = /error:([0-9A-F]+):[^:]*:[^:]*:([^:]+)/.exec(error.message) ?? [];
    super('Protocol error');
    // Alerts are called as they are in OpenSSL 3.0, which Open vSwitch's users know.
    this.detail =
      reason === undefined ? error.message : `error:${code}:SSL routines::${reason.replace('ssl/tls', 'sslv3')}`;
  }
}

function asProtocolError(error: Error & { code?: string }): never {
  const isSystemError = /^E[A-Z]+$/.test(error.code ?? '') && error.code !== 'EPROTO';
  throw isSystemError ? error : new TlsError(error);
}

function connected<S extends Socket>(socket: S, event: string, signal: AbortSignal | undefined): Promise<S> {
  return new Promise((resolve, reject) => {
    const stop = () => socket.destroy(Object.assign(new Error('aborted'), { code: 'ECONNABORTED' }));
    const settle = (finish: () => void) => {
      signal?.removeEventListener('abort', stop);
      socket.off('error', failed);
      finish();
    };
    const failed = (error: Error) => settle(() => reject(error));
    socket.once(event, () => settle(() => resolve(socket)));
    socket.once('error', failed);
    if (signal?.aborted) stop();
    else signal?.addEventListener('abort', stop);
  });
}

/** A passive stream that is listening. */
export interface Listener {
  /** The port that was bound, 0 for a unix socket. */
  readonly boundPort: number;
  /** For `ssl`: takes new keys into use for the connections that come. */
  setTls(tls: TlsConfig): void;
  close(): void;
}

export interface AcceptHandlers {
  accepted(stream: Duplex, peer: string): void;
  warn(text: string): void;
  debug?(text: string): void;
}

/** Listens on a passive stream. Rejects with a system error. `name` is how it was written, for messages. */
export async function listenStream(name: StreamName, tls: TlsConfig, handlers: AcceptHandlers): Promise<Listener> {
  switch (name.kind) {
    case 'punix':
      return listenUnix(name.path, handlers);
    case 'ptcp': {
      const accept = (socket: Socket) => handlers.accepted(socket.setNoDelay(true), peerName('tcp', socket));
      return inetListener(await listening(net.createServer(accept), inetOptions(name)));
    }
    case 'pssl': {
      const { TlsServer } = await import('./tls.ts');
      const server = new TlsServer(tls, handlers);
      server.onConnection((socket: TLSSocket) => handlers.accepted(socket, peerName('ssl', socket)));
      const listener = inetListener(await listening(server.server, inetOptions(name)));
      return { ...listener, setTls: (config) => server.update(config) };
    }
    default:
      throw Object.assign(new Error('not a passive connection method'), { code: 'EAFNOSUPPORT' });
  }
}

function inetOptions({ host, port }: { host: string | undefined; port: number }): net.ListenOptions {
  return { host: host ?? '0.0.0.0', port };
}

function peerName(kind: string, { remoteAddress = '', remotePort = 0 }: Socket): string {
  return `${kind}:${remoteAddress.includes(':') ? `[${remoteAddress}]` : remoteAddress}:${remotePort}`;
}

function listening(server: NetServer, options: net.ListenOptions): Promise<NetServer> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.off('error', reject);
      // A failed accept (too many files) concerns one connection.
      server.on('error', () => {});
      resolve(server);
    });
  });
}

function inetListener(server: NetServer): Listener {
  const { port } = server.address() as net.AddressInfo;
  return { boundPort: port, setTls: () => {}, close: () => server.close() };
}

let nUnixPeers = 0;

async function listenUnix(path: string, handlers: AcceptHandlers): Promise<Listener> {
  const server = net.createServer((socket) => handlers.accepted(socket, `unix#${nUnixPeers++}`));
  // Left over from a process that was killed; it could not be bound again.
  if (existsSync(path)) rmSync(path);
  await withSocketPath(path, (short) => listening(server, { path: short }));
  chmodSync(path, 0o750);
  const unlink = () => rmSync(path, { force: true });
  process.once('exit', unlink);
  const close = () => {
    process.off('exit', unlink);
    unlink();
    server.close();
  };
  return { boundPort: 0, setTls: () => {}, close };
}
