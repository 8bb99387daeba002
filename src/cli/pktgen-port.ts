/** What one port of pktgen is set to generate, and the lcore commands that follow from it. */
import { bytesToBigint, formatIp, formatMac, parseIp, parseMac } from '../virtio-user/address.ts';
import {
  buildTemplate,
  type FrameSpec,
  flowsRange,
  type Proto,
  type Range,
  type RangeField,
} from '../virtio-user/frame.ts';
import type { LcoreCommand } from '../virtio-user/lcore.ts';

/** Bytes of FCS, which pktgen's sizes count and a ring's frames lack; preamble, start and gap on the wire. */
const FCS = 4;
const WIRE_OVERHEAD = 20;
const LINE_BPS = 10e9;
const MAX_SIZE = 9604;

/** A range's four values, as pktgen names them. */
const SMMI = ['start', 'min', 'max', 'inc'] as const;
type Smmi = (typeof SMMI)[number];

const PROTOS: readonly string[] = ['udp', 'tcp', 'icmp'] satisfies Proto[];

/** A command that cannot be obeyed; the message is for the user. */
export class PktgenError extends Error {
  override name = 'PktgenError';
}

function integer(what: string, text: string | undefined, min: number, max: number): number {
  const n = Number(text);
  if (text === undefined || text === '' || !Number.isInteger(n) || n < min || n > max) {
    throw new PktgenError(`${what}: not a number from ${min} to ${max}: ${text ?? 'nothing'}`);
  }
  return n;
}

export class PktgenPort {
  readonly number: number;
  readonly spec: FrameSpec;
  /** Percent of line rate. */
  rate = 100;
  /** Packets a second, when that was set instead of a rate. */
  pps: number | undefined;
  /** 0: for ever. */
  count = 0;
  vlan = 1;
  vlanOn = false;
  rangeOn = false;
  replaying = false;
  flows: number;
  readonly ranges = new Map<RangeField, Range>();
  sending = false;

  constructor(number: number, mac: Uint8Array, flows: number) {
    this.number = number;
    this.flows = flows;
    this.spec = {
      srcMac: mac,
      dstMac: Uint8Array.of(2, 0, 0, 0, 0, number ^ 1),
      srcIp: Uint8Array.of(192, 168, number, 1),
      dstIp: Uint8Array.of(192, 168, number ^ 1, 1),
      proto: 'udp',
      sport: 1234,
      dport: 5678,
      ttl: 64,
      tos: 0,
      size: 64 - FCS,
    };
  }

  /** `set PORT <what> <value …>`. */
  set(words: readonly string[]): void {
    const [what, a, b] = words;
    if (what === 'src' || what === 'dst') this.#setAddress(what, a, b);
    else if (what === 'type') this.#setType(a);
    else this.#setScalar(what ?? '', a);
  }

