import type { DpUserdata } from '../../dpif/dpif.ts';
import { Flow } from '../../flow/flow.ts';
import { FLOW_MEMBERS } from '../../gen/flow.ts';
import { mf } from '../../openflow/field.ts';
import { OFPP_IN_PORT } from '../ports.ts';
import type { XlateCtx } from './context.ts';
import type { FrozenState, XlateOfpact } from './types.ts';

/**
 * Freezing: translation has to stop (the packet must be parsed anew, hashed, tracked, or shown to a controller) and leaves behind what is
 * needed to go on: the actions that were not run yet, at every level of resubmits, and the pipeline's state. See `FrozenState`.
 */

export function triggerFreeze(ctx: XlateCtx): void {
  ctx.exit = true;
  ctx.freezing = true;
}

export function triggerRecirculateWithHash(ctx: XlateCtx, algorithm: number, basis: number): void {
  triggerFreeze(ctx);
  ctx.recircHash = { algorithm, basis };
}

export function cancelFreeze(ctx: XlateCtx): void {
  if (!ctx.freezing) return;
  ctx.freezing = false;
  ctx.recircHash = undefined;
  ctx.frozenActions = [];
  ctx.pause = undefined;
}

/** Actions that tell a controller of table and cookie. */
const NAMES_RULE: ReadonlySet<XlateOfpact['type']> = new Set<XlateOfpact['type']>([
  'output_reg',
  'output_trunc',
  'group',
  'output',
  'controller',
  'dec_mpls_ttl',
  'dec_nsh_ttl',
  'dec_ttl',
]);

const METADATA = mf('metadata');

const be64 = (n: bigint): Uint8Array => {
  const b = new Uint8Array(8);
  new DataView(b.buffer).setBigUint64(0, n);
  return b;
};

/** Says whose actions follow, when that differs from what was said last. */
function putUnroll(ctx: XlateCtx): void {
  const last = ctx.frozenActions.findLast((a) => a.type === 'unroll_xlate');
  if (last?.tableId === ctx.tableId && last.cookie === ctx.ruleCookie) return;
  ctx.frozenActions.push({ type: 'unroll_xlate', tableId: ctx.tableId, cookie: ctx.ruleCookie });
}

/** Saves actions that are not run now. Instructions become actions that do the same. */
export function freezeActions(ctx: XlateCtx, actions: readonly XlateOfpact[]): void {
  for (const a of actions) {
    if (a.type === 'note' || a.type === 'conjunction') continue;
    if (a.type === 'goto_table') {
      ctx.frozenActions.push({ type: 'resubmit', inPort: OFPP_IN_PORT, tableId: a.tableId, withCtOrig: false });
      continue;
    }
    if (a.type === 'write_metadata') {
      const [value, mask] = [be64(a.metadata), be64(a.mask)];
      ctx.frozenActions.push({ type: 'set_field', field: METADATA, value, mask, load: false });
      continue;
    }
    if (NAMES_RULE.has(a.type) || (a.type === 'resubmit' && a.tableId === 255)) putUnroll(ctx);
    ctx.frozenActions.push(a);
  }
}

const TUNNEL_END = FLOW_MEMBERS.tun_metadata.offset + FLOW_MEMBERS.tun_metadata.size;
const METADATA_AT = FLOW_MEMBERS.metadata.offset;
const REGS_END = FLOW_MEMBERS.reg15.offset + 4;

/** The part of a flow that the datapath does not keep. */
export function frozenMetadata(flow: Flow): Flow {
  const md = new Flow();
  md.u8.set(flow.u8.subarray(0, TUNNEL_END));
  md.u8.set(flow.u8.subarray(METADATA_AT, REGS_END), METADATA_AT);
  md.inPort = flow.inPort;
  md.tunTable = flow.tunTable;
  return md;
}

export function thawMetadata(md: Flow, flow: Flow): void {
  flow.u8.set(md.u8.subarray(0, TUNNEL_END));
  flow.u8.set(md.u8.subarray(METADATA_AT, REGS_END), METADATA_AT);
  flow.inPort = md.inPort;
  flow.tunTable = md.tunTable;
}

/** The state of now, with no actions to run. */
export function snapshot(ctx: XlateCtx, tableId: number, more: Partial<FrozenState> = {}): FrozenState {
  return {
    tableId,
    bridge: ctx.bridge,
    metadata: frozenMetadata(ctx.flow),
    stack: [...ctx.stack],
    mirrors: ctx.mirrors,
    conntracked: ctx.conntracked,
    wasMpls: ctx.wasMpls,
    xport: undefined,
    actions: [],
    actionSet: [],
    userdata: undefined,
    ...more,
  };
}

/** The number of a state; the result of the translation holds a reference to it. */
export function allocRecircId(ctx: XlateCtx, state: FrozenState): number {
  const id = ctx.bridge.recircs.alloc(state);
  ctx.recircs.push(id);
  return id;
}

export interface ControllerUpcall {
  reason: number;
  controllerId: number;
  maxLen: number;
  dontSend: boolean;
  continuation: boolean;
  recircId: number;
  tableId: number;
  userdata?: Uint8Array | undefined;
}

/** What goes up with a packet for the controllers. */
export function controllerUserdata(ctx: XlateCtx, c: ControllerUpcall): DpUserdata {
  const { userdata, ...rest } = c;
  return {
    kind: 'controller',
    ...rest,
    cookie: ctx.ruleCookie,
    metadata: frozenMetadata(ctx.flow),
    bridge: ctx.bridge.name,
    ...(userdata ? { userdata } : {}),
  };
}

/** Ends freezing: the datapath, or a controller, gets a number to come back with. The number, or 0 when the packet goes nowhere. */
export function finishFreezingAt(ctx: XlateCtx, tableId: number): number {
  const { pause } = ctx;
  const state = snapshot(ctx, tableId, {
    xport: ctx.xport,
    actions: ctx.frozenActions,
    actionSet: [...ctx.actionSet],
    userdata: pause?.userdata,
  });
  const recircId = allocRecircId(ctx, state);
  if (pause) {
    if (!ctx.sideEffects) return 0;
    const { reason, controllerId, maxLen, userdata } = pause;
    const upcall = { reason, controllerId, maxLen, userdata, dontSend: false, continuation: true, recircId, tableId };
    ctx.actions.push({ type: 'userspace', userdata: controllerUserdata(ctx, upcall) });
  } else {
    if (ctx.recircHash) {
      const { algorithm, basis } = ctx.recircHash;
      ctx.actions.push({ type: 'hash', algorithm: algorithm === 0 ? 'l4' : 'sym_l4', basis });
    }
    ctx.actions.push({ type: 'recirc', recircId });
  }
  cancelFreeze(ctx);
  return recircId;
}

export function finishFreezing(ctx: XlateCtx): void {
  ctx.commit();
  finishFreezingAt(ctx, 0);
}
