import { formatMac } from '../base/address.ts';
import { macBytes, macNumber } from './mac-learning.ts';

/**
 * The Link Aggregation Control Protocol (IEEE 802.1AX) of one bond: which of its links reach the same partner and may carry traffic. No
 * I/O and no timers of its own: the owner calls `run` when `nextDueMs` has come or something was received. `P` is the owner's idea of a
 * port.
 */

export const LACP_STATE_ACT = 0x01;
export const LACP_STATE_TIME = 0x02;
export const LACP_STATE_AGG = 0x04;
export const LACP_STATE_SYNC = 0x08;
export const LACP_STATE_COL = 0x10;
export const LACP_STATE_DIST = 0x20;
export const LACP_STATE_DEF = 0x40;
export const LACP_STATE_EXP = 0x80;

/** In the order in which Open vSwitch names them. */
const STATE_NAMES: readonly (readonly [bit: number, name: string])[] = [
  [LACP_STATE_ACT, 'activity'],
  [LACP_STATE_TIME, 'timeout'],
  [LACP_STATE_AGG, 'aggregation'],
  [LACP_STATE_SYNC, 'synchronized'],
  [LACP_STATE_COL, 'collecting'],
  [LACP_STATE_DIST, 'distributing'],
  [LACP_STATE_DEF, 'defaulted'],
  [LACP_STATE_EXP, 'expired'],
];

export const ETH_TYPE_LACP = 0x8809;
/** Slow protocols' multicast address (802.1AX, 43B.2). */
export const LACP_ADDRESS = Uint8Array.of(0x01, 0x80, 0xc2, 0x00, 0x00, 0x02);
/** Bytes behind the Ethernet header. */
export const LACP_PDU_LEN = 110;
const ETH_HEADER_LEN = 14;

const FAST_TIME_MS = 1000;
const SLOW_TIME_MS = 30_000;
/** A partner that is silent for so many periods is no longer current. */
const RX_MULTIPLIER = 3;

const SUBTYPE_LACP = 1;
const SUBTYPE_MARKER = 2;

/** What one end says of a link: 15 bytes on the wire. */
export interface LacpInfo {
  sysPriority: number;
  /** 48 bits. */
  sysId: number;
  key: number;
  portPriority: number;
  portId: number;
  state: number;
}

const ZERO_INFO: LacpInfo = { sysPriority: 0, sysId: 0, key: 0, portPriority: 0, portId: 0, state: 0 };

function putInfo(info: LacpInfo, out: Buffer, at: number): void {
  out.writeUInt16BE(info.sysPriority, at);
  out.set(macBytes(info.sysId), at + 2);
  out.writeUInt16BE(info.key, at + 8);
  out.writeUInt16BE(info.portPriority, at + 10);
  out.writeUInt16BE(info.portId, at + 12);
  out[at + 14] = info.state;
}

function getInfo(b: Buffer, at: number): LacpInfo {
  return {
    sysPriority: b.readUInt16BE(at),
    sysId: macNumber(b, at + 2),
    key: b.readUInt16BE(at + 8),
    portPriority: b.readUInt16BE(at + 10),
    portId: b.readUInt16BE(at + 12),
    state: b[at + 14],
  };
}

const INFO_MEMBERS = ['sysPriority', 'sysId', 'key', 'portPriority', 'portId', 'state'] as const;

/** Orders as the wire form does. */
function compareInfo(a: LacpInfo, b: LacpInfo): number {
  for (const m of INFO_MEMBERS) if (a[m] !== b[m]) return a[m] - b[m];
  return 0;
}

/** States whose change is told at once. */
const TOLD = LACP_STATE_ACT | LACP_STATE_TIME | LACP_STATE_SYNC | LACP_STATE_AGG;

function txEqual(a: LacpInfo, b: LacpInfo): boolean {
  return compareInfo({ ...a, state: a.state & TOLD }, { ...b, state: b.state & TOLD }) === 0;
}

/** The PDU that follows the Ethernet header: subtype, version, actor, partner and collector TLVs, zeros. */
export function composeLacpPdu(actor: LacpInfo, partner: LacpInfo): Uint8Array {
  const pdu = Buffer.alloc(LACP_PDU_LEN);
  pdu.set([SUBTYPE_LACP, 1, 1, 20]);
  putInfo(actor, pdu, 4);
  pdu.set([2, 20], 22);
  putInfo(partner, pdu, 24);
  pdu.set([3, 16], 42);
  return pdu;
}

