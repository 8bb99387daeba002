import { openSync, writeSync } from 'node:fs';
import { strerror } from '../../base/errno.ts';
import { UnixctlError, UnixctlServer } from '../../base/unixctl.ts';
import { vlog, vlogModule } from '../../base/vlog.ts';
import { decode, encode } from '../../openflow/codec.ts';
import { FlowTextError } from '../../openflow/field-text.ts';
import { parseFlowMonitor } from '../../openflow/flow-monitor-text.ts';
import type { Message, PacketIn, PacketInFormat } from '../../openflow/messages.ts';
import { parsePacketOut } from '../../openflow/packet-out-text.ts';
import type { PortNames } from '../../openflow/port.ts';
import { ofpToString } from '../../openflow/print/ofp-print.ts';
import { protocolOfVersion, protocolsToString, versionBitmapNames } from '../../openflow/protocol.ts';
import { dumpTransaction, encodeRequest, openSwitch, parsing, transactNoreply, typeOf } from './client.ts';
import { type OfctlCommand, type OfctlContext, out } from './context.ts';
import { Fatal, fatalErrno } from './fatal.ts';
import { bytesFromHex } from './input.ts';
import { namesToAccept, namesToShow } from './names.ts';
import { fetchSwitchConfig, setSwitchConfig } from './switch-config.ts';
import { timeText } from './time-text.ts';
import { type Vconn, VconnError } from './vconn.ts';
import { nextXid, xidOf } from './xid.ts';

/** `monitor` and `snoop`: print everything that a switch sends, until told to stop. */

const log = vlogModule('ofctl');
const OFP10_VERSION = 1;
/** OpenFlow 1.0–1.2: those that can send packets with an invalid TTL to the controller (1.0 by an extension). */
const TTL_VERSIONS = 0b1110;

async function setPacketInFormat(
  c: OfctlContext,
  vconn: Vconn,
  format: PacketInFormat,
  must: boolean,
): Promise<boolean> {
  const request = encodeRequest(vconn, { type: 'set_packet_in_format', format });
  if (must) {
    await transactNoreply(c, vconn, request);
    return true;
  }
  const reply = await vconn.transactNoreply(request);
  if (!reply) return true;
  log.dbg(
    () =>
      `${vconn.name}: failed to set packet in format to nx_packet_in, controller replied: ${ofpToString(reply, 2)}.`,
  );
  return false;
}

async function choosePacketInFormat(c: OfctlContext, vconn: Vconn): Promise<void> {
  const wanted = c.options.packetInFormat;
  if (wanted) await setPacketInFormat(c, vconn, wanted, true);
  else if (!(await setPacketInFormat(c, vconn, 'nxt_packet_in2', false)) && vconn.version === OFP10_VERSION)
    await setPacketInFormat(c, vconn, 'nxt_packet_in', false);
}

async function setInvalidTtl(c: OfctlContext, vconn: Vconn): Promise<void> {
  const config = await fetchSwitchConfig(vconn);
  if (config.invalidTtlToController) return;
  await setSwitchConfig(c, vconn, { ...config, invalidTtlToController: true });
  if ((await fetchSwitchConfig(vconn)).invalidTtlToController) return;
  throw new Fatal("setting invalid_ttl_to_controller failed (this switch probably doesn't support this flag)");
}

async function setMissSendLen(c: OfctlContext, vconn: Vconn, missSendLen: number): Promise<void> {
  await setSwitchConfig(c, vconn, { ...(await fetchSwitchConfig(vconn)), missSendLen });
}

let monitors = 0;

async function watch(c: OfctlContext, vconn: Vconn, text: string): Promise<void> {
  const names = await namesToAccept(c, c.args[0]);
  const { monitor, protocols: usable } = parsing(() => parseFlowMonitor(text, monitors++, names));
  const { protocols } = c.options;
  if (!(usable & protocols)) {
    throw new Fatal(
      `none of the usable flow formats (${protocolsToString(usable)}) is among the allowed flow formats (${protocolsToString(protocols)})`,
    );
  }
  const request = encodeRequest(vconn, { type: 'flow_monitor_stats_request', monitors: [monitor] });
  if (c.options.verbosity) out(ofpToString(request, c.options.verbosity + 2));
  await dumpTransaction(c, vconn, request);
}