  #setScalar(what: string, value: string | undefined): void {
    switch (what) {
      case 'count':
        this.count = integer('count', value, 0, Number.MAX_SAFE_INTEGER);
        return;
      case 'size':
        this.spec.size = integer('size', value, 64, MAX_SIZE) - FCS;
        return;
      case 'rate':
        this.#setRate(value);
        return;
      case 'pps':
        this.pps = integer('pps', value, 1, 1e9);
        return;
      case 'sport':
      case 'dport':
        this.spec[what] = integer(what, value, 0, 65535);
        return;
      case 'ttl':
      case 'tos':
        this.spec[what] = integer(what, value, 0, 255);
        return;
      case 'vlan':
      case 'vlanid':
        this.vlan = integer(what, value, 0, 4095);
        return;
      case 'flows':
        this.flows = integer(what, value, 1, 2 ** 31 - 1);
        return;
      case 'proto':
        if (!PROTOS.includes(value ?? '')) throw new PktgenError(`proto: ${value} is not one of ${PROTOS.join(', ')}`);
        this.spec.proto = value as Proto;
        return;
      default:
        throw new PktgenError(`set: ${what} is not known; try help`);
    }
  }

  #setRate(value: string | undefined): void {
    const rate = Number(value);
    if (value === undefined || !(rate > 0 && rate <= 100)) throw new PktgenError(`rate: not a percentage: ${value}`);
    this.rate = rate;
    this.pps = undefined;
  }

  #setType(value: string | undefined): void {
    if (value !== 'ipv4' && value !== 'ipv6') throw new PktgenError(`type: ${value} is not ipv4 or ipv6`);
    const size = value === 'ipv4' ? 4 : 16;
    if (this.spec.srcIp.length === size) return;
    const { number } = this;
    const address = (n: number) => (size === 4 ? `192.168.${n}.1` : `fd00:0:0:${n}::1`);
    this.spec.srcIp = parseIp(address(number));
    this.spec.dstIp = parseIp(address(number ^ 1));
    for (const field of ['src ip', 'dst ip'] as const) this.ranges.delete(field);
  }

  #setAddress(side: 'src' | 'dst', kind: string | undefined, value: string | undefined): void {
    if (value === undefined) throw new PktgenError(`set: ${side} wants mac or ip, and an address`);
    if (kind === 'mac') this.spec[`${side}Mac`] = parseMac(value);
    else if (kind === 'ip') this.#setIp(side, parseIp(value));
    else if (kind === 'port') this.#setScalar(side === 'src' ? 'sport' : 'dport', value);
    else throw new PktgenError(`set: ${side} ${kind} is not known`);
  }

  #setIp(side: 'src' | 'dst', ip: Uint8Array): void {
    if (ip.length !== this.spec.srcIp.length) this.#setType(ip.length === 4 ? 'ipv4' : 'ipv6');
    this.spec[`${side}Ip`] = ip;
  }

  /** `range PORT <field> <start> <min> <max> <inc>`, or `… <field> start|min|max|inc <value>`. */
  setRange(words: readonly string[]): void {
    const [field, rest] = rangeField(words);
    if (rest.length === 2 && (SMMI as readonly string[]).includes(rest[0]!)) {
      this.#rangeOf(field)[rest[0] as Smmi] = this.#rangeValue(field, rest[0] as Smmi, rest[1]!);
      return;
    }
    // pktgen also takes the four values joined by bars.
    const values = rest.flatMap((w) => w.split('|')).filter((w) => w !== '');
    if (values.length !== 4)
      throw new PktgenError(`range: ${field} wants start min max inc, or one of them and a value`);
    const range = this.#rangeOf(field);
    for (const [i, name] of SMMI.entries()) range[name] = this.#rangeValue(field, name, values[i]!);
  }

  #rangeOf(field: RangeField): Range {
    let range = this.ranges.get(field);
    if (!range) {
      const start = this.#valueOf(field);
      range = { field, start, min: start, max: start, inc: 0n };
      this.ranges.set(field, range);
    }
    return range;
  }

  /** What the frame has in a field now. */
  #valueOf(field: RangeField): bigint {
    const { spec } = this;
    const values: Record<RangeField, bigint> = {
      'src mac': bytesToBigint(spec.srcMac),
      'dst mac': bytesToBigint(spec.dstMac),
      'src ip': bytesToBigint(spec.srcIp.subarray(-8)),
      'dst ip': bytesToBigint(spec.dstIp.subarray(-8)),
      sport: BigInt(spec.sport),
      dport: BigInt(spec.dport),
      vlan: BigInt(this.vlan),
      ttl: BigInt(spec.ttl),
      size: BigInt(spec.size),
    };
    return values[field];
  }

  #rangeValue(field: RangeField, part: Smmi, text: string): bigint {
    if (field.endsWith('mac') && text.includes(':')) return bytesToBigint(parseMac(text));
    if (field.endsWith('ip') && /[.:]/.test(text)) return bytesToBigint(parseIp(text).subarray(-8));
    if (!/^\d+$/.test(text)) throw new PktgenError(`range: ${field} ${part}: ${text} is not a number`);
    const value = BigInt(text);
    return field === 'size' && part !== 'inc' ? value - BigInt(FCS) : value;
  }

  enable(what: string | undefined, on: boolean): void {
    if (what === 'range') this.rangeOn = on;
    else if (what === 'vlan') this.vlanOn = on;
    else throw new PktgenError(`${on ? 'enable' : 'disable'}: ${what} is not range or vlan`);
  }

  get #frame(): FrameSpec {
    return this.vlanOn ? { ...this.spec, vlan: this.vlan } : this.spec;
  }

  #activeRanges(): Range[] {
    if (this.rangeOn) return [...this.ranges.values()];
    return this.flows > 1 ? [flowsRange(this.spec, this.flows)] : [];
  }

  /** Packets a second that rate and size come to; Infinity at 100 percent: no pacing. */
  get packetsPerSecond(): number {
    if (this.pps !== undefined) return this.pps;
    if (this.rate >= 100) return Number.POSITIVE_INFINITY;
    return ((this.rate / 100) * LINE_BPS) / ((this.spec.size + FCS + WIRE_OVERHEAD) * 8);
  }

  startCommands(): LcoreCommand[] {
    const commands: LcoreCommand[] = [];
    if (!this.replaying) {
      commands.push({
        kind: 'template',
        port: this.number,
        template: buildTemplate(this.#frame, this.#activeRanges()),
      });
    }
    const generate = { kind: 'generate', port: this.number, active: true, pps: this.packetsPerSecond } as const;
    commands.push(this.count > 0 ? { ...generate, count: BigInt(this.count) } : generate);
    this.sending = true;
    return commands;
  }

  stopCommands(): LcoreCommand[] {
    this.sending = false;
    return [{ kind: 'generate', port: this.number, active: false, pps: 0, count: 0n }];
  }

  /** Two columns of `page main`. */
  describe(): [string, string][] {
    const { spec } = this;
    return [
      ['State', this.sending ? 'sending' : 'stopped'],
      [
        'Tx count / rate',
        `${this.count === 0 ? 'Forever' : this.count} / ${this.pps === undefined ? `${this.rate}%` : `${this.pps} pps`}`,
      ],
      ['Packet size', String(spec.size + FCS)],
      [
        'Type / proto',
        `${spec.srcIp.length === 4 ? 'IPv4' : 'IPv6'} / ${spec.proto.toUpperCase()}${this.vlanOn ? ` / VLAN ${this.vlan}` : ''}`,
      ],
      ['Src / dst port', `${spec.sport} / ${spec.dport}`],
      ['Src IP', formatIp(spec.srcIp)],
      ['Dst IP', formatIp(spec.dstIp)],
      ['Src MAC', formatMac(spec.srcMac)],
      ['Dst MAC', formatMac(spec.dstMac)],
      [
        'Range',
        this.rangeOn ? [...this.ranges.keys()].join(', ') : `off${this.flows > 1 ? `, ${this.flows} flows` : ''}`,
      ],
    ];
  }
}

/** The field that starts `words`, and the words after it. */
function rangeField(words: readonly string[]): [RangeField, readonly string[]] {
  const [a, b] = words;
  if ((a === 'src' || a === 'dst') && b === 'port') return [a === 'src' ? 'sport' : 'dport', words.slice(2)];
  if ((a === 'src' || a === 'dst') && (b === 'mac' || b === 'ip')) return [`${a} ${b}`, words.slice(2)];
  if (a === 'sport' || a === 'dport' || a === 'vlan' || a === 'ttl' || a === 'size') return [a, words.slice(1)];
  throw new PktgenError(`range: ${words.slice(0, 2).join(' ')} is not known`);
}