/** What a frame of Ethertype 0x8809 holds. */
export function parseLacpPdu(pdu: Uint8Array): { actor: LacpInfo; partner: LacpInfo } | 'marker' | 'bad' {
  if (pdu.length < LACP_PDU_LEN) return 'bad';
  if (pdu[0] === SUBTYPE_MARKER) return 'marker';
  const wellFormed = pdu[0] === SUBTYPE_LACP && pdu[2] === 1 && pdu[3] === 20 && pdu[22] === 2 && pdu[23] === 20;
  if (!wellFormed) return 'bad';
  const b = Buffer.from(pdu.buffer, pdu.byteOffset, pdu.length);
  return { actor: getInfo(b, 4), partner: getInfo(b, 24) };
}

export interface LacpSettings {
  name: string;
  /** 6 bytes. */
  sysId: Uint8Array;
  sysPriority: number;
  active: boolean;
  fast: boolean;
  /** Fall back to active-backup while there is no partner. */
  fallbackAb: boolean;
}

export interface LacpMemberSettings {
  name: string;
  portId: number;
  priority: number;
  /** 0: the default. */
  key: number;
}

/** `disabled`: no LACP; `configured`: no partner agreed; `negotiated`: at least one link may carry traffic. */
export type LacpStatus = 'negotiated' | 'configured' | 'disabled';

export const lacpStatusText = (status: LacpStatus): string => (status === 'disabled' ? 'off' : status);

type MemberStatus = 'current' | 'expired' | 'defaulted';

interface Member<P> {
  readonly port: P;
  name: string;
  portId: number;
  portPriority: number;
  key: number;
  status: MemberStatus;
  attached: boolean;
  carrierUp: boolean;
  partner: LacpInfo;
  /** What the partner believes of us. */
  nttActor: LacpInfo;
  txDueMs: number;
  rxDueMs: number;
  counts: {
    rx: number;
    rxBad: number;
    rxMarker: number;
    tx: number;
    expired: number;
    defaulted: number;
    carrier: number;
  };
}

export interface LacpLog {
  warn(text: string): void;
  info(text: string): void;
  dbg(text: string): void;
}

export class Lacp<P> {
  #settings: LacpSettings;
  readonly #members = new Map<P, Member<P>>();
  #keyMember: Member<P> | undefined;
  #negotiated = false;
  /** `#updateAttached` is due. */
  #update = true;
  readonly #nowMs: () => number;
  readonly #log: LacpLog;

  constructor(settings: LacpSettings, nowMs: () => number, log: LacpLog) {
    this.#settings = settings;
    this.#nowMs = nowMs;
    this.#log = log;
  }

  get name(): string {
    return this.#settings.name;
  }

  get status(): LacpStatus {
    return this.#negotiated ? 'negotiated' : 'configured';
  }

  configure(settings: LacpSettings): void {
    const old = this.#settings;
    this.#settings = settings;
    if (
      Buffer.compare(old.sysId, settings.sysId) !== 0 ||
      old.sysPriority !== settings.sysPriority ||
      old.fallbackAb !== settings.fallbackAb
    )
      this.#update = true;
  }

