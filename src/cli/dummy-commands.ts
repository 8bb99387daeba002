import { UnixctlError, type UnixctlRegistry } from '../base/unixctl.ts';
import { OdpParseError, parseOdpFlow } from '../dpif/odp-parse.ts';
import { composePacket } from '../flow/compose.ts';
import type { DummyNetdev } from '../netdev/dummy.ts';

/** `netdev-dummy/…` of ovs-appctl: what tests do to devices without a wire. */

export function registerDummyCommands(unixctl: UnixctlRegistry, dummies: ReadonlyMap<string, DummyNetdev>): void {
  const find = (name: string): DummyNetdev => {
    const netdev = dummies.get(name);
    if (!netdev) throw new UnixctlError('no such dummy netdev');
    return netdev;
  };
  unixctl.register(
    'netdev-dummy/receive',
    'name [--qid queue_id] packet|flow [--len packet_len]',
    2,
    Infinity,
    (args) => {
      const netdev = find(args[0]!);
      for (const frame of readPackets(args.slice(1))) netdev.receive(frame);
      return '';
    },
  );
  unixctl.register('netdev-dummy/set-admin-state', '[netdev] up|down', 1, 2, (args) => {
    const state = args.at(-1)!;
    if (state !== 'up' && state !== 'down') throw new UnixctlError('Invalid Admin State');
    const netdevs = args.length > 1 ? [findAdmin(dummies, args[0]!)] : [...dummies.values()];
    for (const netdev of netdevs) netdev.setAdminUp(state === 'up');
    return 'OK';
  });
}

function findAdmin(dummies: ReadonlyMap<string, DummyNetdev>, name: string): DummyNetdev {
  const netdev = dummies.get(name);
  if (!netdev) throw new UnixctlError('Unknown Dummy Interface');
  return netdev;
}

/** `[--qid N] PACKET… [--len N]`: a packet in hexadecimal digits, or a flow. */
function readPackets(args: readonly string[]): Uint8Array[] {
  const words = [...args];
  if (words[0] === '--qid') words.splice(0, 2);
  const frames: Uint8Array[] = [];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    let size: number | undefined;
    if (words[0] === '--len') {
      size = Number(words[1]);
      words.splice(0, 2);
    }
    frames.push(readPacket(word, size));
  }
  return frames;
}

function readPacket(word: string, size: number | undefined): Uint8Array {
  const digits = word.replace(/\s/g, '');
  if (/^([0-9a-f]{2})+$/i.test(digits)) {
    if (digits.length < 28) throw new UnixctlError('bad packet or flow syntax');
    return Buffer.from(digits, 'hex');
  }
  try {
    return packetOfFlow(word, size);
  } catch (e) {
    if (e instanceof OdpParseError) throw new UnixctlError('bad packet or flow syntax');
    throw e;
  }
}

/** A frame with the headers of a datapath flow: with 64 bytes of payload, or as many as make it `size` bytes long. */
function packetOfFlow(text: string, size: number | undefined): Uint8Array {
  const { flow } = parseOdpFlow(text);
  if (size === undefined) return composePacket(flow);
  const headers = composePacket(flow, []).length;
  return composePacket(flow, new Array<number>(Math.max(0, size - headers)).fill(0));
}
