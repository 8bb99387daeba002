import type { MatchField } from '../../protocols/fields.ts';
import { OFP15_VERSION } from '../../protocols/openflow.ts';
import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import { type Ofpact, type OfpactType, ofpactName } from './actions.ts';
import { OfDecodeError } from './buffer.ts';
import { mf } from './field.ts';
import { actionWarnAlways } from './openflow-log.ts';

/** Whether actions may stand where they stand: in the order of instructions, and inside other actions. */

/** Instructions in the order that they must have. */
const INSTRUCTION_NAMES = [
  'meter',
  'apply_actions',
  'clear_actions',
  'write_actions',
  'write_metadata',
  'goto_table',
] as const;
const APPLY = 1;

/** Place of an action's instruction in `INSTRUCTION_NAMES`. */
export function instructionOf(a: Ofpact, version: number): number {
  if (a.type === 'meter') return version >= OFP15_VERSION ? APPLY : 0;
  const at = (INSTRUCTION_NAMES as readonly string[]).indexOf(a.type);
  return at < 0 ? APPLY : at;
}

export interface VerifyOptions {
  /** Instructions other than apply_actions (and meter) may be in the list. */
  instructions?: boolean;
  /** Meter may be in a list without instructions. */
  meter?: boolean;
  /** The action that the list belongs to. */
  outer?: 'ct' | 'clone' | 'write_actions' | undefined;
}

/** Why a list can't be: the error for a peer, and ovs-ofctl's words. */
export interface VerifyError {
  ofError: OfErrorName;
  text: string;
}

const CT_MARK = mf('ct_mark');
const CT_LABEL = mf('ct_label');
const requiresCt = (f: MatchField): boolean => f === CT_MARK || f === CT_LABEL;

const destination = (a: Ofpact): MatchField | undefined =>
  a.type === 'set_field' ? a.field : a.type === 'reg_move' ? a.dst.field : undefined;

function nesting(type: OfpactType, outer: string): VerifyError {
  return {
    ofError: 'OFPBAC_BAD_ARGUMENT',
    text: `${outer} action doesn't support nested action ${ofpactName(type)}`,
  };
}

function findNestedError(a: Ofpact, outer: VerifyOptions['outer']): VerifyError | undefined {
  const field = destination(a);
  if (field && requiresCt(field) && outer !== 'ct')
    return { ofError: 'OFPBAC_BAD_SET_ARGUMENT', text: 'cannot set CT fields outside of ct action' };
  if (a.type === 'nat') {
    if (outer === 'ct') return undefined;
    return { ofError: 'OFPBAC_BAD_SET_ARGUMENT', text: 'Cannot have NAT action outside of "ct" action' };
  }
  if (!outer) return undefined;
  if (outer === 'ct') {
    if (!field) return nesting(a.type, outer);
    if (!requiresCt(field))
      return {
        ofError: 'OFPBAC_BAD_ARGUMENT',
        text: `${outer} action doesn't support nested modification of ${field.name}`,
      };
  }
  return a.type === 'meter' ? nesting(a.type, outer) : undefined;
}

function findConjunctionError(actions: readonly Ofpact[]): VerifyError | undefined {
  const other = actions.find((a) => a.type !== 'conjunction' && a.type !== 'note');
  if (!other) return undefined;
  return {
    ofError: 'NXBAC_BAD_CONJUNCTION',
    text: `"conjunction" actions may be used along with "note" but not any other kind of action (such as the "${ofpactName(other.type)}" action used here)`,
  };
}

function orderError(next: number, last: number): VerifyError {
  const [name, nextName] = [INSTRUCTION_NAMES[last], INSTRUCTION_NAMES[next]];
  const text =
    next === last
      ? `duplicate ${name} instruction not allowed`
      : `invalid instruction ordering: ${nextName} must appear before ${name}`;
  return { ofError: 'OFPBAC_UNSUPPORTED_ORDER', text: `${text}, for OpenFlow 1.1+ compatibility` };
}

function notAllowed(next: number, version: number): VerifyError {
  const name = INSTRUCTION_NAMES[next];
  return next === 0 && version >= OFP15_VERSION
    ? { ofError: 'OFPBAC_BAD_TYPE', text: `${name} action not allowed here` }
    : { ofError: 'OFPBIC_UNSUP_INST', text: `${name} instruction not allowed here` };
}

/** The first thing that is wrong with the list. */
export function findVerifyError(
  actions: readonly Ofpact[],
  version: number,
  o: VerifyOptions = {},
): VerifyError | undefined {
  const allowed = (inst: number) => o.instructions !== false || inst === APPLY || (o.meter === true && inst === 0);
  let last = 0;
  for (const [i, a] of actions.entries()) {
    if (a.type === 'conjunction') return findConjunctionError(actions);
    const nested = findNestedError(a, o.outer);
    if (nested) return nested;
    const next = instructionOf(a, version);
    if (i > 0 && (last === APPLY ? next < last : next <= last)) return orderError(next, last);
    if (!allowed(next)) return notAllowed(next, version);
    last = next;
  }
  return undefined;
}

/** The same for what a peer sent: logs and throws. */
export function verifyActions(actions: readonly Ofpact[], version: number, o: VerifyOptions = {}): void {
  const error = findVerifyError(actions, version, o);
  if (!error) return;
  actionWarnAlways(error.text);
  throw new OfDecodeError(error.ofError);
}
