import { readFileSync } from 'node:fs';
import { VlogRateLimit } from '../base/vlog.ts';
import type { Match } from '../flow/flow.ts';
import type { Ofpact } from '../openflow/actions.ts';
import { catchallMatch, matchEquals } from '../openflow/match.ts';
import type { Logger } from './config.ts';
import type { FlowTables } from './flow-tables.ts';
import { OFPP_LOCAL, OFPP_NORMAL } from './ports.ts';
import { Rule } from './rule.ts';

/**
 * In-band control (Open vSwitch's Documentation/topics/design.rst): hidden flows above every priority of OpenFlow, so that the way to the
 * controllers, which leads through the bridge itself, works whatever its flows say.
 */

export interface Remote {
  /** IPv4, in host order. */
  ip: number;
  port: number;
}

export interface InBandHost {
  readonly name: string;
  readonly flowTables: FlowTables;
  /** The local port's address, and whether the host's routes lead through it. */
  local(): { mac: Uint8Array; routed: boolean } | undefined;
  remotes(): Remote[];
  nowMs(): number;
  log: Logger;
}

/** Priorities say what each flow is for. */
const FROM_LOCAL_DHCP = 180_000;
const TO_LOCAL_ARP = 180_001;
const FROM_LOCAL_ARP = 180_002;
const TO_NEXT_HOP_ARP = 180_003;
const FROM_NEXT_HOP_ARP = 180_004;
const TO_REMOTE_ARP = 180_005;
const FROM_REMOTE_ARP = 180_006;
const TO_REMOTE_TCP = 180_007;
const FROM_REMOTE_TCP = 180_008;

const ETH_TYPE_IP = 0x0800;
const ETH_TYPE_ARP = 0x0806;
const [ARP_REQUEST, ARP_REPLY, TCP, UDP] = [1, 2, 6, 17];
const [DHCP_CLIENT_PORT, DHCP_SERVER_PORT] = [68, 67];
/** How long an address of a next hop is believed, and one that could not be found. */
const KNOWN_MS = 10_000;
const UNKNOWN_MS = 1000;

const LIMIT = new VlogRateLimit(60, 60);

interface Wanted {
  priority: number;
  match: Match;
}

export class InBand {
  readonly #host: InBandHost;
  readonly #queue: () => number | undefined;
  #rules: { wanted: Wanted; rule: Rule }[] = [];
  readonly #nextHops = new Map<number, { mac: number | undefined; untilMs: number }>();

  /** `queue`: the queue that its packets go to, if any. */
  constructor(host: InBandHost, queue: () => number | undefined) {
    this.#host = host;
    this.#queue = queue;
  }

  /** Brings the flows up to date. */
  run(): void {
    const wanted = this.#wanted();
    const same = (a: Wanted, b: Wanted) => a.priority === b.priority && matchEquals(a.match, b.match);
    const stay = this.#rules.filter((r) => !r.rule.removed && wanted.some((w) => same(w, r.wanted)));
    for (const r of this.#rules) if (!stay.includes(r)) this.#host.flowTables.removeHidden(r.rule);
    const added = wanted.filter((w) => !stay.some((r) => same(w, r.wanted)));
    this.#rules = [...stay, ...added.map((w) => ({ wanted: w, rule: this.#add(w) }))];
  }

  #add({ priority, match }: Wanted): Rule {
    const queue = this.#queue();
    const actions: Ofpact[] = [{ type: 'output', port: OFPP_NORMAL, maxLen: 0 }];
    if (queue !== undefined) actions.unshift({ type: 'set_queue', queue });
    const spec = { tableId: 0, cookie: 0n, idleTimeout: 0, hardTimeout: 0, importance: 0, flags: 0, actions };
    const rule = new Rule(priority, spec, this.#host.nowMs(), true);
    this.#host.flowTables.addHidden(rule, match);
    return rule;
  }

  #wanted(): Wanted[] {
    const remotes = this.#host.remotes();
    if (!remotes.length) return [];
    const local = this.#host.local();
    const list: Wanted[] = local?.mac.some((b) => b !== 0) ? localFlows(macNumber(local.mac)) : [];
    for (const r of remotes) {
      const mac = this.#nextHopMac(r.ip, local?.routed ?? false);
      if (mac !== undefined) list.push(...nextHopFlows(mac));
    }
    return [...list, ...remotes.flatMap(remoteFlows)];
  }

