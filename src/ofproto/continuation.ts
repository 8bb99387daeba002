import type { Flow } from '../flow/flow.ts';
import type { Ofpact } from '../openflow/actions.ts';
import type { Continuation, ContinuationActions } from '../openflow/messages-nicira.ts';
import type { FrozenState } from './recirc.ts';
import { frozenMetadata } from './xlate/freeze.ts';
import type { XBridge, XlateOfpact } from './xlate/types.ts';

/** A translation that an action paused, on its way to a controller and back (NXPINT_CONTINUATION). */

/** A bridge with its name in continuations. */
export interface Named extends XBridge {
  readonly uuid: string;
}

/** What a packet-in carries of the state, for the controller to give back. */
export function continuationOf(state: FrozenState, odpPort: number | undefined): Continuation {
  const actions: ContinuationActions[] = [];
  let current: ContinuationActions | undefined;
  for (const a of state.actions) {
    if (a.type === 'unroll_xlate') {
      current = { tableId: a.tableId, cookie: a.cookie, actions: [] };
      actions.push(current);
      continue;
    }
    if (!current) {
      current = { tableId: 0xff, cookie: 0xffff_ffff_ffff_ffffn, actions: [] };
      actions.push(current);
    }
    current.actions.push(a);
  }
  return {
    bridge: (state.bridge as Named).uuid,
    stack: [...state.stack],
    mirrors: state.mirrors,
    conntracked: state.conntracked,
    actions,
    actionSet: [...state.actionSet],
    ...(odpPort === undefined ? {} : { odpPort }),
  };
}

/** Undefined when its bridge is no more. Without actions left, nothing is looked up: the packet ends. */
export function frozenState(bridges: Iterable<Named>, c: Continuation, flow: Flow): FrozenState | undefined {
  const owner = [...bridges].find((b) => b.uuid === c.bridge);
  if (!owner) return undefined;
  const actions: XlateOfpact[] = [];
  for (const part of c.actions) {
    if (part.tableId !== 0xff) actions.push({ type: 'unroll_xlate', tableId: part.tableId, cookie: part.cookie });
    actions.push(...part.actions);
  }
  const noop: Ofpact = { type: 'note', data: new Uint8Array(0) };
  return {
    tableId: 0,
    bridge: owner,
    metadata: frozenMetadata(flow),
    stack: c.stack,
    mirrors: c.mirrors,
    conntracked: c.conntracked,
    wasMpls: false,
    xport: undefined,
    actions: actions.length ? actions : [noop],
    actionSet: c.actionSet,
    userdata: undefined,
  };
}
