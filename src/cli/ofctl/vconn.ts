import { existsSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { ovsRundir } from '../../base/dirs.ts';
import { strerror } from '../../base/errno.ts';
import { withSocketPath } from '../../base/unix-path.ts';
import { VlogRateLimit, vlogModule } from '../../base/vlog.ts';
import { decode, encode } from '../../openflow/codec.ts';
import { readHeader } from '../../openflow/print/header.ts';
import { ofpToString } from '../../openflow/print/ofp-print.ts';
import { versionsOfBitmap } from '../../openflow/protocol.ts';
import { MessageStream } from '../../openflow/stream.ts';
import { Fatal, fatalErrno } from './fatal.ts';
import { nextXid, xidOf } from './xid.ts';

/** The client's end of an OpenFlow connection: hello, requests and their replies. */

const log = vlogModule('vconn');
const ofmsgRl = new VlogRateLimit(600, 600);
const badMsgRl = new VlogRateLimit(60, 60);

export interface VconnTls {
  privateKey?: string;
  certificate?: string;
  caCert?: string;
}

export interface VconnOptions {
  /** Bit n: wire version n is allowed. */
  versions: number;
  tls: VconnTls;
  /** Of a snoop connection, which carries what others negotiated. */
  anyVersion?: boolean;
}

function bitmapText(bitmap: number): string {
  const all = versionsOfBitmap(bitmap).map((v) => `0x${v.toString(16).padStart(2, '0')}`);
  if (all.length === 0) return 'no versions';
  if (all.length === 1) return `version ${all[0]}`;
  const upTo = ((bitmap >>> 1) & ((bitmap >>> 1) + 1)) === 0;
  return upTo ? `version ${all[all.length - 1]} and earlier` : `versions ${all.join(', ')}`;
}

export class Vconn {
  readonly name: string;
  readonly options: VconnOptions;
  version = 0;
  readonly #socket: Socket;
  readonly #stream = new MessageStream();
  readonly #queue: Uint8Array[] = [];
  /** Why no more will come: an errno's name, or EOF. */
  #ended: string | undefined;
  #wake: (() => void) | undefined;

  private constructor(name: string, socket: Socket, options: VconnOptions) {
    this.name = name;
    this.options = options;
    this.#socket = socket;
    socket.on('data', (chunk: Uint8Array) => this.#data(chunk));
    socket.on('error', (e: NodeJS.ErrnoException) => this.#end(e.code ?? 'EIO'));
    socket.on('close', () => this.#end('EOF'));
    socket.on('end', () => this.#end('EOF'));
  }

  /** Connects and exchanges hellos. Rejects with the errno's name as `code`. */
  static async open(name: string, options: VconnOptions): Promise<Vconn> {
    const vconn = new Vconn(name, await connectTo(name, options.tls), options);
    await vconn.#hello();
    return vconn;
  }

  #data(chunk: Uint8Array): void {
    // The queue keeps messages longer than the socket keeps its buffer.
    for (const msg of this.#stream.push(chunk)) this.#queue.push(msg.slice());
    if (this.#stream.broken) this.#end('EPROTO');
    this.#wake?.();
  }

  #end(why: string): void {
    this.#ended ??= why;
    this.#wake?.();
  }

  async #hello(): Promise<void> {
    const { versions } = this.options;
    const highest = 31 - Math.clz32(versions);
    this.send(encode({ type: 'hello', versions }, highest, nextXid())[0]);
    const msg = await this.#next();
    if (msg === undefined) throw connectError(this.#ended === 'EOF' ? 'ECONNRESET' : this.#ended!);
    const result = decode(msg);
    if (!result.ok || result.value.message.type !== 'hello') {
      log.warnRl(badMsgRl, () => `${this.name}: received message while expecting hello: ${ofpToString(msg, 1)}`);
      throw connectError('EPROTO');
    }
    this.#negotiate(result.value.message.versions);
  }

  #negotiate(peer: number): void {
    const { versions } = this.options;
    const [ours, theirs] = [bitmapText(versions), bitmapText(peer)];
    const common = versions & peer;
    if (common) {
      this.version = 31 - Math.clz32(common);
      const chosen = `0x${this.version.toString(16).padStart(2, '0')}`;
      log.dbg(
        () => `${this.name}: negotiated OpenFlow version ${chosen} (we support ${ours}, peer supports ${theirs})`,
      );
      return;
    }
    log.warn(`${this.name}: version negotiation failed (we support ${ours}, peer supports ${theirs})`);
    const text = `We support ${ours}, you support ${theirs}, no common versions.`;
    const version = Math.min(6, Math.max(1, 31 - Math.clz32(peer)));
    this.send(
      encode({ type: 'error', error: { name: 'OFPHFC_INCOMPATIBLE' }, data: Buffer.from(text) }, version, 0)[0],
    );
    this.#socket.end();
    throw connectError('EPROTO');
  }

  /** Messages that have come and were not taken. */
  get pending(): number {
    return this.#queue.length;
  }

  /** The next message, undefined at the end of the connection. */
  async #next(): Promise<Uint8Array | undefined> {
    while (this.#queue.length === 0 && this.#ended === undefined) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
    this.#wake = undefined;
    const msg = this.#queue.shift();
    if (msg) log.dbgRl(ofmsgRl, () => `${this.name}: received: ${ofpToString(msg, 1)}`);
    return msg;
  }

  send(msg: Uint8Array): void {
    log.dbgRl(ofmsgRl, () => `${this.name}: sent (Success): ${ofpToString(msg, 1)}`);
    if (this.#ended === undefined) this.#socket.write(msg);
  }

  /** Resolves when what was sent has left, so that a long series does not pile up. */
  async drained(): Promise<void> {
    if (this.#socket.writableNeedDrain && this.#ended === undefined) {
      await new Promise<void>((resolve) => {
        this.#socket.once('drain', resolve);
        this.#socket.once('close', resolve);
      });
    }
  }

  /** The next message of the version that was negotiated (hello, error and echo may have others). Rejects with a code. */
  async recv(): Promise<Uint8Array> {
    for (;;) {
      const msg = await this.#next();
      if (msg === undefined) throw connectError(this.#ended!);
      if (this.options.anyVersion || msg[0] === this.version || msg[1] <= 3) return msg;
      const got = msg[0].toString(16).padStart(2, '0');
      const want = this.version.toString(16).padStart(2, '0');
      log.errRl(badMsgRl, `${this.name}: received OpenFlow version 0x${got} != expected ${want}`);
    }
  }

  /** The message with this transaction id; errors of other transactions go to `errors`, everything else is skipped. */
  async recvXid(xid: number, errors?: Uint8Array[]): Promise<Uint8Array> {
    for (;;) {
      const msg = await this.recv();
      const got = xidOf(msg);
      if (got === xid) return msg;
      if (errors && readHeader(msg)?.type === 'error') errors.push(msg);
      else this.#unexpected(got, xid);
    }
  }

  #unexpected(got: number, expected: number): void {
    const text = (xid: number) => xid.toString(16).padStart(8, '0');
    log.dbgRl(badMsgRl, () => `${this.name}: received reply with xid ${text(got)} != expected ${text(expected)}`);
  }

  /** Sends a request and waits for its reply. */
  async transact(request: Uint8Array): Promise<Uint8Array> {
    try {
      this.send(request);
      return await this.recvXid(xidOf(request));
    } catch (e) {
      throw this.talkingError(e);
    }
  }

  /** Sends a request that has a reply only when it fails, and waits until it is done. Returns the reply if there was one. */
  async transactNoreply(request: Uint8Array): Promise<Uint8Array | undefined> {
    const barrier = encode({ type: 'barrier_request' }, this.version, nextXid())[0];
    try {
      this.send(request);
      this.send(barrier);
      let reply: Uint8Array | undefined;
      for (;;) {
        const msg = await this.recv();
        const xid = xidOf(msg);
        if (xid === xidOf(barrier)) return reply;
        if (xid === xidOf(request)) {
          if (reply) log.warn(`${this.name}: duplicate replies with xid ${xid.toString(16).padStart(8, '0')}`);
          else reply = msg;
        } else this.#unexpected(xid, xidOf(request));
      }
    } catch (e) {
      throw this.talkingError(e);
    }
  }

  /** `talking to NAME (…)` for a broken connection; other errors as they are. */
  talkingError(e: unknown): unknown {
    return e instanceof VconnError ? fatalErrno(e.code, `talking to ${this.name}`) : e;
  }

  close(): void {
    this.#socket.destroySoon();
  }
}

/** The connection is no more; `code` as errno's, or EOF. */
export class VconnError extends Error {
  readonly code: string;
  constructor(code: string) {
    super(code);
    this.code = code;
  }
}
const connectError = (code: string): VconnError => new VconnError(code);

async function connectTo(name: string, tls: VconnTls): Promise<Socket> {
  const unix = /^unix:(.*)$/s.exec(name);
  if (unix) return connectUnix(unix[1]);
  const { connectTarget, parseTarget } = await import('../../ofproto/vconn.ts');
  const target = parseTarget(name);
  if (!target || target.passive) throw connectError('EAFNOSUPPORT');
  const config = target.kind === 'ssl' ? await readTls(tls) : undefined;
  return new Promise((resolve, reject) => {
    connectTarget(target, config, (socket, error) => (socket ? resolve(socket) : reject(connectError(error))));
  });
}

/** Connects before it returns control to anything that could change the current folder. */
function connectUnix(path: string): Promise<Socket> {
  const one = (name: string) =>
    new Promise<Socket>((resolve, reject) => {
      const socket = connect({ path: name });
      const failed = (e: NodeJS.ErrnoException) => reject(connectError(e.code ?? 'EIO'));
      socket.once('error', failed);
      socket.once('connect', () => {
        socket.removeListener('error', failed);
        resolve(socket);
      });
    });
  return withSocketPath(path, one) as Promise<Socket>;
}

async function readTls(tls: VconnTls) {
  const { readFileSync } = await import('node:fs');
  const { privateKey, certificate, caCert } = tls;
  if (!privateKey || !certificate || !caCert)
    throw new Fatal('Private key, certificate and CA certificate are required');
  return {
    privateKey: readFileSync(privateKey, 'utf8'),
    certificate: readFileSync(certificate, 'utf8'),
    caCert: readFileSync(caCert, 'utf8'),
  };
}

/** Opens a connection method, a socket's path or a bridge's name. Throws Fatal in ovs-ofctl's words. */
export async function openVconn(name: string, suffix: 'mgmt' | 'snoop', options: VconnOptions): Promise<Vconn> {
  try {
    if (name.includes(':')) return await Vconn.open(name, options);
  } catch (e) {
    throw connectingError(e, name);
  }
  const bridge = name.replace(/^[^@]*@/, '');
  const paths = [name, `${ovsRundir()}/${name}.${suffix}`, `${ovsRundir()}/${bridge}.${suffix}`];
  const path = paths.find((p) => existsSync(p));
  if (path === undefined) throw new Fatal(`${name} is not a bridge or a socket`);
  try {
    return await Vconn.open(`unix:${path}`, options);
  } catch (e) {
    if (!(e instanceof VconnError)) throw e;
    // Until there is a connection it is the socket that can't be opened.
    const handshake = e.code === 'EPROTO' || e.code === 'ECONNRESET';
    if (handshake) throw new Fatal(`${name}: failed to connect to socket (${strerror({ code: e.code })})`);
    throw new Fatal(`${path}: failed to open socket (${strerror({ code: e.code })})`);
  }
}

function connectingError(e: unknown, name: string): unknown {
  if (!(e instanceof VconnError)) return e;
  // On this machine it is known at once, elsewhere only when the answer comes.
  const atOnce = /^(unix:|\w+:(127\.|localhost|\[?::1))/.test(name) && e.code === 'ECONNREFUSED';
  if (atOnce || e.code === 'EAFNOSUPPORT' || e.code === 'ENOENT') return fatalErrno(e.code, `connecting to ${name}`);
  return new Fatal(`${name}: failed to connect to socket (${strerror({ code: e.code })})`);
}
