import { formatMac } from '../base/address.ts';
import { hashBigint } from '../base/hash.ts';
import { VlogRateLimit } from '../base/vlog.ts';
import { Flow, type FlowWildcards } from '../flow/flow.ts';
import { hash5Tuple, maskHashFields } from '../flow/flow-hash.ts';
import { type BondBucket, bondLoads, planRebalance } from './bond-rebalance.ts';
import type { BondConfig, BondMode, Logger } from './config.ts';
import { type LacpStatus, lacpStatusText } from './lacp.ts';
import { isMulticastMac, macNumber } from './mac-learning.ts';
import type { BondVerdict, XBond, XPort } from './xlate/types.ts';

/**
 * A bond: several ports that stand for one link. Says which member a packet leaves by, which packets to take in, and when members come
 * and go. No timers of its own: the owner calls `run` when `nextDueMs` has come or something happened. Control thread only.
 */

export const BOND_BUCKETS = 256;
const BOND_MASK = BOND_BUCKETS - 1;

export interface BondSettings extends BondConfig {
  name: string;
}

export interface BondPort extends XPort {
  /** The device is up and has its link. */
  readonly carrier: boolean;
  mac(): Uint8Array;
}

/** What a bond needs of its bridge. */
export interface BondHost {
  nowMs(): number;
  readonly log: Logger;
  allocRecircId(): number;
  freeRecircId(id: number): void;
  /** Where recirculated packets go by the low 8 bits of their hash; undefined: the rules are taken out. */
  setRules(recircId: number, ports: readonly (BondPort | undefined)[] | undefined): void;
  /** Bytes that the rules have sent, by bucket. */
  ruleBytes(recircId: number): readonly number[];
  /** Undefined: the datapath has no lb_output. */
  readonly lbOutput:
    | {
        set(bondId: number, ports: readonly (BondPort | undefined)[]): void;
        del(bondId: number): void;
        bytes(bondId: number): readonly number[];
      }
    | undefined;
  /** The active member has changed: it belongs into the database. */
  activeChanged(): void;
}

interface Member {
  readonly port: BondPort;
  enabled: boolean;
  /** What LACP and the like say. */
  mayEnable: boolean;
  /** When `enabled` follows the link; Infinity: it does already. */
  delayExpiresMs: number;
}

/** The hash of an address in a VLAN that balance-slb goes by. */
export const bondHashMac = (mac: number, vlan: number, basis: number): number =>
  hashBigint((BigInt(vlan) << 48n) | BigInt(mac), basis);

const linkLimit = new VlogRateLimit(5, 20);
const admissionLimit = new VlogRateLimit(1, 5);

export class Bond implements XBond {
  #settings: BondSettings;
  readonly #host: BondHost;
  readonly #members = new Map<BondPort, Member>();
  /** Members that are enabled, next to be given a bucket first. */
  #enabled: Member[] = [];
  #active: Member | undefined;
  #activeMac: Uint8Array = new Uint8Array(6);
  #lacpStatus: LacpStatus = 'disabled';
  /** Undefined while one member carries all. */
  #hash: (BondBucket<Member> & { seenBytes: number })[] | undefined;
  #recircId = 0;
  #lbOutput = false;
  /** Rules or buckets are in the datapath's hands. */
  #steered: 'rules' | 'lb_output' | undefined;
  #nextRebalanceMs = 0;
  #revalidate = true;
  #sendLearningPackets = false;

  constructor(settings: BondSettings, host: BondHost) {
    this.#settings = settings;
    this.#host = host;
    if (settings.activeMac) this.#activeMac = settings.activeMac;
    this.#configured(true);
  }

  get name(): string {
    return this.#settings.name;
  }

  get mode(): BondMode {
    return this.#settings.mode;
  }

  get recircId(): number {
    return this.#recircId;
  }

  /** Address of the active member; zeros when there is none. */
  get activeMac(): Uint8Array {
    return this.#activeMac;
  }