const monitor: OfctlCommand = async (c) => {
  // With --detach this process waits for the one that does the work.
  await c.daemon.detach();
  const [target, ...args] = c.args;
  if (args.includes('invalid_ttl')) {
    if (!(c.options.versions & TTL_VERSIONS)) {
      throw new Fatal(
        `invalid_ttl requires one of the OpenFlow versions ${versionBitmapNames(TTL_VERSIONS)} but none is enabled (use -O)`,
      );
    }
    c.options.versions &= TTL_VERSIONS;
  }
  const vconn = await openSwitch(c, target);
  for (const arg of args) {
    if (/^[0-9]/.test(arg)) await setMissSendLen(c, vconn, Number.parseInt(arg, 10) & 0xffff);
    else if (arg === 'invalid_ttl') await setInvalidTtl(c, vconn);
    else if (arg.startsWith('watch:')) await watch(c, vconn, arg.slice('watch:'.length));
    else if (arg === 'resume') await setMissSendLen(c, vconn, 0xffff);
    else throw new Fatal(`${arg}: unsupported "monitor" argument`);
  }
  await choosePacketInFormat(c, vconn);
  await new Monitor(c, vconn, { echo: true, resume: args.includes('resume') }).run();
};

const snoop: OfctlCommand = async (c) => {
  await c.daemon.detach();
  // Nobody answers on a snoop connection: there are no names to be had.
  c.options.names = false;
  const vconn = await openSwitch(c, c.args[0], 'snoop');
  await new Monitor(c, vconn, { echo: false, resume: false }).run();
};

interface MonitorTasks {
  /** Answer echo requests. */
  echo: boolean;
  /** Send packets back that the switch has paused. */
  resume: boolean;
}

class Monitor {
  readonly #c: OfctlContext;
  readonly #vconn: Vconn;
  readonly #tasks: MonitorTasks;
  readonly #verbosity: number;
  #names: PortNames | undefined;
  /** Where the messages go: stderr, also when it is closed for everything else. */
  #fd = 2;
  #exiting = Promise.withResolvers<void>();
  #barrier: { resolve(): void } | undefined;
  #blocked = false;
  #unblock: (() => void) | undefined;

  constructor(c: OfctlContext, vconn: Vconn, tasks: MonitorTasks) {
    this.#c = c;
    this.#vconn = vconn;
    this.#tasks = tasks;
    this.#verbosity = c.options.verbosity + 2;
  }

  /** Resolves when `exit` was called. */
  async run(): Promise<void> {
    const { daemon, options } = this.#c;
    this.#names = await namesToShow(this.#c, this.#vconn.name);
    if (daemon.detaching) this.#fd = openSync('/proc/self/fd/2', 'a');
    daemon.start();
    const unixctl = new UnixctlServer(vlogModule('unixctl'));
    await unixctl.listen(options.unixctl).catch((e: Error) => {
      throw new Fatal(`failed to create unixctl server: ${e.message}`);
    });
    this.#register(unixctl);
    daemon.onTerminate(() => unixctl.close());
    daemon.complete();
    const receiving = this.#receive();
    await Promise.race([this.#exiting.promise, receiving]);
    // The reply to `exit` goes out first.
    await new Promise((resolve) => setTimeout(resolve, 10));
    this.#vconn.close();
    unixctl.close();
  }

  #write(text: string): void {
    const bytes = Buffer.from(text, 'latin1');
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
  }

  #print(msg: Uint8Array, verbosity = this.#verbosity): void {
    this.#write(ofpToString(msg, verbosity, this.#names));
  }

  async #receive(): Promise<void> {
    for (;;) {
      while (this.#blocked) {
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#unblock = resolve;
        await promise;
      }
      let msg: Uint8Array;
      try {
        msg = await this.#vconn.recv();
      } catch (e) {
        throw e instanceof VconnError ? fatalErrno(e.code, 'vconn_recv') : e;
      }
      // What came while it was being blocked waits too.
      while (this.#blocked) await new Promise((resolve) => setTimeout(resolve, 5));
      this.#take(msg);
    }
  }

