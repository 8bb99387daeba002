import {
  NX_CT_F_COMMIT,
  NX_CT_F_FORCE,
  NX_CT_RECIRC_NONE,
  NX_NAT_F_DST,
  NX_NAT_F_PERSISTENT,
  NX_NAT_F_PROTO_HASH,
  NX_NAT_F_PROTO_RANDOM,
  NX_NAT_F_SRC,
} from '../../../protocols/openflow-actions.ts';
import type { DpAction, DpNat } from '../../dpif/dpif.ts';
import { FLOW_MEMBERS } from '../../gen/flow.ts';
import type { OfpactOf } from '../../openflow/actions.ts';
import { mf } from '../../openflow/field.ts';
import { clearConntrack, type XlateCtx } from './context.ts';
import { maskSubfield, subfieldNumber } from './fields.ts';
import { finishFreezingAt } from './freeze.ts';

/** ct, ct_clear and nat: connection tracking, in the datapath. */

const HELPERS: Readonly<Record<number, string>> = { 21: 'ftp', 69: 'tftp' };
/** Events of a connection that a listener is told: new, related, destroy, mark, label (IPCT_* of the kernel). */
const EVENTMASK = 0x0707;
const LABEL = FLOW_MEMBERS.ct_label;

/** Fields that a frozen state keeps: a megaflow of its recirculation number need not look at them. */
const [TUN_ID, IN_PORT_OXM, REG0, ETH_SRC] = ['tun_id', 'in_port_oxm', 'reg0', 'eth_src'].map((name) => mf(name).id);
const isFrozenMetadata = (id: number): boolean => (id >= TUN_ID && id <= IN_PORT_OXM) || (id >= REG0 && id < ETH_SRC);

function zoneOf(ctx: XlateCtx, { zone }: OfpactOf<'ct'>): number {
  if (typeof zone === 'number') return zone;
  if (!ctx.frozen || !isFrozenMetadata(zone.field.id)) maskSubfield(ctx, zone);
  return subfieldNumber(ctx.flow, zone);
}

const number = (b: Uint8Array): bigint => b.reduce((n, byte) => n * 256n + BigInt(byte), 0n);

function natOf({ flags, range }: OfpactOf<'nat'>): DpNat {
  if (!(flags & (NX_NAT_F_SRC | NX_NAT_F_DST))) return {};
  const { addrMin, addrMax, portMin, portMax } = range;
  const nat: DpNat = { type: flags & NX_NAT_F_SRC ? 'src' : 'dst' };
  if (flags & NX_NAT_F_PERSISTENT) nat.persistent = true;
  if (flags & NX_NAT_F_PROTO_HASH) nat.ports = 'hash';
  else if (flags & NX_NAT_F_PROTO_RANDOM) nat.ports = 'random';
  if (!addrMin) return nat;
  nat.ipMin = addrMin;
  if (addrMax && number(addrMax) > number(addrMin)) nat.ipMax = addrMax;
  if (!portMin) return nat;
  nat.portMin = portMin;
  if (portMax && portMax > portMin) nat.portMax = portMax;
  return nat;
}

/** The datapath's action; mark and labels are those bits that the nested actions wrote. */
function ctAction(ctx: XlateCtx, a: OfpactOf<'ct'>, zone: number): DpAction {
  const { flow, wc } = ctx;
  const label = (f: typeof wc | typeof flow) => f.u8.slice(LABEL.offset, LABEL.offset + LABEL.size);
  const commit = (a.flags & NX_CT_F_COMMIT) !== 0;
  const action: Extract<DpAction, { type: 'ct' }> = {
    type: 'ct',
    commit,
    force: commit && (a.flags & NX_CT_F_FORCE) !== 0,
    zone,
  };
  if (commit && ctx.support.ctEventmask) action.eventmask = EVENTMASK;
  if (wc.ctMark) action.mark = { value: (flow.ctMark & wc.ctMark) >>> 0, mask: wc.ctMark };
  const mask = label(wc);
  if (mask.some((b) => b !== 0)) action.labels = { value: label(flow).map((b, i) => b & mask[i]), mask };
  if (a.alg) {
    const helper = HELPERS[a.alg];
    if (helper) action.helper = helper;
    else ctx.reportError(`cannot serialize ct_helper ${a.alg}`);
  }
  if (ctx.ctNat) action.nat = natOf(ctx.ctNat);
  return action;
}

/** The clone of the packet that comes back tracked goes on in `table`. */
function forkToTable(ctx: XlateCtx, table: number, zone: number): void {
  ctx.freezing = true;
  const recircId = finishFreezingAt(ctx, table);
  const queue = ctx.xin.recircQueue;
  if (!ctx.trace || !recircId) return;
  if (!queue) {
    ctx.report('detail', `Failed to trace the conntrack forked pipeline with recirc_id = ${recircId}.`);
    return;
  }
  const flow = ctx.flow.clone();
  flow.recircId = recircId;
  flow.ctZone = zone;
  ctx.bridge.recircs.ref(recircId);
  queue.push({ kind: 'conntrack', flow, nat: ctx.ctNat, packet: ctx.xin.packet, recircId });
  ctx.report(
    'detail',
    `A clone of the packet is forked to recirculate. The forked pipeline will be resumed at table ${table}.`,
  );
}

export function ct(ctx: XlateCtx, a: OfpactOf<'ct'>, last: boolean): void {
  const { wc } = ctx;
  const zone = zoneOf(ctx, a);
  const markMask = wc.ctMark;
  const labelMask = wc.u8.slice(LABEL.offset, LABEL.offset + LABEL.size);
  ctx.commit();
  // The nested actions write mark and label, and name the translation of addresses.
  ctx.ctNat = undefined;
  wc.ctMark = 0;
  wc.u8.fill(0, LABEL.offset, LABEL.offset + LABEL.size);
  ctx.run(a.actions, { last });
  ctx.actions.push(ctAction(ctx, a, zone));
  wc.ctMark = markMask;
  wc.u8.set(labelMask, LABEL.offset);
  if (a.recircTable !== NX_CT_RECIRC_NONE) {
    ctx.conntracked = true;
    forkToTable(ctx, a.recircTable, zone);
  }
  ctx.ctNat = undefined;
  // Only what comes back is tracked.
  clearConntrack(ctx.flow);
  ctx.report('detail', 'Sets the packet to an untracked state, and clears all the conntrack fields.');
  ctx.conntracked = false;
}

export function ctClear(ctx: XlateCtx): void {
  if (!ctx.conntracked) return;
  ctx.conntracked = false;
  clearConntrack(ctx.flow);
  if (ctx.support.ctClear) ctx.actions.push({ type: 'ct_clear' });
}