  /** Ports that belong to it. */
  ports(): BondPort[] {
    return [...this.#members.keys()];
  }

  configure(settings: BondSettings): void {
    const old = this.#settings;
    this.#settings = settings;
    const keys = ['lacpFallbackAb', 'rebalanceIntervalMs', 'mode', 'hashBasis', 'primary', 'lbOutput'] as const;
    const steered = this.#steered !== undefined;
    this.#configured(this.#revalidate || keys.some((key) => old[key] !== settings[key]));
    // At once, not with the next run: packets that were recirculated meanwhile would find no rule.
    if (steered && this.#mayRecirc) this.#steer(false);
  }

  #configured(changed: boolean): void {
    const { mode, lbOutput } = this.#settings;
    if (changed) this.#unsteer();
    if (mode === 'active-backup') this.#freeRecirc();
    else if (!this.#recircId) this.#recircId = this.#host.allocRecircId();
    if (lbOutput && !this.#lbOutput && !this.#host.lbOutput)
      this.#host.log.warn(`${this.name}: Datapath does not support 'lb_output' action, disabled.`);
    this.#lbOutput = lbOutput && this.#host.lbOutput !== undefined;
    if (mode === 'active-backup' || !this.#hash || changed) this.#resetHash();
    if (changed) this.#revalidate = true;
  }

  destroy(): void {
    this.#unsteer();
    this.#freeRecirc();
    this.#members.clear();
    this.#enabled = [];
    this.#active = undefined;
  }

  #freeRecirc(): void {
    if (!this.#recircId) return;
    this.#unsteer();
    this.#host.freeRecircId(this.#recircId);
    this.#recircId = 0;
  }

  // Members.

  register(port: BondPort): void {
    if (this.#members.has(port)) return;
    const m: Member = { port, enabled: false, mayEnable: false, delayExpiresMs: Number.POSITIVE_INFINITY };
    this.#members.set(port, m);
    this.#revalidate = true;
    this.#enable(m, port.carrier);
  }

  unregister(port: BondPort): void {
    const m = this.#members.get(port);
    if (!m) return;
    this.#revalidate = true;
    this.#enable(m, false);
    this.#members.delete(port);
    for (const b of this.#hash ?? []) if (b.member === m) b.member = undefined;
    if (this.#active !== m) return;
    this.#chooseActive();
    this.#sendLearningPackets = true;
  }

  setMayEnable(port: BondPort, mayEnable: boolean): void {
    const m = this.#members.get(port);
    if (m) m.mayEnable = mayEnable;
  }

  /** Brings members up and down. True when flows may be translated otherwise. */
  run(lacpStatus: LacpStatus): boolean {
    if (this.#lacpStatus !== lacpStatus) {
      this.#lacpStatus = lacpStatus;
      this.#revalidate = true;
      if (this.#fallsBack || !this.#hash) this.#resetHash();
    }
    for (const m of this.#members.values()) this.#updateLink(m);
    const primary = this.mode === 'active-backup' ? this.#enabledPrimary() : undefined;
    if (!this.#active?.enabled || (primary && this.#active !== primary)) this.#chooseActive();
    if (this.#mayRecirc) this.#steer(false);
    const revalidate = this.#revalidate;
    this.#revalidate = false;
    return revalidate;
  }

  /** When `run` has to be called next, if nothing happens. */
  nextDueMs(): number {
    let due = this.#revalidate ? this.#host.nowMs() : Number.POSITIVE_INFINITY;
    for (const m of this.#members.values()) due = Math.min(due, m.delayExpiresMs);
    return due;
  }

  #enable(m: Member, enable: boolean): void {
    m.delayExpiresMs = Number.POSITIVE_INFINITY;
    if (enable === m.enabled) return;
    this.#revalidate = true;
    m.enabled = enable;
    if (enable) this.#enabled.push(m);
    else {
      this.#sendLearningPackets = true;
      this.#enabled = this.#enabled.filter((other) => other !== m);
    }
    this.#host.log.info(`member ${m.port.name}: ${enable ? 'enabled' : 'disabled'}`);
  }

  #info(text: string): void {
    const { log } = this.#host;
    if (linkLimit.withdraw((t) => log.info(t))) log.info(text);
  }

  #updateLink(m: Member): void {
    const nowMs = this.#host.nowMs();
    const up = m.port.carrier && m.mayEnable;
    const waiting = m.delayExpiresMs !== Number.POSITIVE_INFINITY;
    if ((up === m.enabled) === waiting) {
      const { name } = m.port;
      this.#info(`member ${name}: link state ${up ? 'up' : 'down'}`);
      if (up === m.enabled) {
        m.delayExpiresMs = Number.POSITIVE_INFINITY;
        this.#info(`member ${name}: will not be ${up ? 'disabled' : 'enabled'}`);
      } else {
        const delay = up ? this.#settings.updelayMs : this.#settings.downdelayMs;
        m.delayExpiresMs = nowMs + delay;
        const [what, state] = up ? ['enabled', 'up'] : ['disabled', 'down'];
        if (delay) this.#info(`member ${name}: will be ${what} if it stays ${state} for ${delay} ms`);
      }
    }
    if (nowMs >= m.delayExpiresMs) this.#enable(m, up);
  }

  // The active member.

  #isPrimary(m: Member): boolean {
    return m.port.name === this.#settings.primary;
  }

  #enabledPrimary(): Member | undefined {
    return [...this.#members.values()].find((m) => m.enabled && this.#isPrimary(m));
  }

  #byMac(mac: Uint8Array): Member | undefined {
    return [...this.#members.values()].find((m) => Buffer.compare(m.port.mac(), mac) === 0);
  }

  /** The primary, the one that was active last, any that is enabled, or the one that would be enabled first. */
  #best(): Member | undefined {
    const all = [...this.#members.values()];
    const last = this.#byMac(this.#activeMac);
    const found = this.#enabledPrimary() ?? (last?.enabled ? last : undefined) ?? all.find((m) => m.enabled);
    if (found) return found;
    const coming = all.filter((m) => m.delayExpiresMs !== Number.POSITIVE_INFINITY && m.mayEnable);
    return coming.sort((a, b) => a.delayExpiresMs - b.delayExpiresMs)[0];
  }

  #chooseActive(): void {
    const old = this.#active;
    const m = this.#best();
    this.#active = m;
    if (!m) {
      if (!old) return;
      this.#activeChanged();
      this.#info(`bond ${this.name}: all members disabled`);
      return;
    }
    if (m.enabled) this.#info(`bond ${this.name}: active member is now ${m.port.name}`);
    else {
      const left = m.delayExpiresMs - this.#host.nowMs();
      this.#info(
        `bond ${this.name}: active member is now ${m.port.name}, skipping remaining ${left} ms updelay ` +
          '(since no member was enabled)',
      );
      this.#enable(m, true);
    }
    this.#sendLearningPackets = true;
    if (m !== old) this.#activeChanged();
  }

  #activeChanged(): void {
    this.#activeMac = this.#active ? Uint8Array.from(this.#active.port.mac()) : new Uint8Array(6);
    this.#host.activeChanged();
  }

  // Learning packets.

  get #maySendLearningPackets(): boolean {
    const { lacpFallbackAb } = this.#settings;
    const byItself =
      (this.#lacpStatus === 'disabled' && this.mode !== 'balance-tcp') ||
      (lacpFallbackAb && this.#lacpStatus === 'configured');
    return byItself && this.#active !== undefined;
  }

  /** True once after a change that the switches around have to be told of, by a packet from each station behind the bridge. */
  shouldSendLearningPackets(): boolean {
    const send = this.#sendLearningPackets && this.#maySendLearningPackets;
    this.#sendLearningPackets = false;
    return send;
  }

  // Translation.

  get #fallsBack(): boolean {
    return this.#settings.lacpFallbackAb && this.mode !== 'active-backup' && this.#lacpStatus === 'configured';
  }

  get #mayRecirc(): boolean {
    return this.mode === 'balance-tcp' && this.#recircId !== 0 && !this.#fallsBack;
  }

  /** The links are found out by LACP, or nothing is. */
  check(port: XPort, dlDst: number): BondVerdict {
    const m = this.#members.get(port as BondPort);
    const verdict = m ? this.#verdict(m, dlDst) : 'drop';
    if (m && verdict !== 'accept') this.#logVerdict(m, verdict);
    return verdict;
  }

  #verdict(m: Member, dlDst: number): BondVerdict {
    const { lacpFallbackAb, allMembersActive } = this.#settings;
    switch (this.#lacpStatus) {
      case 'negotiated':
        // The partner knows of the bond and sends each packet once; on a disabled member it should send none.
        return m.enabled || m.mayEnable ? 'accept' : 'drop';
      case 'configured':
        if (!lacpFallbackAb) return 'drop';
        break;
      case 'disabled':
        if (this.mode === 'balance-tcp') return 'drop';
        break;
    }
    const manyTake = this.mode === 'balance-slb' && allMembersActive;
    if (isMulticastMac(dlDst) && this.#active !== m && !manyTake) return 'drop';
    if (this.mode === 'balance-slb') return 'drop_if_moved';
    return this.#active === m ? 'accept' : 'drop';
  }

  #logVerdict(m: Member, verdict: BondVerdict): void {
    const { log } = this.#host;
    if (!admissionLimit.withdraw((t) => log.dbg(t))) return;
    log.dbg(
      `bond ${this.name}: member ${m.port.name}: admissibility verdict is to drop pkt` +
        `${verdict === 'drop_if_moved' ? ' as different port is learned' : ''}, active member: ${this.#active === m}, ` +
        `may_enable: ${m.mayEnable}, enabled: ${m.enabled}, LACP status: ${lacpStatusText(this.#lacpStatus)}`,
    );
  }

  recirculation(): { recircId: number; basis: number; lbOutput: boolean } | undefined {
    if (!this.#mayRecirc) return undefined;
    return { recircId: this.#recircId, basis: this.#settings.hashBasis, lbOutput: this.#lbOutput };
  }

  chooseMember(
    flow: Flow,
    wc: FlowWildcards | undefined,
    vlan: number,
  ): { port: XPort | undefined; bucket: number | undefined } {
    const none = { port: undefined, bucket: undefined };
    let { mode } = this;
    if (this.#lacpStatus === 'configured') {
      if (!this.#settings.lacpFallbackAb) return none;
      mode = 'active-backup';
    }
    if (mode === 'active-backup' || !this.#hash) return { port: this.#active?.port, bucket: undefined };
    if (mode === 'balance-tcp' && this.#lacpStatus !== 'negotiated') return none;
    if (wc) maskHashFields(flow, wc, mode === 'balance-tcp' ? 'symmetric_l3l4+udp' : 'eth_src');
    const bucket = this.#hashOf(flow, vlan) & BOND_MASK;
    const entry = this.#hash[bucket];
    if (!entry.member?.enabled) entry.member = this.#nextEnabled();
    return { port: entry.member?.port, bucket };
  }

  /** The member that packets from a station leave by. */
  memberFor(mac: Uint8Array, vlan: number): XPort | undefined {
    const flow = new Flow();
    flow.dlSrc = mac;
    return this.chooseMember(flow, undefined, vlan).port;
  }

  #hashOf(flow: Flow, vlan: number): number {
    const basis = this.#settings.hashBasis;
    if (this.mode === 'balance-tcp') return hash5Tuple(flow, basis);
    return bondHashMac(macNumber(flow.dlSrc), vlan, basis);
  }

  /** Enabled members in turn. */
  #nextEnabled(): Member | undefined {
    const m = this.#enabled.shift();
    if (m) this.#enabled.push(m);
    return m;
  }

  // Balance.

  get #isBalanced(): boolean {
    const { rebalanceIntervalMs, lacpFallbackAb } = this.#settings;
    const fallsBack = lacpFallbackAb && this.#lacpStatus === 'configured';
    return rebalanceIntervalMs > 0 && this.mode !== 'active-backup' && !fallsBack;
  }

  /** Bytes were sent in a hash bucket that `chooseMember` gave. */
  account(bucket: number, bytes: number): void {
    const entry = this.#hash?.[bucket];
    if (entry && this.#isBalanced) entry.txBytes += bytes;
  }

  #resetHash(): void {
    this.#hash = undefined;
    if (this.mode !== 'active-backup' && !this.#fallsBack) {
      this.#hash = Array.from({ length: BOND_BUCKETS }, () => ({ member: undefined, txBytes: 0, seenBytes: 0 }));
      this.#nextRebalanceMs = this.#host.nowMs() + this.#settings.rebalanceIntervalMs;
    } else this.#unsteer();
  }

  /** Gives every bucket an enabled member, and tells rules or datapath. */
  #steer(force: boolean): void {
    let changed = force || this.#steered === undefined;
    this.#hash?.forEach((entry, i) => {
      if (entry.member?.enabled) return;
      const next = this.#enabled[i % this.#enabled.length] ?? this.#active;
      changed ||= next !== entry.member;
      entry.member = next;
    });
    if (!changed || !this.#hash) return;
    const ports = this.#hash.map((entry) => entry.member?.port);
    if (this.#lbOutput) this.#host.lbOutput!.set(this.#recircId, ports);
    else this.#host.setRules(this.#recircId, ports);
    this.#steered = this.#lbOutput ? 'lb_output' : 'rules';
  }

  #unsteer(): void {
    if (this.#steered === 'lb_output') this.#host.lbOutput!.del(this.#recircId);
    else if (this.#steered === 'rules') this.#host.setRules(this.#recircId, undefined);
    this.#steered = undefined;
  }

  #accountSteered(): void {
    const id = this.#recircId;
    const bytes = this.#lbOutput ? this.#host.lbOutput!.bytes(id) : this.#host.ruleBytes(id);
    this.#hash?.forEach((entry, i) => {
      const now = bytes[i] ?? 0;
      if (entry.member) entry.txBytes += Math.max(0, now - entry.seenBytes);
      entry.seenBytes = now;
    });
  }

  /** When `rebalance` has something to do; Infinity: never. */
  get rebalanceDueMs(): number {
    return this.#isBalanced ? this.#nextRebalanceMs : Number.POSITIVE_INFINITY;
  }

  /** Moves load between members if it is time. What flows have sent must have been accounted. */
  rebalance(): void {
    const nowMs = this.#host.nowMs();
    if (!this.#isBalanced || nowMs < this.#nextRebalanceMs || !this.#hash) return;
    this.#nextRebalanceMs = nowMs + this.#settings.rebalanceIntervalMs;
    if (this.#mayRecirc) this.#accountSteered();
    this.#logLoads();
    const shifts = planRebalance(this.#hash, this.#enabled);
    for (const s of shifts) {
      this.#host.log.info(
        `bond ${this.name}: shift ${kB(s.bytes)}kB of load (with hash ${s.hash}) from ${s.from.port.name} to ` +
          `${s.to.port.name} (now carrying ${kB(s.fromBytes)}kB and ${kB(s.toBytes)}kB load, respectively)`,
      );
      this.#hash[s.hash].member = s.to;
      this.#revalidate = true;
    }
    // Each run halves what was before: after seven, less than a hundredth of it counts.
    for (const entry of this.#hash) entry.txBytes = Math.floor(entry.txBytes / 2);
    if (shifts.length && this.#mayRecirc) this.#steer(true);
  }

  #logLoads(): void {
    const text = bondLoads(this.#hash!, this.#enabled).map(({ member, bytes, entries }) => {
      const parts = entries.map((e) => `h${e.hash}: ${kB(e.bytes)}kB`).join(' + ');
      return ` ${member.port.name} ${kB(bytes)}kB${parts && ` (${parts})`}`;
    });
    this.#host.log.dbg(`bond ${this.name}:${text.join(',')}`);
  }

  // Commands. Each returns the reply, or `error`.

  #memberByName(name: string): Member | undefined {
    return [...this.#members.values()].find((m) => m.port.name === name);
  }

  migrate(hash: string, memberName: string): string | { error: string } {
    if (this.mode !== 'balance-slb') return { error: 'not an SLB bond' };
    if (!/^\d+$/.test(hash)) return { error: 'bad hash' };
    const m = this.#memberByName(memberName);
    if (!m) return { error: 'no such member' };
    if (!m.enabled) return { error: 'cannot migrate to disabled member' };
    if (this.#hash) this.#hash[Number(BigInt(hash) & BigInt(BOND_MASK))].member = m;
    this.#revalidate = true;
    return 'migrated';
  }

  setActive(memberName: string): string | { error: string } {
    const m = this.#memberByName(memberName);
    if (!m) return { error: 'no such member' };
    if (!m.enabled) return { error: 'cannot make disabled member active' };
    if (this.#active === m) return 'no change';
    this.#revalidate = true;
    this.#active = m;
    this.#host.log.info(`bond ${this.name}: active member is now ${m.port.name}`);
    this.#sendLearningPackets = true;
    this.#activeChanged();
    return 'done';
  }

  /** By hand, until the link changes. */
  enableMember(memberName: string, enable: boolean): string | { error: string } {
    const m = this.#memberByName(memberName);
    if (!m) return { error: 'no such member' };
    this.#enable(m, enable);
    return enable ? 'enabled' : 'disabled';
  }

  /** As `bond/list` has it. */
  list(): string {
    const names = this.ports().map((p) => p.name);
    return `${this.name}\t${this.mode}\t${this.#recircId}\t${names.join(', ')}\n`;
  }

  /** As `bond/show` has it. */
  show(): string {
    const s = this.#settings;
    const id = this.#mayRecirc ? this.#recircId : -1;
    const lbOutput = this.#mayRecirc && this.#lbOutput;
    const primaryThere = s.primary === undefined || this.#memberByName(s.primary) !== undefined;
    const sorted = [...this.#members.values()].sort((a, b) => (a.port.name < b.port.name ? -1 : 1));
    return (
      `---- ${this.name} ----\n` +
      `bond_mode: ${this.mode}\n` +
      `bond may use recirculation: ${this.#mayRecirc ? 'yes' : 'no'}, Recirc-ID : ${id}\n` +
      `bond-hash-basis: ${s.hashBasis}\n` +
      `lb_output action: ${lbOutput ? 'enabled' : 'disabled'}, bond-id: ${lbOutput ? id : -1}\n` +
      (this.mode === 'balance-slb' ? `all members active: ${s.allMembersActive}\n` : '') +
      `updelay: ${s.updelayMs} ms\n` +
      `downdelay: ${s.downdelayMs} ms\n` +
      (this.#isBalanced ? `next rebalance: ${this.#nextRebalanceMs - this.#host.nowMs()} ms\n` : '') +
      `lacp_status: ${lacpStatusText(this.#lacpStatus)}\n` +
      `lacp_fallback_ab: ${s.lacpFallbackAb}\n` +
      `active-backup primary: ${s.primary ?? '<none>'}${primaryThere ? '' : ' (no such member)'}\n` +
      `active member mac: ${formatMac(this.#activeMac)}(${this.#byMac(this.#activeMac)?.port.name ?? 'none'})\n` +
      `${sorted.map((m) => this.#showMember(m)).join('')}\n`
    );
  }

  #showMember(m: Member): string {
    const lines = [`\nmember ${m.port.name}: ${m.enabled ? 'enabled' : 'disabled'}\n`];
    if (m === this.#active) lines.push('  active member\n');
    if (m.delayExpiresMs !== Number.POSITIVE_INFINITY) {
      const left = m.delayExpiresMs - this.#host.nowMs();
      lines.push(`  ${m.enabled ? 'downdelay' : 'updelay'} expires in ${left} ms\n`);
    }
    lines.push(`  may_enable: ${m.mayEnable}\n`);
    if (this.#isBalanced)
      this.#hash?.forEach((entry, hash) => {
        if (entry.member === m && kB(entry.txBytes)) lines.push(`  hash ${hash}: ${kB(entry.txBytes)} kB load\n`);
      });
    return lines.join('');
  }
}

const kB = (bytes: number): number => Math.floor(bytes / 1024);