  /** Takes a port in, or new settings of one. */
  register(port: P, s: LacpMemberSettings): void {
    let m = this.#members.get(port);
    if (!m) {
      m = newMember(port, s.name);
      this.#members.set(port, m);
      this.#setDefaulted(m);
      this.#keyMember ??= m;
    }
    m.name = s.name;
    if (m.portId === s.portId && m.portPriority === s.priority && m.key === s.key) return;
    [m.portId, m.portPriority, m.key] = [s.portId, s.priority, s.key];
    this.#update = true;
    if (this.#settings.active || this.#negotiated) this.#setExpired(m);
  }

  unregister(port: P): void {
    const m = this.#members.get(port);
    if (!m) return;
    this.#members.delete(port);
    if (this.#keyMember === m) this.#keyMember = this.#members.values().next().value;
    this.#update = true;
  }

  /** The link of `port` came up, went down, or both. */
  carrierChanged(port: P, up: boolean): void {
    const m = this.#members.get(port);
    if (!m) return;
    if (m.status === 'current' || this.#settings.active) this.#setExpired(m);
    if (m.carrierUp === up) return;
    m.carrierUp = up;
    m.counts.carrier++;
  }

  /** Takes a frame of Ethertype 0x8809 that `port` received. */
  receive(port: P, frame: Uint8Array): void {
    const m = this.#members.get(port);
    if (!m) return;
    m.counts.rx++;
    const pdu = parseLacpPdu(frame.subarray(ETH_HEADER_LEN));
    if (pdu === 'marker') {
      m.counts.rxMarker++;
      this.#log.dbg(`${this.name}: received a LACP marker PDU.`);
      return;
    }
    if (pdu === 'bad') {
      m.counts.rxBad++;
      this.#log.warn(`${this.name}: received an unparsable LACP PDU.`);
      return;
    }
    if (!m.carrierUp) {
      this.#log.info(`${m.name}: carrier state is DOWN, dropping received LACP PDU.`);
      return;
    }
    m.status = 'current';
    m.rxDueMs = this.#nowMs() + RX_MULTIPLIER * (this.#settings.fast ? FAST_TIME_MS : SLOW_TIME_MS);
    m.nttActor = pdu.partner;
    if (compareInfo(m.partner, pdu.actor) === 0) return;
    this.#update = true;
    m.partner = pdu.actor;
  }

  /** Whether `port`, whose link is up, may carry traffic. */
  mayEnable(port: P): boolean {
    const m = this.#members.get(port);
    if (!m) return false;
    m.carrierUp = true;
    return this.#mayEnable(m);
  }

  /** False when there is no word from the partner on that link. */
  isCurrent(port: P): boolean {
    const status = this.#members.get(port)?.status;
    return status !== undefined && status !== 'defaulted';
  }

  /** Does what is due; sends by `send` the bytes behind the Ethernet header. True when something changed. */
  run(send: (port: P, pdu: Uint8Array) => void): boolean {
    const nowMs = this.#nowMs();
    let changed = false;
    for (const m of this.#members.values()) if (nowMs >= m.rxDueMs && this.#rxExpired(m)) changed = true;
    if (this.#update) {
      this.#updateAttached();
      changed = true;
    }
    for (const m of this.#members.values()) {
      if (!this.#mayTx(m)) continue;
      const actor = this.#actor(m);
      if (nowMs < m.txDueMs && txEqual(actor, m.nttActor)) continue;
      m.nttActor = actor;
      send(m.port, composeLacpPdu(actor, m.partner));
      m.counts.tx++;
      m.txDueMs = nowMs + (m.partner.state & LACP_STATE_TIME ? FAST_TIME_MS : SLOW_TIME_MS);
      changed = true;
    }
    return changed;
  }

  /** When `run` has to be called next, if nothing happens. */
  nextDueMs(): number {
    let due = this.#update ? this.#nowMs() : Number.POSITIVE_INFINITY;
    for (const m of this.#members.values()) {
      if (this.#mayTx(m)) due = Math.min(due, m.txDueMs);
      if (m.status !== 'defaulted') due = Math.min(due, m.rxDueMs);
    }
    return due;
  }

  #rxExpired(m: Member<P>): boolean {
    if (m.status === 'current') {
      this.#setExpired(m);
      m.counts.expired++;
    } else if (m.status === 'expired') {
      this.#setDefaulted(m);
      m.counts.defaulted++;
    } else return false;
    return true;
  }

  #setDefaulted(m: Member<P>): void {
    m.partner = ZERO_INFO;
    m.status = 'defaulted';
    this.#update = true;
  }

  #setExpired(m: Member<P>): void {
    m.status = 'expired';
    m.partner = { ...m.partner, state: (m.partner.state | LACP_STATE_TIME) & ~LACP_STATE_SYNC };
    m.rxDueMs = this.#nowMs() + RX_MULTIPLIER * FAST_TIME_MS;
  }

  #mayEnable(m: Member<P>): boolean {
    const fallback = this.#settings.fallbackAb && m.status === 'defaulted';
    return m.attached && ((m.partner.state & LACP_STATE_SYNC) !== 0 || fallback);
  }

  #mayTx(m: Member<P>): boolean {
    return m.carrierUp && (this.#settings.active || m.status !== 'defaulted');
  }

  /** The leading link (one that works goes on leading) decides which partner the bond has; links to it are attached. */
  #updateAttached(): void {
    this.#update = false;
    const members = [...this.#members.values()];
    const working = this.#leader(members.filter((m) => m.status === 'current' && m.attached));
    for (const m of members) m.attached = this.#mayAttach(m, working);
    const lead = working ?? this.#leader(members.filter((m) => m.attached && m.status !== 'defaulted'));
    this.#negotiated = lead !== undefined;
    if (!lead) return;
    for (const m of members) {
      const other = lead.partner.key !== m.partner.key || lead.partner.sysId !== m.partner.sysId;
      if (other || (this.#settings.fallbackAb && m.status === 'defaulted')) m.attached = false;
    }
  }

  #mayAttach(m: Member<P>, working: Member<P> | undefined): boolean {
    if (m.partner.sysId === macNumber(this.#settings.sysId)) {
      this.#log.warn(`member ${m.name}: Loopback detected. Interface is connected to its own bond`);
      return false;
    }
    if (m.status === 'defaulted') return this.#settings.fallbackAb;
    return !working || m.partner.sysId === working.partner.sysId;
  }

  /** The link of the highest priority. */
  #leader(members: readonly Member<P>[]): Member<P> | undefined {
    let lead: Member<P> | undefined;
    for (const m of members) if (!lead || compareInfo(this.#priority(m), this.#priority(lead)) < 0) lead = m;
    return lead;
  }

  get #key(): number {
    return this.#keyMember ? this.#keyMember.key || this.#keyMember.portId : 0;
  }

  #actor(m: Member<P>): LacpInfo {
    const { active, fast, sysPriority, sysId } = this.#settings;
    let state = 0;
    if (active) state |= LACP_STATE_ACT;
    if (fast) state |= LACP_STATE_TIME;
    if (m.attached) state |= LACP_STATE_SYNC;
    if (m.status === 'defaulted') state |= LACP_STATE_DEF;
    if (m.status === 'expired') state |= LACP_STATE_EXP;
    if (this.#members.size > 1) state |= LACP_STATE_AGG;
    if (m.attached || !this.#negotiated) state |= LACP_STATE_COL | LACP_STATE_DIST;
    const { portPriority, portId } = m;
    return { sysPriority, sysId: macNumber(sysId), key: this.#key, portPriority, portId, state };
  }

  /** What the system of higher priority (the lower number) thinks of the link; less is better. */
  #priority(m: Member<P>): LacpInfo {
    const { sysPriority, sysId } = this.#settings;
    const order = sysPriority - m.partner.sysPriority || macNumber(sysId) - m.partner.sysId;
    return { ...(order < 0 ? this.#actor(m) : m.partner), key: 0, state: 0 };
  }

  #sorted(): Member<P>[] {
    return [...this.#members.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** As `lacp/show` has it. */
  show(): string {
    const { active, fast, sysId, sysPriority } = this.#settings;
    return (
      `---- ${this.name} ----\n` +
      `  status: ${active ? 'active' : 'passive'}${this.#negotiated ? ' negotiated' : ''}\n` +
      `  sys_id: ${formatMac(sysId)}\n` +
      `  sys_priority: ${sysPriority}\n` +
      `  aggregation key: ${this.#keyMember ? this.#key : 'none'}\n` +
      `  lacp_time: ${fast ? 'fast' : 'slow'}\n` +
      this.#sorted()
        .map((m) => this.#showMember(m))
        .join('')
    );
  }

  #showMember(m: Member<P>): string {
    return (
      `\nmember: ${m.name}: ${m.status} ${m.attached ? 'attached' : 'detached'}\n` +
      `  port_id: ${m.portId}\n` +
      `  port_priority: ${m.portPriority}\n` +
      `  may_enable: ${this.#mayEnable(m)}\n` +
      `\n${showInfo('actor', this.#actor(m))}` +
      `\n${showInfo('partner', m.partner)}`
    );
  }

  /** As `lacp/show-stats` has it. */
  showStats(): string {
    const text = ({ name, counts: c }: Member<P>) =>
      `\nmember: ${name}:\n` +
      `  TX PDUs: ${c.tx}\n` +
      `  RX PDUs: ${c.rx}\n` +
      `  RX Bad PDUs: ${c.rxBad}\n` +
      `  RX Marker Request PDUs: ${c.rxMarker}\n` +
      `  Link Expired: ${c.expired}\n` +
      `  Link Defaulted: ${c.defaulted}\n` +
      `  Carrier Status Changed: ${c.carrier}\n`;
    return `---- ${this.name} statistics ----\n${this.#sorted().map(text).join('')}`;
  }
}

function newMember<P>(port: P, name: string): Member<P> {
  return {
    port,
    name,
    portId: 0,
    portPriority: 0,
    key: 0,
    status: 'defaulted',
    attached: false,
    carrierUp: false,
    partner: ZERO_INFO,
    nttActor: ZERO_INFO,
    txDueMs: 0,
    rxDueMs: 0,
    counts: { rx: 0, rxBad: 0, rxMarker: 0, tx: 0, expired: 0, defaulted: 0, carrier: 0 },
  };
}

function showInfo(who: string, info: LacpInfo): string {
  const states = STATE_NAMES.filter(([bit]) => info.state & bit).map(([, name]) => ` ${name}`);
  return (
    `  ${who} sys_id: ${formatMac(macBytes(info.sysId))}\n` +
    `  ${who} sys_priority: ${info.sysPriority}\n` +
    `  ${who} port_id: ${info.portId}\n` +
    `  ${who} port_priority: ${info.portPriority}\n` +
    `  ${who} key: ${info.key}\n` +
    `  ${who} state:${states.join('')}\n`
  );
}