  #take(msg: Uint8Array): void {
    if (this.#c.options.timestamp) this.#write(`${timeText('%Y-%m-%d %H:%M:%S.###', Date.now())}: `);
    this.#print(msg);
    const type = typeOf(msg);
    if (type === 'barrier_reply') {
      this.#barrier?.resolve();
      this.#barrier = undefined;
    } else if (type === 'echo_request' && this.#tasks.echo) {
      const data = msg.slice(8);
      this.#vconn.send(encode({ type: 'echo_reply', data }, msg[0], xidOf(msg))[0]);
    } else if (type === 'packet_in' && this.#tasks.resume) this.#resume(msg);
  }

  #resume(msg: Uint8Array): void {
    const result = decode(msg);
    if (!result.ok) {
      this.#write(`decoding packet-in failed: ${result.error.name}`);
      return;
    }
    const packetIn = result.value.message as PacketIn;
    if (!packetIn.continuation) return;
    const { format: _format, maxLen: _maxLen, ...rest } = packetIn;
    const reply = encode({ ...rest, type: 'nxt_resume' } as Message, this.#vconn.version, nextXid())[0];
    this.#write('send: ');
    this.#print(reply);
    this.#vconn.send(reply);
  }

  #register(unixctl: UnixctlServer): void {
    vlog.registerCommands(unixctl);
    unixctl.register('exit', '', 0, 0, () => {
      this.#exiting.resolve();
      return '';
    });
    unixctl.register('ofctl/send', 'OFMSG...', 1, Number.MAX_SAFE_INTEGER, (args) => this.#send(args));
    const usage = '"in_port=<port> packet=<hex data> actions=..."';
    unixctl.register('ofctl/packet-out', usage, 1, 1, ([text]) => this.#packetOut(text));
    unixctl.register('ofctl/barrier', '', 0, 0, () => this.#waitForBarrier());
    unixctl.register('ofctl/set-output-file', 'FILE', 1, 1, ([name]) => this.#setOutput(name));
    unixctl.register('ofctl/block', '', 0, 0, () => this.#setBlocked(true));
    unixctl.register('ofctl/unblock', '', 0, 0, () => this.#setBlocked(false));
  }

  #send(args: readonly string[]): string {
    let ok = true;
    const lines = args.map((text) => {
      const msg = bytesFromHex(text);
      const problem = messageProblem(msg);
      if (problem !== undefined) {
        ok = false;
        return `${problem}\n`;
      }
      this.#write('send: ');
      this.#print(msg!, this.#c.options.verbosity);
      this.#vconn.send(msg!);
      return 'sent\n';
    });
    if (!ok) throw new UnixctlError(lines.join(''));
    return lines.join('');
  }

  async #packetOut(text: string): Promise<string> {
    const names = await namesToAccept(this.#c, this.#vconn.name);
    try {
      const { packetOut, protocols: usable } = parsePacketOut(text, names);
      const protocol = protocolOfVersion(this.#vconn.version);
      if (!(usable & protocol))
        throw new UnixctlError('PACKET_OUT actions are incompatible with the OpenFlow connection.\n');
      const msg = encodeRequest(this.#vconn, packetOut, protocol);
      this.#print(msg, this.#c.options.verbosity);
      this.#vconn.send(msg);
      return '';
    } catch (e) {
      if (e instanceof FlowTextError) throw new UnixctlError(`${e.message}\n`);
      throw e;
    }
  }

  async #waitForBarrier(): Promise<string> {
    if (this.#barrier) throw new UnixctlError('already waiting for barrier reply');
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#barrier = { resolve };
    this.#vconn.send(encodeRequest(this.#vconn, { type: 'barrier_request' }));
    await promise;
    return '';
  }

  #setOutput(name: string): string {
    try {
      this.#fd = openSync(name, 'w', 0o666);
    } catch (e) {
      throw new UnixctlError(strerror(e));
    }
    return '';
  }

  #setBlocked(blocked: boolean): string {
    if (this.#blocked === blocked) return blocked ? 'already blocking' : 'already unblocked';
    this.#blocked = blocked;
    if (!blocked) this.#unblock?.();
    return '';
  }
}

/** What is wrong with the bytes as an OpenFlow message. */
function messageProblem(msg: Uint8Array | undefined): string | undefined {
  if (!msg) return 'Trailing garbage in hex data';
  if (msg.length < 8) return 'Message too short for OpenFlow';
  const length = (msg[2] << 8) | msg[3];
  return length === msg.length ? undefined : 'Message size does not match length in OpenFlow header';
}

export const COMMANDS = { monitor, snoop };
