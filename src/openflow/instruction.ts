import { OFP10_VERSION, OFP15_VERSION } from '../../protocols/openflow.ts';
import { OFPIT } from '../../protocols/openflow-actions.ts';
import { decodeActions } from './action-decode.ts';
import { encodeActions } from './action-encode.ts';
import { isInstruction, type Ofpact, type OfpactType } from './actions.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';

/** Instructions of OpenFlow 1.1+ (section A.2.4); OpenFlow 1.0 has actions only. */

/** Order of instructions in a list; the actions of apply_actions are 1. */
const ORDER: Partial<Record<OfpactType, number>> = {
  meter: 0,
  clear_actions: 2,
  write_actions: 3,
  write_metadata: 4,
  goto_table: 5,
};
const rank = (a: Ofpact): number => ORDER[a.type] ?? 1;

/** Checks that the list could be instructions: each once, in their order (in OpenFlow 1.5 meter is an action). Throws OFPBAC_*. */
export function verifyActions(actions: readonly Ofpact[], version: number, instructionsAllowed = true): void {
  if (actions.some((a) => a.type === 'conjunction')) {
    if (actions.every((a) => a.type === 'conjunction' || a.type === 'note')) return;
    throw new OfDecodeError('NXBAC_BAD_CONJUNCTION');
  }
  let last = -1;
  for (const a of actions) {
    const next = a.type === 'meter' && version >= OFP15_VERSION ? 1 : rank(a);
    if (next < last || (next === last && next !== 1)) throw new OfDecodeError('OFPBAC_UNSUPPORTED_ORDER');
    if (!instructionsAllowed && next !== 1) throw new OfDecodeError('OFPBIC_UNSUP_INST');
    last = next;
  }
}

/** What a write_actions instruction may hold. */
const IN_ACTION_SET: ReadonlySet<OfpactType> = new Set<OfpactType>([
  'output',
  'group',
  'controller',
  'set_field',
  'reg_move',
  'set_vlan_vid',
  'set_vlan_pcp',
  'strip_vlan',
  'push_vlan',
  'set_eth_src',
  'set_eth_dst',
  'set_ipv4_src',
  'set_ipv4_dst',
  'set_ip_dscp',
  'set_ip_ecn',
  'set_ip_ttl',
  'set_l4_src_port',
  'set_l4_dst_port',
  'dec_ttl',
  'set_mpls_label',
  'set_mpls_tc',
  'set_mpls_ttl',
  'dec_mpls_ttl',
  'push_mpls',
  'pop_mpls',
  'set_tunnel',
  'set_queue',
  'ct',
  'nat',
  'resubmit',
  'encap',
  'decap',
  'dec_nsh_ttl',
]);

/** Decodes actions to the end of `r`, as OpenFlow 1.0's flow-mods and every packet-out carry them. */
export function pullActions(r: Reader, version: number, instructionsAllowed: boolean): Ofpact[] {
  if (r.left % 8 !== 0) throw new OfDecodeError('OFPBRC_BAD_LEN');
  const actions = decodeActions(r, version);
  verifyActions(actions, version, instructionsAllowed);
  return actions;
}

/** Sizes of the instructions that hold no actions. */
const SIZES: Readonly<Record<number, number>> = {
  [OFPIT.GOTO_TABLE]: 8,
  [OFPIT.WRITE_METADATA]: 24,
  [OFPIT.CLEAR_ACTIONS]: 8,
  [OFPIT.METER]: 8,
};

interface Instructions {
  [type: number]: Reader | undefined;
}

function splitInstructions(r: Reader, version: number): Instructions {
  const found: Instructions = {};
  while (r.left > 0) {
    if (r.left < 8) throw new OfDecodeError('OFPBIC_BAD_LEN');
    const type = r.readU16();
    const length = r.readU16();
    if (type === OFPIT.EXPERIMENTER) throw new OfDecodeError('OFPBIC_BAD_EXPERIMENTER');
    if (type < 1 || type > 6 || (type === OFPIT.METER && version >= OFP15_VERSION))
      throw new OfDecodeError('OFPBIC_UNKNOWN_INST');
    const size = SIZES[type];
    if (length < 8 || length % 8 !== 0 || length - 4 > r.left || (size !== undefined && length !== size))
      throw new OfDecodeError('OFPBIC_BAD_LEN');
    if (found[type]) throw new OfDecodeError('OFPBIC_DUP_INST');
    found[type] = r.sub(length - 4);
  }
  return found;
}

