import { Flow, FlowWildcards, type Match } from '../flow/flow.ts';

export type { Match };

/** A match of every packet. Packet type Ethernet is implied by OpenFlow's default, and is not set here. */
export function catchallMatch(): Match {
  return { flow: new Flow(), wc: new FlowWildcards() };
}

export function cloneMatch(m: Match): Match {
  return { flow: m.flow.clone(), wc: m.wc.clone() };
}

export function matchEquals(a: Match, b: Match): boolean {
  return a.wc.equals(b.wc) && a.flow.equals(b.flow);
}
