import { OFP12_VERSION, OFP14_VERSION } from '../../protocols/openflow.ts';
import type { MaskShape, MatchValues } from '../flow/mask-shape.ts';
import { checkActions } from './action-check.ts';
import type { Ofpact, OfpactType } from './actions.ts';
import { OfDecodeError, Reader } from './buffer.ts';
import { MatchTemplate } from './flow-add-template.ts';
import { pullInstructions } from './instruction.ts';
import { type FlowMod, OFP_NO_BUFFER } from './messages.ts';
import { flowFlagsFromWire, flowFlagsOnWire } from './msg-flow.ts';
import type { TunTable } from './tun-metadata.ts';

/**
 * A short cut for the flow-mods that come by the hundred thousand: those that add a flow, in the form of OpenFlow 1.2 and later, and differ from
 * another one of the same connection in addresses, ports and numbers alone. It reads what `decode` would, or leaves it to `decode`.
 */

/** A flow to be added; a value of its own except `actions`, which many share. */
export interface FlowAdd {
  tableId: number;
  priority: number;
  cookie: bigint;
  /** It brings no cookie of its own. */
  keepCookie: boolean;
  idleTimeout: number;
  hardTimeout: number;
  importance: number;
  /** `FF_*`. */
  flags: number;
  actions: readonly Ofpact[];
  shape: MaskShape;
  values: MatchValues;
  tunTable: TunTable | undefined;
}

/*  ofp_flow_mod (OpenFlow 1.4 section 7.3.4.2), from the start of the message:
 *   8 cookie        24 table    25 command   26 idle   28 hard   30 priority
 *  32 buffer        36 port     40 group     44 flags  46 importance
 *  48 ofp_match: type 16 bits, length 16 bits, entries; then padding to 8, and the instructions  */
const OFPT_FLOW_MOD = 14;
const MATCH_AT = 48;
const OFPMT_OXM = 1;
/** Larger tables are not for controllers. */
const MAX_TABLE = 253;

/** Actions that can be shared: nothing is ever noted in them. */
const SHARABLE: ReadonlySet<OfpactType> = new Set<OfpactType>([
  'output',
  'group',
  'set_field',
  'strip_vlan',
  'push_vlan',
  'dec_ttl',
  'set_queue',
  'set_tunnel',
  'resubmit',
  'meter',
  'clear_actions',
  'write_metadata',
  'goto_table',
]);

interface KnownActions {
  template: MatchTemplate;
  tableId: number;
  bytes: Uint8Array;
  actions: readonly Ofpact[];
}

/** Templates of one length; the last one used is the first. */
const MAX_TEMPLATES = 16;
/** A power of two. */
const KNOWN_ACTIONS = 256;
/** Longer lists are not kept. */
const MAX_KNOWN_BYTES = 256;

const u16 = (u8: Uint8Array, at: number): number => (u8[at] << 8) | u8[at + 1];
const u32 = (u8: Uint8Array, at: number): number =>
  ((u8[at] << 24) | (u8[at + 1] << 16) | (u8[at + 2] << 8) | u8[at + 3]) >>> 0;

/** FNV-1a of the rest of a message. */
function slotOf(u8: Uint8Array, from: number): number {
  let h = 0x811c9dc5;
  for (let i = from; i < u8.length; i++) h = Math.imul(h ^ u8[i], 0x01000193);
  return (h ^ (h >>> 16)) & (KNOWN_ACTIONS - 1);
}

/** Of one connection: its version and its switch stay the same; when the bridge's TLV table changes, everything is forgotten. */
export class FlowAddReader {
  readonly #version: number;
  readonly #nTables: number;
  readonly #unknownFlags: number;
  #tunTable: TunTable | undefined = undefined;
  #templates = new Map<number, MatchTemplate[]>();
  readonly #actions = new Array<KnownActions | undefined>(KNOWN_ACTIONS).fill(undefined);

  constructor(version: number, nTables: number) {
    this.#version = version;
    this.#nTables = nTables;
    this.#unknownFlags = ~flowFlagsOnWire(version);
  }

