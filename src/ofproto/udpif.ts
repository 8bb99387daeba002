import type { Clock, ClockTimer } from '../base/clock.ts';
import type { DpAction, DpFlow, Dpif, Upcall } from '../dpif/dpif.ts';
import type { Flow } from '../flow/flow.ts';
import { applyEffect, type EffectHooks, type Traffic } from './effects.ts';
import { actionsEqual, bridgeFlow, exactWildcards, hasExtraBits, megaflowMask } from './megaflow.ts';
import type { BridgePort } from './port.ts';
import type { RecircIds } from './recirc.ts';
import { Ukey } from './ukey.ts';
import { lookupIngress } from './xlate/lookup.ts';
import type { Effect, SlowReason, XBridge, XlateOut } from './xlate/types.ts';
import { xlateActions } from './xlate/xlate.ts';

/**
 * Between a datapath and its bridges: answers upcalls, keeps the megaflows true (revalidation) and takes their counters. Control thread;
 * long work is done in slices, so that upcalls come through.
 */

export interface UdpifHost {
  /** The bridge port behind a datapath port; a tunnel's is told from others by the rest of the packet's `key`. */
  portOf(odpPort: number, key: Flow): BridgePort | undefined;
  readonly recircs: RecircIds;
  /** A packet that an action sends to the controllers. */
  controllerUpcall(upcall: Upcall): void;
  /** Once a revalidation round: ageing of MACs and flows. */
  expire(): void;
  warn(text: string): void;
  info(text: string): void;
  warnTunnel(text: string): void;
  /** Translation of packets like `flow` was given up because it went on for too long. */
  tooLong(bridge: XBridge, flow: Flow): void;
  readonly hooks: EffectHooks;
}

/** Longest time on end that revalidation holds the control thread. */
const SLICE_MS = 5;
/** How many ukeys between two looks at the clock. */
const SLICE_STEP = 64;
/** Up to so many megaflows are asked for their counters at once when somebody wants to know. */
const PUSH_NOW_MAX = 5000;
/** Above the flow limit, what has been idle for so long goes. */
const CROWDED_IDLE_MS = 100;

/** Effects that count packets; the others are what a packet teaches. */
const COUNTING: ReadonlySet<Effect['type']> = new Set<Effect['type']>([
  'table',
  'rule',
  'vport',
  'neighbour_used',
  'group',
  'mirror',
  'bond',
]);

export class Udpif {
  readonly dpif: Dpif;
  readonly #clock: Clock;
  readonly #host: UdpifHost;
  readonly #ukeys = new Map<DpFlow, Ukey>();
  flowLimit = 200_000;
  maxIdleMs = 10_000;
  maxRevalidatorMs = 500;
  /** Packets are not translated. */
  upcallsHeld = false;
  maxFlows = 0;
  avgFlows = 0;
  dumpDurationMs = 0;
  /** Bumped when a translation may come out differently. */
  #seq = 1;
  /** Round of revalidation that is under way. */
  #round: Iterator<Ukey> | undefined;
  #roundStartMs = 0;
  #roundSeq = 0;
  #doneSeq = 1;
  #timer: ClockTimer | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #closed = false;
  #megaflows = true;
  #paused = false;
  /** Flows are told apart by their identifiers; else a round reads them whole, and the log at DBG shows them. */
  ufid = true;

  constructor(dpif: Dpif, clock: Clock, host: UdpifHost) {
    this.dpif = dpif;
    this.#clock = clock;
    this.#host = host;
    dpif.setUpcallHandler((upcall) => this.upcall(upcall));
    this.#arm();
  }

