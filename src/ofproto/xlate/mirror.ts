import { macNumber } from '../mac-learning.ts';
import type { XlateCtx } from './context.ts';
import { isReservedMac } from './reserved.ts';
import type { XBundle, XMirror, XPort } from './types.ts';
import {
  extractTags,
  includesVlan,
  inputBundle,
  inputVidIsValid,
  type Tags,
  translateInput,
  VLAN_CFI,
  VLAN_VID,
} from './vlan.ts';

/** Mirrors: copies of what comes in by a Port, or leaves by it, to another Port (SPAN) or into a VLAN (RSPAN). */

/** Sends to a Port; `tags` are those inside the switch. */
export type Output = (ctx: XlateCtx, out: XBundle, tags: Tags) => void;

/** A packet came into the bridge. */
export function mirrorIngress(ctx: XlateCtx, output: Output): void {
  if (ctx.bridge.mirrors.length === 0) return;
  const bundle = inputBundle(ctx, ctx.flow.inPort);
  if (bundle) mirrorPacket(ctx, bundle, bundle.mirrorSrc, output);
}

/** A packet was output by `port`. */
export function mirrorEgress(ctx: XlateCtx, port: XPort, output: Output): void {
  if (ctx.bridge.mirrors.length > 0 && port.bundle) mirrorPacket(ctx, port.bundle, port.bundle.mirrorDst, output);
}

/** Sends the packet to those of `candidates` (bits) that select its VLAN and have not had it. */
function mirrorPacket(ctx: XlateCtx, bundle: XBundle, candidates: number, output: Output): void {
  const raw = extractTags(ctx.flow);
  if (!inputVidIsValid(ctx, bundle, raw[0].vid)) return;
  let left = candidates & ~ctx.mirrors;
  if (left && (bundle.vlanMode !== 'trunk' || bundle.trunks)) ctx.wc.vlanTci0 |= VLAN_CFI | VLAN_VID;
  const tags = translateInput(bundle, raw);
  let used = 0;
  while (left) {
    const index = 31 - Math.clz32(left & -left);
    const mirror = ctx.bridge.mirrors[index];
    left &= ~(1 << index);
    if (!mirror || !selectsVlan(ctx, mirror, tags[0].vid)) continue;
    used |= 1 << index;
    // Noted first: what is sent below may be mirrored itself.
    ctx.mirrors |= mirror.dups;
    ctx.mirrorSnaplen = mirror.snaplen;
    send(ctx, mirror, tags, output);
    left &= ~ctx.mirrors;
    ctx.mirrorSnaplen = 0;
  }
  if (used) ctx.effects.push({ type: 'mirror', bridge: ctx.bridge, mirrors: used });
}

function selectsVlan(ctx: XlateCtx, { vlans }: XMirror, vid: number): boolean {
  if (!vlans) return true;
  ctx.wc.vlanTci0 |= VLAN_CFI | VLAN_VID;
  return vlans.has(vid);
}

function send(ctx: XlateCtx, { out, outVlan }: XMirror, tags: Tags, output: Output): void {
  if (out) output(ctx, out, tags);
  else if (outVlan !== undefined && tags[0].vid !== outVlan && !isReservedMac(macNumber(ctx.flow.dlDst))) {
    const moved: Tags = [{ ...tags[0], vid: outVlan }, tags[1]];
    for (const b of [...ctx.bridge.xbundles()]) if (includesVlan(b, moved) && !b.mirrorOut) output(ctx, b, moved);
  }
}
