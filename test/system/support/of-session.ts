import assert from 'node:assert/strict';
import { createConnection, type Socket } from 'node:net';
import { decode, encode } from '../../../src/openflow/codec.ts';
import { parse } from '../../../src/openflow/flow-text.ts';
import type { FlowModCommand, Message } from '../../../src/openflow/messages.ts';
import { MessageStream } from '../../../src/openflow/stream.ts';

/** Liveness deadline for an answer. */
const DEADLINE_MS = 30_000;

/** An OpenFlow connection that sends what a test says, also what no OpenFlow client would. One request at a time. */
export class OfSession {
  readonly version: number;
  readonly socket: Socket;
  readonly #stream = new MessageStream();
  readonly #inbox: Uint8Array[] = [];
  #closed = false;
  #wake: () => void = () => {};
  #xid = 0x1000;

  private constructor(socket: Socket, version: number) {
    this.socket = socket;
    this.version = version;
    socket.on('data', (chunk: Buffer) => {
      this.#inbox.push(...this.#stream.push(Uint8Array.from(chunk)));
      this.#wake();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#closed = true;
      this.#wake();
    });
  }

  /** Connects to a unix socket and says nothing. */
  static async open(path: string, version: number): Promise<OfSession> {
    const socket = createConnection(path);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new OfSession(socket, version);
  }

  /** Connects and agrees on exactly `version` (1: OpenFlow 1.0 … 5: 1.4). */
  static async connect(path: string, version: number): Promise<OfSession> {
    const session = await OfSession.open(path, version);
    session.send({ type: 'hello', versions: 1 << version }, 1);
    const hello = await session.next();
    assert.equal(hello[1], 0, 'the switch says hello');
    return session;
  }

  send(message: Message, xid: number): void {
    for (const bytes of encode(message, this.version, xid)) this.socket.write(bytes);
  }

  /** The next whole message. Fails when the switch closes. */
  async next(): Promise<Uint8Array> {
    const deadline = performance.now() + DEADLINE_MS;
    while (this.#inbox.length === 0) {
      assert.ok(!this.#closed, 'the switch closed the connection');
      await this.#somethingHappens(deadline);
    }
    return this.#inbox.shift()!;
  }

  /** Resolves when the switch has closed the connection. */
  async ended(): Promise<void> {
    const deadline = performance.now() + DEADLINE_MS;
    while (!this.#closed) await this.#somethingHappens(deadline);
  }

  async #somethingHappens(deadline: number): Promise<void> {
    assert.ok(performance.now() < deadline, 'waited in vain for the switch');
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, 1000);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Sends a request and collects its replies up to the last. */
  async request(message: Message): Promise<Message[]> {
    const xid = ++this.#xid;
    this.send(message, xid);
    const replies: Message[] = [];
    for (;;) {
      const decoded = decode(await this.next());
      assert.ok(decoded.ok);
      if (decoded.value.message.type === 'echo_request') this.#echo(decoded.value);
      if (decoded.value.xid !== xid) continue;
      replies.push(decoded.value.message);
      if (!('more' in decoded.value.message && decoded.value.message.more)) return replies;
    }
  }

  #echo({ message, xid }: { message: Message; xid: number }): void {
    if (message.type === 'echo_request') this.send({ type: 'echo_reply', data: message.data }, xid);
  }

  /** Flow-mods in ovs-ofctl's words; resolves when the switch has carried them out. */
  async flows(command: FlowModCommand, ...texts: string[]): Promise<void> {
    for (const text of texts) this.send(parse(text, command), ++this.#xid);
    const [reply] = await this.request({ type: 'barrier_request' });
    assert.equal(reply?.type, 'barrier_reply');
  }

  close(): void {
    this.socket.destroy();
  }
}
