/**
 * One round on both switches: the same tables, groups and packets. What is compared: `ofproto/trace` of each packet; the frames that
 * leave each port; the megaflows; the statistics of flows, tables and groups. Numbers that a switch chooses by itself are made equal
 * first, and so is the order in which it floods.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { splitTop } from '../../src/dpif/odp-parse.ts';
import { flowToPacket } from '../../src/ofproto/trace.ts';
import type { DummySwitch } from './dummy-switch.ts';
import { PORTS, type Round } from './generator.ts';

/** Where the switches differ. */
export interface Difference {
  what: string;
  real: string;
  turnout: string;
}

const BRIDGE = 'br0';
const SETTLE_MS = 20_000;
const PCAP_HEADER = 24;
const PCAP_RECORD = 16;

/** Each output as what was done to the packet before it, and the port; sorted. */
function sortOutputs(list: string): string {
  let done: string[] = [];
  const outputs: string[] = [];
  for (const action of splitTop(list)) {
    if (action === 'pop_vlan' && done.at(-1)?.startsWith('push_vlan')) done.pop();
    else if (/^(\d+$|userspace|recirc)/.test(action)) outputs.push(`${done.join()}>${action}`);
    else done = [...done, action];
  }
  return outputs.sort().join(' ');
}

function normalTrace(trace: string): string {
  return trace
    .replaceAll(/recirc_id=\d+/g, 'recirc_id=N')
    .replaceAll(/recirc_id\((0x)?[1-9a-f][0-9a-f]*\)/g, 'recirc_id(N)')
    .replaceAll(/recirc\(0x[0-9a-f]+\)/g, 'recirc(N)')
    .replaceAll(/^Datapath actions: (.*)$/gm, (_, list: string) => `Datapath actions: ${sortOutputs(list)}`)
    .trimEnd();
}

/**
 * Not compared: the real switch deletes a megaflow that matches some bits of an ICMPv6 type when it revalidates it, although nothing of it
 * has changed (round 20261206); Turnout keeps it.
 */