function actionsOf(r: Reader, version: number): Ofpact[] {
  r.skip(4);
  return decodeActions(r, version);
}

function decodeWriteActions(r: Reader, version: number): Ofpact {
  const actions = actionsOf(r, version);
  for (const a of actions) if (!IN_ACTION_SET.has(a.type)) throw new OfDecodeError('OFPBAC_BAD_TYPE', a.type);
  return { type: 'write_actions', actions };
}

/** Decodes instructions to the end of `r`; in OpenFlow 1.0, actions. */
export function pullInstructions(r: Reader, version: number): Ofpact[] {
  if (version === OFP10_VERSION) return pullActions(r, version, true);
  if (r.left % 8 !== 0) throw new OfDecodeError('OFPBIC_BAD_LEN');
  const found = splitInstructions(r, version);
  const out: Ofpact[] = [];
  const meter = found[OFPIT.METER];
  if (meter) out.push({ type: 'meter', meterId: meter.readU32() });
  const apply = found[OFPIT.APPLY_ACTIONS];
  if (apply) out.push(...actionsOf(apply, version));
  if (found[OFPIT.CLEAR_ACTIONS]) out.push({ type: 'clear_actions' });
  const write = found[OFPIT.WRITE_ACTIONS];
  if (write) out.push(decodeWriteActions(write, version));
  const metadata = found[OFPIT.WRITE_METADATA];
  if (metadata) {
    metadata.skip(4);
    out.push({ type: 'write_metadata', metadata: metadata.readU64(), mask: metadata.readU64() });
  }
  const goto = found[OFPIT.GOTO_TABLE];
  if (goto) out.push({ type: 'goto_table', tableId: goto.readU8() });
  verifyActions(out, version);
  return out;
}

function instruction(w: Writer, type: number, put: () => void): void {
  const start = w.length;
  w.putU16(type);
  w.putU16(0);
  put();
  w.padTo(8, start);
  w.setU16(start + 2, w.length - start);
}

function putInstruction(w: Writer, a: Ofpact, version: number): void {
  if (a.type === 'meter') instruction(w, OFPIT.METER, () => w.putU32(a.meterId));
  else if (a.type === 'clear_actions') instruction(w, OFPIT.CLEAR_ACTIONS, () => undefined);
  else if (a.type === 'goto_table') instruction(w, OFPIT.GOTO_TABLE, () => w.putU8(a.tableId));
  else if (a.type === 'write_actions') {
    instruction(w, OFPIT.WRITE_ACTIONS, () => {
      w.putZeros(4);
      encodeActions(w, a.actions, version);
    });
  } else if (a.type === 'write_metadata') {
    instruction(w, OFPIT.WRITE_METADATA, () => {
      w.putZeros(4);
      w.putU64(a.metadata);
      w.putU64(a.mask);
    });
  }
}

/** Appends a list as instructions; in OpenFlow 1.0, as actions. */
export function putInstructions(w: Writer, actions: readonly Ofpact[], version: number): void {
  if (version === OFP10_VERSION) {
    encodeActions(w, actions, version);
    return;
  }
  const isInst = (a: Ofpact) => isInstruction(a) && !(a.type === 'meter' && version >= OFP15_VERSION);
  const apply = actions.filter((a) => !isInst(a));
  let applied = apply.length === 0;
  for (const a of actions) {
    if (isInst(a)) putInstruction(w, a, version);
    else if (!applied) {
      applied = true;
      instruction(w, OFPIT.APPLY_ACTIONS, () => {
        w.putZeros(4);
        encodeActions(w, apply, version);
      });
    }
  }
}
