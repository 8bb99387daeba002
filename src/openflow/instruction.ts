import { OFP10_VERSION, OFP13_VERSION, OFP15_VERSION } from '../../protocols/openflow.ts';
import { OFPIT } from '../../protocols/openflow-actions.ts';
import { decodeActions } from './action-decode.ts';
import { encodeActions } from './action-encode.ts';
import { verifyActions } from './action-verify.ts';
import { isInstruction, type Ofpact, type OfpactType } from './actions.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { actionWarn } from './openflow-log.ts';

/** Instructions of OpenFlow 1.1+ (section A.2.4); OpenFlow 1.0 has actions only. */

/** What a write_actions instruction may hold. */
const IN_ACTION_SET: ReadonlySet<OfpactType> = new Set<OfpactType>([
  'output',
  'group',
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
  'ct_clear',
  'resubmit',
  'encap',
  'decap',
  'dec_nsh_ttl',
]);

/** Decodes actions to the end of `r`, as OpenFlow 1.0's flow-mods and every packet-out carry them. */
export function pullActions(r: Reader, version: number, instructionsAllowed: boolean): Ofpact[] {
  if (r.left % 8 !== 0) {
    actionWarn(`OpenFlow message actions length ${r.left} is not a multiple of 8`);
    throw new OfDecodeError('OFPBRC_BAD_LEN');
  }
  const actions = decodeActions(r, version);
  verifyActions(actions, version, { instructions: instructionsAllowed, meter: true });
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
  const start = r.pos;
  while (r.left > 0) {
    if (r.left < 8) throw new OfDecodeError('OFPBIC_BAD_LEN');
    const type = r.readU16();
    const length = r.readU16();
    if (length < 8 || length % 8 !== 0 || length - 4 > r.left) {
      actionWarn(`bad instruction format at offset ${r.pos - 4 - start}`);
      throw new OfDecodeError('OFPBIC_BAD_LEN');
    }
    if (type === OFPIT.EXPERIMENTER) throw new OfDecodeError('OFPBIC_BAD_EXPERIMENTER');
    if (type < 1 || type > 6) throw new OfDecodeError('OFPBIC_UNKNOWN_INST');
    if (length !== (SIZES[type] ?? length)) throw new OfDecodeError('OFPBIC_BAD_LEN');
    if (type === OFPIT.METER && version >= OFP15_VERSION) throw new OfDecodeError('OFPBIC_UNKNOWN_INST');
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
  for (const a of actions) {
    if (IN_ACTION_SET.has(a.type)) continue;
    actionWarn('disallowed action in action set');
    throw new OfDecodeError('OFPBAC_BAD_TYPE', a.type);
  }
  return { type: 'write_actions', actions };
}

/** Decodes instructions to the end of `r`; in OpenFlow 1.0, actions. */
export function pullInstructions(r: Reader, version: number): Ofpact[] {
  if (version === OFP10_VERSION) return pullActions(r, version, true);
  if (r.left % 8 !== 0) {
    actionWarn(`OpenFlow message instructions length ${r.left} is not a multiple of 8`);
    throw new OfDecodeError('OFPBIC_BAD_LEN');
  }
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
  if (a.type === 'meter') {
    if (version >= OFP13_VERSION) instruction(w, OFPIT.METER, () => w.putU32(a.meterId));
  } else if (a.type === 'clear_actions') instruction(w, OFPIT.CLEAR_ACTIONS, () => undefined);
  else if (a.type === 'goto_table') instruction(w, OFPIT.GOTO_TABLE, () => w.putU8(a.tableId));
  else if (a.type === 'write_actions') putActionsInstruction(w, OFPIT.WRITE_ACTIONS, a.actions, version);
  else if (a.type === 'write_metadata') {
    instruction(w, OFPIT.WRITE_METADATA, () => {
      w.putZeros(4);
      w.putU64(a.metadata);
      w.putU64(a.mask);
    });
  }
}

/** Appends a list as instructions; in OpenFlow 1.0, as actions. Neighbouring actions make an apply_actions. */
export function putInstructions(w: Writer, actions: readonly Ofpact[], version: number): void {
  if (version === OFP10_VERSION) {
    encodeActions(w, actions, version);
    return;
  }
  const isInst = (a: Ofpact) => isInstruction(a) && !(a.type === 'meter' && version >= OFP15_VERSION);
  for (let i = 0; i < actions.length; ) {
    if (isInst(actions[i])) {
      putInstruction(w, actions[i++], version);
      continue;
    }
    let end = i;
    while (end < actions.length && !isInst(actions[end])) end++;
    const apply = actions.slice(i, end);
    putActionsInstruction(w, OFPIT.APPLY_ACTIONS, apply, version);
    i = end;
  }
}

/** An instruction that holds actions; none when they have no bytes in this version. */
function putActionsInstruction(w: Writer, type: number, actions: readonly Ofpact[], version: number): void {
  const start = w.length;
  instruction(w, type, () => {
    w.putZeros(4);
    encodeActions(w, actions, version);
  });
  if (w.length === start + 8) w.length = start;
}
