import { OFP10_VERSION, OFP11_VERSION, OFP12_VERSION, OFP14_VERSION } from '../../protocols/openflow.ts';
import { ofpPort } from '../base/types.ts';
import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import { FLOW_MEMBERS } from '../gen/flow.ts';
import { checkActions } from './action-check.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { portFromOfp10 } from './field.ts';
import { ETH_TYPE_IP, ETH_TYPE_IPV6 } from './field-prereq.ts';
import { pullInstructions, putInstructions } from './instruction.ts';
import type { Match } from './match.ts';
import type { DecodeContext, EncodeContext, MessageCodec, MessageCodecs } from './message-codec.ts';
import {
  FF_CHECK_OVERLAP,
  FF_EMERG,
  FF_NO_BYT_COUNTS,
  FF_NO_PKT_COUNTS,
  FF_RESET_COUNTS,
  FF_SEND_FLOW_REM,
  type FlowMod,
  type FlowModCommand,
  UINT64_MAX,
} from './messages.ts';
import { normalizeMatch } from './normalize.ts';
import { pullNxMatch, putNxMatch, putOxmMatch } from './nx-match.ts';
import { pullOfp10Match, pullOfp11Match, putOfp10Match, putOfp11Match } from './ofp-match.ts';
import { portFromOfp11 } from './port.ts';

/** Flow-mods in the forms of OpenFlow 1.0, of Nicira's NXM, and of 1.1+. */

const log = vlogModule('ofp_flow');
const rl = new VlogRateLimit(1, 5);

const COMMANDS: readonly FlowModCommand[] = ['add', 'modify', 'modify_strict', 'delete', 'delete_strict'];
const OFPG_ANY = 0xffffffff;
const TABLE_ANY = 255;

/** Appends a match as OpenFlow `version` has it. */
export function putMatch(w: Writer, m: Match, version: number): void {
  if (version === OFP10_VERSION) putOfp10Match(w, m);
  else if (version === OFP11_VERSION) putOfp11Match(w, m);
  else putOxmMatch(w, m, version);
}

/** Bits of the wire's flags: [wire, `FF_*`, first version, last version]. */
const FLAGS: readonly (readonly [number, number, number, number])[] = [
  [1, FF_SEND_FLOW_REM, 1, 6],
  [2, FF_CHECK_OVERLAP, 1, 6],
  [4, FF_EMERG, 1, 1],
  [4, FF_RESET_COUNTS, 3, 6],
  [8, FF_NO_PKT_COUNTS, 4, 6],
  [16, FF_NO_BYT_COUNTS, 4, 6],
];

export function flowFlagsFromWire(raw: number, version: number): number {
  let flags = 0;
  for (const [wire, flag, from, to] of FLAGS) {
    if (version < from || version > to || !(raw & wire)) continue;
    flags |= flag;
    raw &= ~wire;
  }
  if (raw) throw new OfDecodeError('OFPFMFC_BAD_FLAGS');
  return flags;
}

/** The flags that the version has. */
export function flowFlagsOnWire(version: number): number {
  let raw = 0;
  for (const [wire, , from, to] of FLAGS) if (version >= from && version <= to) raw |= wire;
  return raw;
}

export function flowFlagsToWire(flags: number, version: number): number {
  let raw = 0;
  for (const [wire, flag, from, to] of FLAGS) if (version >= from && version <= to && flags & flag) raw |= wire;
  return raw;
}

/** What stands before the actions; a command that is none is undefined. */
type FlowModHead = Omit<FlowMod, 'type' | 'actions' | 'flags' | 'command'> & {
  rawFlags: number;
  command: FlowModCommand | undefined;
};

/** A command with its table in the upper byte, when the connection has turned that on. */
function commandAndTable(raw: number, tableIds: boolean): Pick<FlowModHead, 'command' | 'tableId'> {
  if (!tableIds && raw > 0xff)
    log.warnRl(rl, 'flow_mod has explicit table_id but flow_mod_table_id extension is not enabled');
  const command = COMMANDS[tableIds ? raw & 0xff : raw];
  return { command, tableId: tableIds ? raw >> 8 : TABLE_ANY };
}

/** OFPFW_ALL of OpenFlow 1.0: without any of these the match is exact. */
const OFPFW10_ALL = 0x3fffff;

