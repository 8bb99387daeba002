import { chmodSync, unlinkSync } from 'node:fs';
import {
  createServer,
  type ListenOptions,
  type NetConnectOpts,
  connect as netConnect,
  type Server,
  type Socket,
} from 'node:net';
import { createServer as createTlsServer, connect as tlsConnect } from 'node:tls';
import { withSocketPath } from '../base/unix-path.ts';
import type { TlsConfig } from './config.ts';

/** The transports of OpenFlow connections: `tcp:`, `ssl:`, `unix:` and their passive forms (ovs-vswitchd.conf.db(5)). */

const OFP_PORT = 6653;

/** A target taken apart. */
export interface Target {
  passive: boolean;
  kind: 'tcp' | 'ssl' | 'unix';
  host: string;
  port: number;
  path: string;
}

/** Undefined when the target has no such form. */
export function parseTarget(target: string): Target | undefined {
  const m = /^(p?)(tcp|ssl|unix):(.*)$/.exec(target);
  if (!m) return undefined;
  const [, p, kind, rest] = m as unknown as [string, string, Target['kind'], string];
  const passive = p === 'p';
  if (kind === 'unix') return rest ? { passive, kind, host: '', port: 0, path: rest } : undefined;
  const words = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(rest);
  if (!words) return undefined;
  const [first, second] = [words[1].replace(/^\[|\]$/g, ''), (words[2] ?? '').replace(/^\[|\]$/g, '')];
  const [host, port] = passive ? [second, first] : [first, second];
  if (!passive && !host) return undefined;
  const number = port === '' ? OFP_PORT : Number(port);
  return Number.isInteger(number) && number >= 0 && number <= 65535
    ? { passive, kind, host, port: number, path: '' }
    : undefined;
}

const tlsOptions = (tls: TlsConfig) => ({
  key: tls.privateKey,
  cert: tls.certificate,
  ca: tls.caCert,
  rejectUnauthorized: true,
});

/** Connects; calls `done` once, with the socket or with why not. */
export function connectTarget(
  target: Target,
  tls: TlsConfig | undefined,
  done: (socket: Socket | undefined, error: string) => void,
): Socket | undefined {
  if (target.kind === 'ssl' && !tls) {
    // Not before the caller has what this returns.
    queueMicrotask(() => done(undefined, 'ENOPROTOOPT'));
    return undefined;
  }
  const where: NetConnectOpts =
    target.kind === 'unix' ? { path: target.path } : { host: target.host, port: target.port };
  const secure = target.kind === 'ssl';
  let socket: Socket;
  try {
    socket = secure
      ? tlsConnect({ ...where, ...tlsOptions(tls!), checkServerIdentity: () => undefined })
      : netConnect(where);
  } catch {
    // The files hold no key or certificate, or the host's name is none.
    queueMicrotask(() => done(undefined, 'EINVAL'));
    return undefined;
  }
  const failed = (e: NodeJS.ErrnoException) => {
    socket.destroy();
    done(undefined, e.code ?? e.message);
  };
  socket.once('error', failed);
  socket.once(secure ? 'secureConnect' : 'connect', () => {
    socket.removeListener('error', failed);
    done(socket, '');
  });
  return socket;
}

/** Listens; the promise is rejected when the address can't be had. */
export async function listenTarget(
  target: Target,
  tls: TlsConfig | undefined,
  accept: (socket: Socket) => void,
): Promise<Server> {
  // Never in the clear what was asked for encrypted.
  if (target.kind === 'ssl' && !tls) throw new Error('private key, certificate and CA certificate are not set');
  const server =
    target.kind === 'ssl' && tls
      ? createTlsServer({ ...tlsOptions(tls), requestCert: true }, accept)
      : createServer(accept);
  if (target.kind === 'unix') {
    removeSocket(target.path);
    await withSocketPath(target.path, (path) => listen(server, { path }));
    // For root and the group of the switch, as Open vSwitch's.
    chmodSync(target.path, 0o750);
  } else await listen(server, { port: target.port, ...(target.host ? { host: target.host } : {}) });
  // A connection that can't be accepted (no file descriptor left) is that peer's loss, not the switch's end.
  server.on('error', () => undefined);
  server.unref();
  return server;
}

function listen(server: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
}

/** A socket that a process left behind is in the way of its successor. */
function removeSocket(path: string): void {
  try {
    unlinkSync(path);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== 'ENOENT') throw e;
  }
}