  get nFlows(): number {
    return this.#ukeys.size;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    if (this.#immediate) clearImmediate(this.#immediate);
    for (const ukey of this.#ukeys.values()) this.#delete(ukey);
    this.dpif.setUpcallHandler(() => []);
  }

  /** Something that translations depend on has changed. */
  changed(): void {
    this.#seq++;
    this.#kick();
  }

  /** Answers an upcall; see `UpcallHandler`. */
  upcall(upcall: Upcall): readonly DpAction[] {
    if (this.upcallsHeld) return [];
    if (upcall.type === 'action' && upcall.userdata?.kind === 'controller') {
      this.#host.controllerUpcall(upcall);
      return [];
    }
    const seq = this.#seq;
    const out = this.#translate(upcall.key, upcall.packet);
    if (!out) return [];
    if (upcall.type === 'action') {
      // The megaflow that sent it counts it; only what the packet teaches is new.
      for (const e of teaching(out.effects)) this.#apply(e, this.#onePacket(upcall));
      this.#host.recircs.unrefAll(out.recircs);
      return explicitActions(out);
    }
    const traffic = this.#onePacket(upcall);
    for (const e of out.effects) this.#apply(e, traffic);
    if (this.#ukeys.size >= this.flowLimit || !this.#install(upcall.key, out, seq))
      this.#host.recircs.unrefAll(out.recircs);
    return explicitActions(out);
  }

  /** Takes the counters of all megaflows, when they are few enough to do it at once. */
  pushStats(): void {
    if (this.#ukeys.size <= PUSH_NOW_MAX) for (const ukey of this.#ukeys.values()) this.#push(ukey);
  }

  /** A round waits until it is over. */
  setPaused(paused: boolean): void {
    this.#paused = paused;
    if (!paused) this.#kick();
  }

  /** A whole round of revalidation, now. */
  revalidateAll(): void {
    if (this.#paused) return;
    this.#round = undefined;
    this.#startRound();
    while (this.#runSlice(Number.POSITIVE_INFINITY));
  }

  /** Whether flows of the datapath have wildcards; for measurements and tests. */
  setMegaflows(enable: boolean): void {
    this.#megaflows = enable;
    this.purge();
  }

  /** Deletes every megaflow. */
  purge(): void {
    for (const ukey of [...this.#ukeys.values()]) this.#delete(ukey);
  }

  /** Number of megaflows without traffic for `ms` and so on are told by the datapath; this lists all. */
  ukeys(): Iterable<Ukey> {
    return this.#ukeys.values();
  }

  #onePacket(upcall: Upcall): Traffic {
    const tcpFlags = upcall.key.tcpFlags;
    return { packets: 1, bytes: upcall.packet.length, usedMs: this.#clock.monotonicMs(), tcpFlags };
  }

  #apply(e: Effect, traffic: Traffic): void {
    applyEffect(e, traffic, this.#host.hooks);
  }

  /** Translates packets with datapath key `key`; undefined when they come from no bridge. */
  #translate(key: Flow, packet: Uint8Array | undefined): XlateOut | undefined {
    const from = lookupIngress(key, this.#host.recircs, (odp) => this.#host.portOf(odp, key));
    if (typeof from === 'string') return undefined;
    const { bridge } = from;
    const flow = bridgeFlow(key, from);
    const out = xlateActions({
      bridge,
      flow,
      packet,
      learnNow: packet !== undefined,
      warn: (text) => this.#host.warn(text),
      info: (text) => this.#host.info(text),
      warnTunnel: (text) => this.#host.warnTunnel(text),
    });
    if (packet && (out.error === 'recursion_too_deep' || out.error === 'too_many_resubmits'))
      this.#host.tooLong(bridge, flow);
    return out;
  }

  /** True when the translation's references to recirculation numbers went to the megaflow. */
  #install(key: Flow, out: XlateOut, seq: number): boolean {
    const { recircs } = this.#host;
    // A packet that was recirculated may be cached only while the state that it came back to is held.
    if (out.avoidCaching || (key.recircId && !recircs.ref(key.recircId))) return false;
    const held = key.recircId ? [...out.recircs, key.recircId] : out.recircs;
    const mask = megaflowMask(key, out.wc);
    if (!this.#megaflows) mask.orWith(exactWildcards(key));
    const actions = installedActions(out);
    const dpFlow = this.dpif.flowPut(key, mask, actions);
    if (!dpFlow) {
      if (key.recircId) recircs.unref(key.recircId);
      return false;
    }
    let ukey = this.#ukeys.get(dpFlow);
    if (ukey) {
      this.#push(ukey);
      recircs.unrefAll(ukey.recircs);
      ukey.actions = actions;
      ukey.effects = out.effects;
      ukey.seq = seq;
    } else {
      ukey = new Ukey(dpFlow, key, mask, actions, out.effects, seq, this.#clock.monotonicMs());
      this.#ukeys.set(dpFlow, ukey);
      this.maxFlows = Math.max(this.maxFlows, this.#ukeys.size);
    }
    ukey.recircs = held;
    return true;
  }

  #credit(ukey: Ukey, stats: ReturnType<Dpif['flowStats']>): void {
    const { packets, bytes } = ukey.take(stats);
    if (packets <= 0) return;
    const traffic = { packets, bytes, usedMs: stats.usedMs, tcpFlags: stats.tcpFlags };
    for (const e of ukey.effects) this.#apply(e, traffic);
  }

  /** Credits what came since the last time. Returns when the flow was last used. */
  #push(ukey: Ukey): number {
    const stats = this.dpif.flowStats(ukey.dpFlow);
    this.#credit(ukey, stats);
    return stats.usedMs || ukey.createdMs;
  }

  #delete(ukey: Ukey): void {
    this.#forget(ukey);
    this.#credit(
      ukey,
      this.dpif.flowDel(ukey.dpFlow, (final) => this.#credit(ukey, final)),
    );
  }

  #forget(ukey: Ukey): void {
    this.#ukeys.delete(ukey.dpFlow);
    this.#host.recircs.unrefAll(ukey.recircs);
    ukey.recircs = [];
  }

  #revalidate(ukey: Ukey, nowMs: number): void {
    if (ukey.dpFlow.dead) {
      this.#forget(ukey);
      return;
    }
    const usedMs = this.#push(ukey);
    const maxIdleMs = this.#ukeys.size > this.flowLimit ? CROWDED_IDLE_MS : this.maxIdleMs;
    if (nowMs - usedMs > maxIdleMs) this.#delete(ukey);
    else if (ukey.seq !== this.#seq) this.#retranslate(ukey);
  }

  /** Brings a megaflow up to date, or deletes it when its mask is too wide for what it must now tell apart. */
  #retranslate(ukey: Ukey): void {
    const seq = this.#seq;
    const { key } = ukey;
    const out = this.#translate(key, undefined);
    if (!out || out.avoidCaching || hasExtraBits(megaflowMask(key, out.wc), ukey.mask)) {
      this.#host.recircs.unrefAll(out?.recircs ?? []);
      this.#delete(ukey);
      return;
    }
    const before = ukey.recircs;
    const own = key.recircId ? before.slice(-1) : [];
    ukey.recircs = [...out.recircs, ...own];
    this.#host.recircs.unrefAll(before.slice(0, before.length - own.length));
    const actions = installedActions(out);
    if (!actionsEqual(actions, ukey.actions)) {
      this.dpif.flowMod(ukey.dpFlow, actions);
      ukey.actions = actions;
      this.#push(ukey);
    }
    ukey.effects = out.effects;
    ukey.seq = seq;
  }

  #arm(): void {
    this.#timer?.cancel();
    if (!this.#closed) this.#timer = this.#clock.after(this.maxRevalidatorMs, () => this.#tick());
  }

  #tick(): void {
    this.#arm();
    if (!this.#round && !this.#paused) this.#startRound();
    this.#kick();
  }

  /** Has the slices run, as soon as the event loop is free. */
  #kick(): void {
    if (this.#closed || this.#paused || this.#immediate) return;
    this.#immediate = setImmediate(() => {
      this.#immediate = undefined;
      if (!this.#round && this.#doneSeq !== this.#seq) this.#startRound();
      if (this.#runSlice(SLICE_MS)) this.#kick();
    });
  }

  #startRound(): void {
    if (!this.ufid) this.dpif.logFlows?.();
    this.#round = this.#ukeys.values();
    this.#roundStartMs = this.#clock.monotonicMs();
    this.#roundSeq = this.#seq;
  }

  /** Goes on with the round for at most `ms`; true when there is more to do. */
  #runSlice(ms: number): boolean {
    if (!this.#round) return false;
    const endMs = performance.now() + ms;
    const nowMs = this.#clock.monotonicMs();
    for (let n = 0; ; n++) {
      const next = this.#round.next();
      if (next.done) break;
      this.#revalidate(next.value, nowMs);
      if (n % SLICE_STEP === SLICE_STEP - 1 && performance.now() >= endMs) return true;
    }
    this.#endRound();
    return this.#round !== undefined;
  }

  #endRound(): void {
    this.#round = undefined;
    this.#doneSeq = this.#roundSeq;
    this.dumpDurationMs = Math.max(1, Math.round(this.#clock.monotonicMs() - this.#roundStartMs));
    this.avgFlows = Math.round((this.avgFlows + this.#ukeys.size) / 2);
    this.#host.expire();
    if (this.#doneSeq !== this.#seq) this.#kick();
  }
}

/** Effects that each packet has by itself, also in the underlay. */
function teaching(effects: readonly Effect[]): Effect[] {
  return effects
    .filter((e) => !COUNTING.has(e.type))
    .map((e) => (e.type === 'encapsulated' ? { ...e, effects: teaching(e.effects) } : e));
}

/** What goes into the datapath: what the packet gets, or the way back here when each packet must be translated. */
function installedActions(out: XlateOut): readonly DpAction[] {
  const reason: SlowReason | undefined = out.slow.values().next().value;
  if (reason) return [{ type: 'userspace', userdata: { kind: 'slow_path', reason } }];
  return explicitActions(out);
}

/** Nothing to do is a drop that can be counted. */
function explicitActions(out: XlateOut): readonly DpAction[] {
  return out.actions.length ? out.actions : [{ type: 'drop', reason: out.dropReason }];
}