const PART_OF_ICMPV6_TYPE = /icmpv6\(type=\d+\/0x/;

function normalMegaflows(dump: string): string {
  return dump
    .split('\n')
    .filter((line) => line !== '' && !PART_OF_ICMPV6_TYPE.test(line))
    .map((line) =>
      line
        .replace(/used:[^,]*/, 'used:')
        .replace(/recirc_id=\d+/g, 'recirc_id=N')
        .replace(/recirc_id\((0x)?[1-9a-f][0-9a-f]*\)/, 'recirc_id(N)')
        .replace(/recirc\(0x[0-9a-f]+\)/, 'recirc(N)')
        .replace(/pid=\d+/g, 'pid=')
        .replace(/actions:(.*)$/, (_, list: string) => `actions:${sortOutputs(list)}`),
    )
    .sort()
    .join('\n');
}

const normalFlows = (dump: string): string =>
  dump
    .split('\n')
    .slice(1)
    .map((line) => line.replaceAll(/(duration|idle_age|hard_age)=[^,]*, /g, '').trim())
    .sort()
    .join('\n');

/** Received packets and bytes, sent packets and bytes of each port, in the order of the ports. */
const portCounters = (dump: string): Map<string, number[]> =>
  new Map(
    [...dump.matchAll(/port +(\w+): rx pkts=(\d+), bytes=(\d+).*\n +tx pkts=(\d+), bytes=(\d+)/g)]
      .map(([, port, ...n]) => [port, n.map(Number)] as const)
      .sort(([a], [b]) => a.localeCompare(b)),
  );

/** The frames of a pcap file from byte `from` on, as hexadecimal. */
function frames(file: Buffer, from: number): string[] {
  const out: string[] = [];
  for (let at = from; at + PCAP_RECORD <= file.length; ) {
    const length = file.readUInt32LE(at + 8);
    out.push(file.subarray(at + PCAP_RECORD, at + PCAP_RECORD + length).toString('hex'));
    at += PCAP_RECORD + length;
  }
  return out;
}

/** Both switches. */
export class Pair {
  readonly real: DummySwitch;
  readonly turnout: DummySwitch;
  /** Bytes of each port's pcap that earlier rounds wrote. */
  readonly #read = new Map<string, number>();
  /** Counters of each switch's ports after the last round. */
  readonly #ports = new Map<string, Map<string, number[]>>();
  /** Packets that a port has taken in so far. */
  #sent = 0;

  constructor(real: DummySwitch, turnout: DummySwitch) {
    this.real = real;
    this.turnout = turnout;
  }

  /** Does the same with both; the results, the real one's first. */
  async both<T>(what: (one: DummySwitch) => Promise<T>): Promise<[T, T]> {
    return [await what(this.real), await what(this.turnout)];
  }

  /** The round without the flows that no version of OpenFlow can carry: ovs-ofctl refuses a whole file for one of them. */
  async carried(round: Round): Promise<Round> {
    const fits = async (flow: string) =>
      this.real.ofctl('parse-flow', flow).then(
        () => true,
        () => false,
      );
    const flows: string[] = [];
    for (const flow of round.flows) if (await fits(flow)) flows.push(flow);
    return { ...round, flows };
  }

  /** Runs the round; undefined: no difference. */
  async compare(round: Round): Promise<Difference | undefined> {
    await this.both((one) => install(one, round));
    for (const packet of round.packets) {
      const [real, turnout] = await this.both((one) => one.appctl('ofproto/trace', BRIDGE, packet));
      if (normalTrace(real) !== normalTrace(turnout))
        return { what: `ofproto/trace br0 ${packet}`, real: normalTrace(real), turnout: normalTrace(turnout) };
    }
    return this.#compareTraffic(round);
  }

  async #compareTraffic(round: Round): Promise<Difference | undefined> {
    for (const packet of round.packets) {
      const port = /^in_port=(\d+)/.exec(packet)?.[1];
      const frame = Buffer.from(flowToPacket(packet)).toString('hex');
      await this.both((one) => one.appctl('netdev-dummy/receive', `p${port}`, frame));
    }
    this.#sent += round.packets.length;
    await this.both((one) => this.#settle(one));
    const checks: [string, (one: DummySwitch) => Promise<string>][] = [
      ['dpctl/dump-flows', async (one) => normalMegaflows(await one.appctl('dpctl/dump-flows'))],
      ['frames sent', async (one) => this.#sentFrames(one)],
      ['dump-flows', async (one) => normalFlows(await one.ofctl('dump-flows', BRIDGE))],
      ['dump-ports', async (one) => this.#portDeltas(one)],
    ];
    let difference: Difference | undefined;
    // All of them, always: some count on from the last round.
    for (const [what, look] of checks) {
      const [real, turnout] = await this.both(look);
      if (real !== turnout) difference ??= { what, real, turnout };
    }
    return difference;
  }

  /** Waits until every packet has passed, and their statistics have reached the rules. */
  async #settle(one: DummySwitch): Promise<void> {
    const end = performance.now() + SETTLE_MS;
    for (;;) {
      const text = await one.ofctl('dump-ports', BRIDGE);
      const rx = [...text.matchAll(/rx pkts=(\d+)/g)].reduce((sum, [, n]) => sum + Number(n), 0);
      if (rx >= this.#sent) break;
      if (performance.now() > end) throw new Error(`${one.kind}: ${rx} of ${this.#sent} packets came in`);
      await sleep(10);
    }
    await one.appctl('revalidator/wait');
  }

  /** What each port has counted since the last round. */
  async #portDeltas(one: DummySwitch): Promise<string> {
    const now = portCounters(await one.ofctl('dump-ports', BRIDGE));
    const before = this.#ports.get(one.kind);
    this.#ports.set(one.kind, now);
    return [...now]
      .map(([port, n]) => `${port}: ${n.map((v, i) => v - (before?.get(port)?.[i] ?? 0)).join(' ')}`)
      .join('\n');
  }

  /** What each port has sent since the last round; the order within a port is that of the packets. */
  async #sentFrames(one: DummySwitch): Promise<string> {
    return PORTS.map((n) => {
      const path = one.pcap(n);
      const file = readFileSync(path);
      const from = this.#read.get(path) ?? PCAP_HEADER;
      this.#read.set(path, file.length);
      return `p${n}: ${frames(file, from).join(' ')}`;
    }).join('\n');
  }
}

/** Takes away what an earlier round left and puts in this one's groups and flows. */
async function install(one: DummySwitch, round: Round): Promise<void> {
  await one.ofctl('del-flows', BRIDGE);
  await one.ofctl('del-groups', BRIDGE);
  await one.appctl('revalidator/purge');
  const file = (name: string, lines: readonly string[]) => {
    const path = join(one.folder, name);
    writeFileSync(path, lines.map((line) => `${line}\n`).join(''));
    return path;
  };
  await one.ofctl('add-groups', BRIDGE, file('groups', round.groups));
  await one.ofctl('add-flows', BRIDGE, file('flows', round.flows));
}
