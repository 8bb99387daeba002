import { parseIpv4, parseIpv6 } from '../base/address.ts';
import { UnixctlError, type UnixctlRegistry } from '../base/unixctl.ts';
import { OdpParseError, parseOdpFlow } from '../dpif/odp-parse.ts';
import { findHeaders } from '../dpif/packet-headers.ts';
import { composePacket } from '../flow/compose.ts';
import type { DummyNetdev } from '../netdev/dummy.ts';

/** `netdev-dummy/…` of ovs-appctl: what tests do to devices without a wire. */

type Dummies = ReadonlyMap<string, DummyNetdev>;

/** ETH_TOTAL_MIN: the shortest frame that Ethernet allows. */
const FRAME_MIN = 60;

function find(dummies: Dummies, name: string, otherwise: string): DummyNetdev {
  const netdev = dummies.get(name);
  if (!netdev) throw new UnixctlError(otherwise);
  return netdev;
}

export function registerDummyCommands(unixctl: UnixctlRegistry, dummies: Dummies): void {
  const usage = 'name [--qid queue_id] packet|flow [--len packet_len]';
  unixctl.register('netdev-dummy/receive', usage, 2, Infinity, (args) => receive(dummies, args));
  unixctl.register('netdev-dummy/set-admin-state', '[netdev] up|down', 1, 2, (args) => {
    const state = args.at(-1)!.toLowerCase();
    if (state !== 'up' && state !== 'down') throw new UnixctlError('Invalid Admin State');
    const netdevs = args.length > 1 ? [find(dummies, args[0]!, 'Unknown Dummy Interface')] : [...dummies.values()];
    for (const netdev of netdevs) netdev.setAdminUp(state === 'up');
    return 'OK';
  });
  unixctl.register('netdev-dummy/conn-state', '[netdev]', 0, 1, ([name]) => {
    if (name !== undefined) return `${name}: ${dummies.get(name)?.connState() ?? 'unknown'}\n`;
    const known = [...dummies.values()].filter((netdev) => netdev.connState() !== 'unknown');
    return known.map((netdev) => `${netdev.name}: ${netdev.connState()}\n`).join('');
  });
  unixctl.register('netdev-dummy/ip4addr', '[netdev] ipaddr/mask-prefix-len', 2, 2, ([name, text]) => {
    const netdev = find(dummies, name!, 'Unknown Dummy Interface');
    const { address, prefix } = parseCidr4(text!);
    netdev.setAddress(address, prefix);
    return 'OK';
  });
  unixctl.register('netdev-dummy/ip6addr', '[netdev] ip6addr', 2, 2, ([name, text]) => {
    const netdev = find(dummies, name!, 'Unknown Dummy Interface');
    const { address, prefix } = parseCidr6(text!);
    netdev.setAddress(address, prefix);
    return 'OK';
  });
}

function parseCidr4(text: string): { address: Uint8Array; prefix: number } {
  const [ip = '', bits = '32'] = text.split('/');
  const address = parseIpv4(ip);
  const mask = parseIpv4(bits);
  const prefix = mask === undefined ? Number(bits) : 32 - Math.log2((~mask >>> 0) + 1);
  if (address === undefined) throw new UnixctlError(`${text}: invalid IP address`);
  if (!Number.isInteger(prefix) || prefix < 0 || prefix > 32)
    throw new UnixctlError(`${text}: IP network prefix bits not between 0 and 32, inclusive`);
  return { address: Uint8Array.of(address >>> 24, address >>> 16, address >>> 8, address), prefix };
}

function parseCidr6(text: string): { address: Uint8Array; prefix: number } {
  const [ip = '', bits = '128'] = text.split('/');
  const address = parseIpv6(ip);
  const prefix = Number(bits);
  if (address === undefined) throw new UnixctlError(`${text}: invalid IPv6 address`);
  if (!Number.isInteger(prefix) || prefix < 0 || prefix > 128)
    throw new UnixctlError(`${text}: IPv6 network prefix bits not between 0 and 128, inclusive`);
  return { address, prefix };
}

/** Each packet goes in when it has been read: those before a bad one have been received. */
function receive(dummies: Dummies, args: readonly string[]): string {
  const netdev = find(dummies, args[0]!, 'no such dummy netdev');
  const words = args.slice(1);
  let queue = 0;
  if (words.length > 1 && words[0] === '--qid') {
    queue = Number.parseInt(words[1]!, 10);
    if (!(queue >= 0 && queue < netdev.queues().rx)) throw new UnixctlError('bad rx queue id.');
    words.splice(0, 2);
  }
  while (words.length > 0) netdev.receive(nextPacket(words), queue);
  return '';
}

/** Takes a packet in hexadecimal digits, or a flow with an optional `--len N` behind it. */
function nextPacket(words: string[]): Uint8Array {
  const word = words.shift()!;
  const digits = word.replace(/\s/g, '');
  if (/^([0-9a-f]{2}){14,}$/i.test(digits)) return Buffer.from(digits, 'hex');
  let size: number | undefined;
  if (words[0] === '--len') {
    size = Number.parseInt(words[1] ?? '', 10);
    if (!(size >= FRAME_MIN)) throw new UnixctlError('too small packet len');
    words.splice(0, 2);
  }
  try {
    return packetOfFlow(word, size);
  } catch (e) {
    if (e instanceof OdpParseError) throw new UnixctlError(e.message);
    throw e;
  }
}

/** A frame with the headers of a datapath flow: with 64 bytes of payload, or as many as make it `size` bytes long. */
function packetOfFlow(text: string, size: number | undefined): Uint8Array {
  const { flow } = parseOdpFlow(text);
  if (size === undefined) return composePacket(flow);
  const headers = composePacket(flow, []).length;
  if (headers > size) throw new UnixctlError('the headers are longer than the packet');
  const frame = composePacket(flow, new Array<number>(size - headers).fill(0));
  return frame.length < size ? padFrame(frame, size) : frame;
}

/** Zeros behind a frame whose headers have no payload of their own; its network header counts them. */
function padFrame(frame: Uint8Array, size: number): Uint8Array {
  const out = Buffer.alloc(size);
  out.set(frame);
  const { l3, l3Type } = findHeaders(frame);
  if (l3 < 0) {
    if (l3Type < 0x600) out.writeUInt16BE(size, 12);
    return out;
  }
  if (l3Type === 0x86dd) out.writeUInt16BE(size - l3 - 40, l3 + 4);
  if (l3Type !== 0x0800) return out;
  out.writeUInt16BE(size - l3, l3 + 2);
  out.writeUInt16BE(0, l3 + 10);
  let sum = 0;
  for (let at = l3; at < l3 + (out[l3]! & 15) * 4; at += 2) sum += out.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  out.writeUInt16BE(~sum & 0xffff, l3 + 10);
  return out;
}
