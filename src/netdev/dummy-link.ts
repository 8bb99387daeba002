import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { absFileName, ovsRundir } from '../base/dirs.ts';

/** What a dummy device can be plugged into: a capture file, or another dummy over a socket, also that of the real Open vSwitch. */

const PCAP_MAGIC = 0xa1b2c3d4;
const LINKTYPE_ETHERNET = 1;
const SNAPLEN = 65535;

/** Appends frames to a pcap file (microseconds, host byte order), each written through at once. */
export class PcapWriter {
  readonly #fd: number;
  readonly #wallMs: () => number;

  /** Goes on behind what the file has. Throws a system error. */
  constructor(path: string, wallMs: () => number = Date.now) {
    this.#fd = openSync(path, 'a', 0o644);
    this.#wallMs = wallMs;
    if (fstatSync(this.#fd).size > 0) return;
    const header = Buffer.alloc(24);
    header.writeUInt32LE(PCAP_MAGIC, 0);
    header.writeUInt16LE(2, 4);
    header.writeUInt16LE(4, 6);
    header.writeUInt32LE(SNAPLEN, 16);
    header.writeUInt32LE(LINKTYPE_ETHERNET, 20);
    writeSync(this.#fd, header);
  }

  write(frame: Uint8Array): void {
    const now = this.#wallMs();
    const header = Buffer.alloc(16);
    header.writeUInt32LE(Math.trunc(now / 1000), 0);
    header.writeUInt32LE((now % 1000) * 1000, 4);
    header.writeUInt32LE(frame.length, 8);
    header.writeUInt32LE(frame.length, 12);
    writeSync(this.#fd, Buffer.concat([header, frame]));
  }

  close(): void {
    closeSync(this.#fd);
  }
}

const RECONNECT_MS = 20;

export type ConnState = 'connected' | 'disconnected' | 'unknown';

/** Frames over a unix stream socket, each behind its length in two bytes, big-endian (Open vSwitch's netdev-dummy). */
export class StreamLink {
  readonly #onFrame: (frame: Uint8Array) => void;
  readonly #peers = new Set<Socket>();
  readonly #path: string;
  #server: Server | undefined;
  #closed = false;

  /** `passive` listens at the path, otherwise it connects, again and again. A relative path is below OVS_RUNDIR. */
  constructor(path: string, passive: boolean, onFrame: (frame: Uint8Array) => void) {
    this.#onFrame = onFrame;
    this.#path = absFileName(ovsRundir(), path);
    if (!passive) {
      this.#connect();
      return;
    }
    this.#server = createServer((socket) => this.#serve(socket));
    this.#server.on('error', () => {});
    this.#server.listen(this.#path);
    this.#server.unref();
  }

  get state(): ConnState {
    if (this.#server) return 'unknown';
    return [...this.#peers].some((peer) => !peer.connecting) ? 'connected' : 'disconnected';
  }

  #connect(): void {
    if (this.#closed) return;
    const socket = createConnection(this.#path);
    // At once: what is sent before the other end has taken the call waits in the socket.
    this.#serve(socket);
    socket.on('close', () => setTimeout(() => this.#connect(), RECONNECT_MS).unref());
  }

  #serve(socket: Socket): void {
    let pending = Buffer.alloc(0);
    this.#peers.add(socket);
    socket.unref();
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#peers.delete(socket));
    socket.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
        const end = 2 + pending.readUInt16BE(0);
        if (end >= 2 + 14) this.#onFrame(Uint8Array.from(pending.subarray(2, end)));
        pending = pending.subarray(end);
      }
    });
  }

  /** To every peer; what a peer does not take at once is kept by its socket, up to a bound. */
  send(frame: Uint8Array): void {
    const size = Buffer.alloc(2);
    size.writeUInt16BE(frame.length, 0);
    const bytes = Buffer.concat([size, frame]);
    for (const peer of this.#peers) if (peer.writableLength < 1 << 20) peer.write(bytes);
  }

  close(): void {
    this.#closed = true;
    this.#server?.close();
    for (const peer of this.#peers) peer.destroy();
  }
}