  /** Reads a flow-mod. Undefined: `decode` has to. Throws OfDecodeError, what `decode` would. */
  read(msg: Uint8Array, tunTable: TunTable | undefined): FlowAdd | undefined {
    if (tunTable !== this.#tunTable) this.#forget(tunTable);
    if (!this.#isPlainAdd(msg)) return undefined;
    const length = u16(msg, MATCH_AT + 2);
    const end = MATCH_AT + ((length + 7) & ~7);
    if (end > msg.length || (msg.length - end) % 8 !== 0) return undefined;
    const template = this.#templateFor(msg, length);
    if (!template) return undefined;
    const tableId = msg[24];
    const actions = this.#knownActions(msg, end, template, tableId) ?? this.#pullActions(msg, end, template, tableId);
    const [high, low] = [u32(msg, 8), u32(msg, 12)];
    const keepCookie = (high & low) >>> 0 === 0xffffffff;
    const wireFlags = u16(msg, 44);
    return {
      tableId,
      priority: u16(msg, 30),
      cookie: keepCookie || (high === 0 && low === 0) ? 0n : (BigInt(high) << 32n) | BigInt(low),
      keepCookie,
      idleTimeout: u16(msg, 26),
      hardTimeout: u16(msg, 28),
      importance: this.#version >= OFP14_VERSION ? u16(msg, 46) : 0,
      flags: wireFlags === 0 ? 0 : flowFlagsFromWire(wireFlags, this.#version),
      actions,
      shape: template.shape,
      values: template.valuesAt(msg, MATCH_AT),
      tunTable,
    };
  }

  /** Learns from a flow-mod that `decode` has read, without an error, with the match that it has. */
  learn(msg: Uint8Array, fm: FlowMod): void {
    const { wc } = fm.match;
    if (!this.#isPlainAdd(msg) || wc.recircId !== 0 || wc.dpHash !== 0 || wc.tunMetadataPresent !== 0n) return;
    const length = u16(msg, MATCH_AT + 2);
    const list = this.#templates.get(length) ?? [];
    if (list.some((t) => t.fits(msg, MATCH_AT))) return;
    list.unshift(new MatchTemplate(msg.subarray(MATCH_AT, MATCH_AT + length), fm.match));
    if (list.length > MAX_TEMPLATES) list.pop();
    this.#templates.set(length, list);
  }

  /** It adds a flow, as the members before the match say, and they are right. */
  #isPlainAdd(msg: Uint8Array): boolean {
    if (this.#version < OFP12_VERSION || msg[0] !== this.#version || msg[1] !== OFPT_FLOW_MOD) return false;
    if (msg.length < MATCH_AT + 8 || u16(msg, 2) !== msg.length) return false;
    if (msg[25] !== 0 || msg[24] > MAX_TABLE || u32(msg, 32) !== OFP_NO_BUFFER) return false;
    const port = u32(msg, 36);
    if (port >= 0xff00 && port < 0xffffff00) return false;
    return (u16(msg, 44) & this.#unknownFlags) === 0 && u16(msg, MATCH_AT) === OFPMT_OXM;
  }

  #forget(tunTable: TunTable | undefined): void {
    this.#tunTable = tunTable;
    this.#templates.clear();
    this.#actions.fill(undefined);
  }

  #templateFor(msg: Uint8Array, length: number): MatchTemplate | undefined {
    const list = this.#templates.get(length);
    if (!list) return undefined;
    for (let i = 0; i < list.length; i++) {
      const template = list[i];
      if (!template.fits(msg, MATCH_AT)) continue;
      if (i > 0) {
        list.copyWithin(1, 0, i);
        list[0] = template;
      }
      return template;
    }
    return undefined;
  }

  #knownActions(msg: Uint8Array, at: number, template: MatchTemplate, tableId: number): readonly Ofpact[] | undefined {
    const known = this.#actions[slotOf(msg, at)];
    if (known?.template !== template || known.tableId !== tableId) return undefined;
    const { bytes } = known;
    if (bytes.length !== msg.length - at) return undefined;
    for (let i = 0; i < bytes.length; i++) if (bytes[i] !== msg[at + i]) return undefined;
    return known.actions;
  }

  #pullActions(msg: Uint8Array, at: number, template: MatchTemplate, tableId: number): readonly Ofpact[] {
    const r = new Reader(msg, at);
    r.tunTable = this.#tunTable;
    const actions = pullInstructions(r, this.#version);
    // What is checked are the bytes that all matches of the template share.
    const context = { tableId, nTables: this.#nTables, allowInconsistent: false };
    const error = checkActions(actions, template.sample, context);
    if (error) throw new OfDecodeError(error);
    if (msg.length - at <= MAX_KNOWN_BYTES && actions.every((a) => SHARABLE.has(a.type)))
      this.#actions[slotOf(msg, at)] = { template, tableId, bytes: msg.slice(at), actions };
    return actions;
  }
}