function pullFlowMod10(r: Reader, ctx: DecodeContext): FlowModHead {
  const exact = (r.peekU32() & OFPFW10_ALL) === 0;
  const match = pullOfp10Match(r);
  normalizeMatch(match);
  const newCookie = r.readU64();
  const { command, tableId } = commandAndTable(r.readU16(), ctx.flowModTableId);
  const [idleTimeout, hardTimeout, priority] = [r.readU16(), r.readU16(), r.readU16()];
  return {
    match,
    ...cookies10(newCookie, 0n, 0n),
    command,
    tableId,
    idleTimeout,
    hardTimeout,
    priority: exact ? 0xffff : priority,
    ...tail10(r),
  };
}

function cookies10(newCookie: bigint, cookie: bigint, cookieMask: bigint) {
  return { cookie, cookieMask, newCookie, modifyCookie: newCookie !== UINT64_MAX, importance: 0, outGroup: OFPG_ANY };
}

function tail10(r: Reader) {
  return { bufferId: r.readU32(), outPort: ofpPort(portFromOfp10(r.readU16())), rawFlags: r.readU16() };
}

function pullFlowModNx(r: Reader, ctx: DecodeContext): FlowModHead {
  const newCookie = r.readU64();
  const { command, tableId } = commandAndTable(r.readU16(), ctx.flowModTableId);
  const [idleTimeout, hardTimeout, priority] = [r.readU16(), r.readU16(), r.readU16()];
  const tail = tail10(r);
  const matchLen = r.readU16();
  r.skip(6);
  const { match, cookie, cookieMask } = pullNxMatchPadded(r, matchLen, true);
  if (command === 'add' && cookieMask !== 0n) throw new OfDecodeError('NXBRC_NXM_INVALID');
  return {
    match,
    ...cookies10(newCookie, cookie, cookieMask),
    command,
    tableId,
    idleTimeout,
    hardTimeout,
    priority,
    ...tail,
  };
}

/** An nx_match followed by padding to 8. */
export function pullNxMatchPadded(r: Reader, length: number, cookie: boolean, loose = false) {
  const padded = (length + 7) & ~7;
  if (padded > r.left) throw new OfDecodeError('OFPBMC_BAD_LEN');
  const out = pullNxMatch(r, length, { cookie, loose });
  r.skip(padded - length);
  return out;
}

function pullFlowMod11(r: Reader, { version }: DecodeContext): FlowModHead {
  const [cookie, cookieMask] = [r.readU64(), r.readU64()];
  const tableId = r.readU8();
  const command = COMMANDS[r.readU8()];
  const [idleTimeout, hardTimeout, priority] = [r.readU16(), r.readU16(), r.readU16()];
  const bufferId = r.readU32();
  const rawOutPort = r.readU32();
  const rawOutGroup = r.readU32();
  const rawFlags = r.readU16();
  const importance = r.readU16();
  const match = pullOfp11Match(r);
  const isDelete = command === 'delete' || command === 'delete_strict';
  if (tableId === TABLE_ANY && (version === OFP11_VERSION || !isDelete))
    throw new OfDecodeError('OFPFMFC_BAD_TABLE_ID');
  // OpenFlow 1.1: a modify that does not ask for a cookie adds the flow when there is none.
  const adds = command === 'add' || (version === OFP11_VERSION && !isDelete && cookieMask === 0n);
  return {
    match,
    priority,
    cookie: adds ? 0n : cookie,
    cookieMask: adds ? 0n : cookieMask,
    newCookie: adds ? cookie : UINT64_MAX,
    modifyCookie: false,
    command,
    tableId,
    idleTimeout,
    hardTimeout,
    importance: version >= OFP14_VERSION && command === 'add' ? importance : 0,
    bufferId,
    outPort: portFromOfp11(rawOutPort),
    outGroup: isDelete ? rawOutGroup : OFPG_ANY,
    rawFlags,
  };
}

const CT_IPV6_WORDS = (['ct_ipv6_src', 'ct_ipv6_dst'] as const).flatMap((name) => {
  const { offset, size } = FLOW_MEMBERS[name];
  return Array.from({ length: size / 4 }, (_, i) => offset / 4 + i);
});

function checkConntrackAddresses(m: Match): void {
  const { wc, flow } = m;
  const v4 = wc.ctNwSrc !== 0 || wc.ctNwDst !== 0;
  const v6 = CT_IPV6_WORDS.some((w) => wc.u32[w]);
  if ((v4 && flow.dlType !== ETH_TYPE_IP) || (v6 && flow.dlType !== ETH_TYPE_IPV6))
    throw new OfDecodeError('OFPBAC_MATCH_INCONSISTENT');
}