  #nextHopMac(ip: number, routed: boolean): number | undefined {
    const nowMs = this.#host.nowMs();
    const known = this.#nextHops.get(ip);
    if (known && nowMs < known.untilMs) return known.mac;
    const hop = routed ? nextHop(ip) : undefined;
    if (!hop) {
      const why = routed ? 'No such device or address' : 'Operation not supported';
      this.#host.log.warnRl?.(LIMIT, `${this.#host.name}: cannot find route for controller (${ipText(ip)}): ${why}`);
    }
    const mac = hop && arpLookup(hop.ip, hop.device);
    this.#nextHops.set(ip, { mac, untilMs: nowMs + (mac === undefined ? UNKNOWN_MS : KNOWN_MS) });
    return mac;
  }
}

const macNumber = (mac: Uint8Array): number => mac.reduce((n, b) => n * 256 + b, 0);

const ipText = (ip: number): string => [24, 16, 8, 0].map((s) => (ip >>> s) & 255).join('.');

/** A flow's match, with exactly these fields. */
function exactly(priority: number, fields: Partial<Record<Field, number>>): Wanted {
  const match = catchallMatch();
  for (const [name, value] of Object.entries(fields) as [Field, number][]) {
    (match.flow as unknown as Record<Field, number>)[name] = value;
    (match.wc as unknown as Record<Field, number>)[name] = ONES[name];
  }
  return { priority, match };
}

const ONES = {
  inPort: 0xffffffff,
  dlType: 0xffff,
  dlSrc: 0xffff_ffff_ffff,
  dlDst: 0xffff_ffff_ffff,
  nwProto: 0xff,
  nwSrc: 0xffffffff,
  nwDst: 0xffffffff,
  tpSrc: 0xffff,
  tpDst: 0xffff,
} as const;
type Field = keyof typeof ONES;

const arp = (nwProto: number) => ({ dlType: ETH_TYPE_ARP, nwProto });

function localFlows(mac: number): Wanted[] {
  const dhcp = { dlType: ETH_TYPE_IP, nwProto: UDP, tpSrc: DHCP_CLIENT_PORT, tpDst: DHCP_SERVER_PORT };
  return [
    exactly(FROM_LOCAL_DHCP, { inPort: OFPP_LOCAL, dlSrc: mac, ...dhcp }),
    exactly(TO_LOCAL_ARP, { ...arp(ARP_REPLY), dlDst: mac }),
    exactly(FROM_LOCAL_ARP, { ...arp(ARP_REQUEST), dlSrc: mac }),
  ];
}

const nextHopFlows = (mac: number): Wanted[] => [
  exactly(TO_NEXT_HOP_ARP, { ...arp(ARP_REPLY), dlDst: mac }),
  exactly(FROM_NEXT_HOP_ARP, { ...arp(ARP_REQUEST), dlSrc: mac }),
];

const remoteFlows = ({ ip, port }: Remote): Wanted[] => [
  exactly(TO_REMOTE_ARP, { ...arp(ARP_REPLY), nwDst: ip }),
  exactly(FROM_REMOTE_ARP, { ...arp(ARP_REQUEST), nwSrc: ip }),
  exactly(TO_REMOTE_TCP, { dlType: ETH_TYPE_IP, nwProto: TCP, nwDst: ip, tpDst: port }),
  exactly(FROM_REMOTE_TCP, { dlType: ETH_TYPE_IP, nwProto: TCP, nwSrc: ip, tpSrc: port }),
];

function lines(path: string): string[][] {
  try {
    return readFileSync(path, 'utf8')
      .split('\n')
      .slice(1)
      .map((l) => l.trim().split(/\s+/));
  } catch {
    return [];
  }
}

/** Little-endian hexadecimal, as the kernel writes addresses there. */
const kernelIp = (hex: string): number => Buffer.from(hex.padStart(8, '0'), 'hex').readUInt32LE();

/** Where the host sends packets to `ip` (proc(5), /proc/net/route). */
function nextHop(ip: number): { ip: number; device: string } | undefined {
  let best: { ip: number; device: string; mask: number } | undefined;
  for (const [device, dst, gateway, , , , , mask] of lines('/proc/net/route')) {
    if (!mask) continue;
    const m = kernelIp(mask);
    if ((ip & m) >>> 0 !== kernelIp(dst) || (best && best.mask >= m)) continue;
    best = { ip: kernelIp(gateway) || ip, device, mask: m };
  }
  return best;
}

/** The address behind `ip` (proc(5), /proc/net/arp). */
function arpLookup(ip: number, device: string): number | undefined {
  const text = ipText(ip);
  const row = lines('/proc/net/arp').find(([a, , , , , d]) => a === text && d === device);
  const mac = row && Number.parseInt(row[3].replaceAll(':', ''), 16);
  return mac || undefined;
}
