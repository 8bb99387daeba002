import { NX_HASH_FIELDS } from '../../../protocols/openflow-actions.ts';
import { hash2Words } from '../../base/hash.ts';
import type { OfpPort } from '../../base/types.ts';
import { hashFlowFields, maskHashFields } from '../../flow/flow-hash.ts';
import type { OfpactOf } from '../../openflow/actions.ts';
import { OFPP_ALL, OFPP_CONTROLLER, OFPP_FLOOD, OFPP_IN_PORT, OFPP_NONE, OFPP_NORMAL, OFPP_TABLE } from '../ports.ts';
import type { RunOptions, XlateCtx } from './context.ts';
import { loadSubfield } from './fields.ts';
import { outputAction } from './output.ts';

/** multipath and bundle: one of several links, by a hash of the packet's headers. */

type Multipath = OfpactOf<'multipath'>;

/** Highest random weight. */
function hrw(hash: number, nLinks: number): number {
  let [best, bestWeight] = [0, hash2Words(hash, 0)];
  for (let link = 1; link < nLinks; link++) {
    const weight = hash2Words(hash, link);
    if (weight > bestWeight) [best, bestWeight] = [link, weight];
  }
  return best;
}

/** Hashes again until a link comes out, modulo something not less than their number. */
function iterHash(hash: number, nLinks: number, arg: number): number {
  const modulo = arg < nLinks || arg / 2 > nLinks ? 2 ** Math.ceil(Math.log2(nLinks)) : arg;
  for (let i = 0; ; i++) {
    const link = hash2Words(hash, i) % modulo;
    if (link < nLinks) return link;
  }
}

const HRW_MAX = 64;

/** The link, from 0 on, that `hash` belongs to. */
export function multipathLink(hash: number, a: Pick<Multipath, 'algorithm' | 'maxLink' | 'arg'>): number {
  const nLinks = a.maxLink + 1;
  switch (a.algorithm) {
    case 'modulo_n':
      return hash % nLinks;
    case 'hash_threshold':
      return nLinks === 1 ? 0 : Math.floor(hash / (Math.floor(0xffffffff / nLinks) + 1));
    case 'hrw':
      return nLinks <= HRW_MAX ? hrw(hash, nLinks) : iterHash(hash, nLinks, 0);
    case 'iter_hash':
      return iterHash(hash, nLinks, a.arg);
  }
}

export function multipath(ctx: XlateCtx, a: Multipath): void {
  const { flow, wc } = ctx;
  const fields = NX_HASH_FIELDS[a.fields];
  const link = multipathLink(hashFlowFields(flow, fields, a.basis), a);
  maskHashFields(flow, wc, fields);
  loadSubfield(ctx, a.dst, link);
}

/** Reserved ports that are always fit to carry packets. */
const ALWAYS: ReadonlySet<number> = new Set([OFPP_IN_PORT, OFPP_TABLE, OFPP_NORMAL, OFPP_FLOOD, OFPP_ALL, OFPP_NONE]);

const memberIsLive = ({ bridge }: XlateCtx, port: OfpPort): boolean =>
  ALWAYS.has(port) || (port !== OFPP_CONTROLLER && bridge.xport(port)?.live === true);

/** The member that a packet belongs to; OFPP_NONE when none is live. */
function chooseMember(ctx: XlateCtx, a: OfpactOf<'bundle'>): number {
  const { flow, wc } = ctx;
  if (a.algorithm === 'active_backup') return a.members.find((m) => memberIsLive(ctx, m)) ?? OFPP_NONE;
  const fields = NX_HASH_FIELDS[a.fields];
  if (a.members.length > 1) maskHashFields(flow, wc, fields);
  const flowHash = hashFlowFields(flow, fields, a.basis);
  let best: number = OFPP_NONE;
  let bestHash = -1;
  a.members.forEach((m, i) => {
    const hash = memberIsLive(ctx, m) ? hash2Words(i, flowHash) : -1;
    if (hash > bestHash) [best, bestHash] = [m, hash];
  });
  return best;
}

export function bundle(ctx: XlateCtx, a: OfpactOf<'bundle'>, opts: RunOptions): void {
  const port = chooseMember(ctx, a);
  if (a.dst) loadSubfield(ctx, a.dst, port & 0xffff);
  else outputAction(ctx, port, opts);
}