const flowMod: MessageCodec<'flow_mod'> = {
  decode(r, ctx) {
    const nx = ctx.raw === 'NXT_FLOW_MOD';
    const pull = nx ? pullFlowModNx : ctx.version === OFP10_VERSION ? pullFlowMod10 : pullFlowMod11;
    const { rawFlags, command, ...head } = pull(r, ctx);
    checkConntrackAddresses(head.match);
    if (!command) throw new OfDecodeError('OFPFMFC_BAD_COMMAND');
    const actions = pullInstructions(r, ctx.version);
    const flags = flowFlagsFromWire(rawFlags, ctx.version);
    if (flags & FF_EMERG) {
      const timeouts = head.idleTimeout || head.hardTimeout;
      throw new OfDecodeError(timeouts ? 'OFPFMFC_BAD_EMERG_TIMEOUT' : 'OFPFMFC_TABLE_FULL');
    }
    const error = checkActions(actions, head.match, {
      tableId: head.tableId,
      nTables: ctx.nTables,
      allowInconsistent: ctx.version === OFP10_VERSION,
    });
    if (error) throw new OfDecodeError(error);
    const reset = ctx.version < OFP12_VERSION && command === 'add' ? FF_RESET_COUNTS : 0;
    return { type: 'flow_mod', command, ...head, flags: flags | reset, actions };
  },
  encode(w, m, ctx) {
    if (ctx.raw === 'NXT_FLOW_MOD') putFlowModNx(w, m, ctx);
    else if (ctx.version === OFP10_VERSION) putFlowMod10(w, m, ctx);
    else putFlowMod11(w, m, ctx);
    putInstructions(w, m.actions, ctx.version);
  },
};

function command10(m: FlowMod, ctx: EncodeContext): number {
  const n = COMMANDS.indexOf(m.command);
  return ctx.flowModTableId ? (m.tableId << 8) | n : n;
}

function putTail10(w: Writer, m: FlowMod, version: number): void {
  w.putU16(m.idleTimeout);
  w.putU16(m.hardTimeout);
  w.putU16(m.priority);
  w.putU32(m.bufferId);
  w.putU16(m.outPort & 0xffff);
  w.putU16(flowFlagsToWire(m.flags, version));
}

function putFlowMod10(w: Writer, m: FlowMod, ctx: EncodeContext): void {
  putOfp10Match(w, m.match);
  w.putU64(m.newCookie);
  w.putU16(command10(m, ctx));
  putTail10(w, m, ctx.version);
}

function putFlowModNx(w: Writer, m: FlowMod, ctx: EncodeContext): void {
  w.putU64(m.newCookie);
  w.putU16(command10(m, ctx));
  putTail10(w, m, ctx.version);
  const lengthAt = w.length;
  w.putU16(0);
  w.putZeros(6);
  putNxMatchPadded(w, lengthAt, m.match, m.cookie, m.cookieMask);
}

/** Appends an nx_match and its padding, and its length at `lengthAt`. */
export function putNxMatchPadded(w: Writer, lengthAt: number, m: Match, cookie = 0n, cookieMask = 0n): void {
  const start = w.length;
  w.setU16(lengthAt, putNxMatch(w, m, 0, cookie, cookieMask));
  w.padTo(8, start);
}

function putFlowMod11(w: Writer, m: FlowMod, { version }: EncodeContext): void {
  const adds =
    m.command === 'add' || (version === OFP11_VERSION && m.command.startsWith('modify') && m.cookieMask === 0n);
  w.putU64(adds ? m.newCookie : m.cookie & m.cookieMask);
  w.putU64(adds ? 0n : m.cookieMask);
  w.putU8(tableOnWire(m, version));
  w.putU8(COMMANDS.indexOf(m.command));
  w.putU16(m.idleTimeout);
  w.putU16(m.hardTimeout);
  w.putU16(m.priority);
  w.putU32(m.bufferId);
  w.putU32(m.outPort);
  w.putU32(m.outGroup);
  w.putU16(flowFlagsToWire(m.flags, version));
  w.putU16(version >= OFP14_VERSION && m.command === 'add' ? m.importance : 0);
  putMatch(w, m.match, version);
}

/** "Any table" can be said in a delete of 1.2+ only; elsewhere it is table 0. */
function tableOnWire(m: FlowMod, version: number): number {
  const any = m.tableId === TABLE_ANY && (version === OFP11_VERSION || !m.command.startsWith('delete'));
  return any ? 0 : m.tableId;
}

export const FLOW: MessageCodecs = { flow_mod: flowMod };
