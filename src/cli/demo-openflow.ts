/** A small OpenFlow 1.0 client for a bridge's management socket: adds flows and reads port counters. */
import { createConnection, type Socket } from 'node:net';
import { ofpPort } from '../base/types.ts';
import { withSocketPath } from '../base/unix-path.ts';
import { decode, encode } from '../openflow/codec.ts';
import { catchallMatch } from '../openflow/match.ts';
import { type FlowMod, type Message, OFP_NO_BUFFER, type PortStats } from '../openflow/messages.ts';
import { MessageStream } from '../openflow/stream.ts';

const OFP10 = 1;
const OFPP_ANY = ofpPort(0xffffffff);
const OFPP_NONE = ofpPort(0xffffffff);
const PRIORITY = 0x8000;

interface Waiter {
  /** Takes a reply to the request; true when it was the last one. */
  take(message: Message): boolean;
  reject(error: Error): void;
}

/** The flow that sends everything from one port to another. */
function outputFlow(from: number, to: number): FlowMod {
  const match = catchallMatch();
  match.flow.inPort = from;
  match.wc.inPort = 0xffffffff;
  return {
    type: 'flow_mod',
    match,
    priority: PRIORITY,
    cookie: 0n,
    cookieMask: 0n,
    newCookie: 0n,
    modifyCookie: false,
    tableId: 255,
    command: 'add',
    idleTimeout: 0,
    hardTimeout: 0,
    bufferId: OFP_NO_BUFFER,
    outPort: OFPP_ANY,
    outGroup: 0xffffffff,
    flags: 0,
    importance: 0,
    actions: [{ type: 'output', port: ofpPort(to), maxLen: 0 }],
  };
}

export class OpenflowClient {
  readonly #socket: Socket;
  readonly #stream = new MessageStream();
  readonly #waiters = new Map<number, Waiter>();
  #xid = 1;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      for (const message of this.#stream.push(new Uint8Array(chunk))) this.#receive(message);
    });
    socket.on('close', () => this.#fail(new Error('OpenFlow: the switch closed the connection')));
    socket.on('error', (e) => this.#fail(e));
  }

  /** Connects to the socket at `path` and says hello. */
  static async connect(path: string): Promise<OpenflowClient> {
    const socket = await withSocketPath(
      path,
      (name) =>
        new Promise<Socket>((resolve, reject) => {
          const s = createConnection(name, () => resolve(s));
          s.once('error', reject);
        }),
    );
    const client = new OpenflowClient(socket);
    client.#send({ type: 'hello', versions: 1 << OFP10 }, 0);
    return client;
  }

  #send(message: Message, xid: number): void {
    for (const bytes of encode(message, OFP10, xid)) this.#socket.write(bytes);
  }

  #fail(error: Error): void {
    for (const waiter of this.#waiters.values()) waiter.reject(error);
    this.#waiters.clear();
  }

  #receive(bytes: Uint8Array): void {
    const decoded = decode(bytes);
    if (!decoded.ok) return;
    const { message, xid } = decoded.value;
    if (message.type === 'echo_request') this.#send({ type: 'echo_reply', data: message.data }, xid);
    const waiter = this.#waiters.get(xid);
    if (message.type === 'error') {
      const error = new Error(`OpenFlow: the switch refused a request: ${JSON.stringify(message.error)}`);
      if (waiter) waiter.reject(error);
      else this.#fail(error);
      return;
    }
    if (waiter?.take(message)) this.#waiters.delete(xid);
  }

  /** Sends a request; `collect` sees each reply and returns true at the last. */
  #request(message: Message, collect: (reply: Message) => boolean): Promise<void> {
    const xid = ++this.#xid;
    return new Promise((resolve, reject) => {
      const take = (reply: Message) => {
        const last = collect(reply);
        if (last) resolve();
        return last;
      };
      this.#waiters.set(xid, { take, reject });
      this.#send(message, xid);
    });
  }

  /** Adds `in_port=from,actions=output:to` for each pair, and waits until the switch has them. */
  async addFlows(pairs: readonly (readonly [number, number])[]): Promise<void> {
    for (const [from, to] of pairs) this.#send(outputFlow(from, to), ++this.#xid);
    await this.#request({ type: 'barrier_request' }, (reply) => reply.type === 'barrier_reply');
  }

  /** Counters of all ports, by OpenFlow port number. */
  async portStats(): Promise<Map<number, PortStats>> {
    const ports = new Map<number, PortStats>();
    await this.#request({ type: 'port_stats_request', portNo: OFPP_NONE }, (reply) => {
      if (reply.type !== 'port_stats_reply') return false;
      for (const port of reply.ports) ports.set(port.portNo, port);
      return !reply.more;
    });
    return ports;
  }

  close(): void {
    this.#socket.removeAllListeners('close');
    this.#socket.destroy();
  }
}
