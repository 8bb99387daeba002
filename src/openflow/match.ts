import { Flow, FlowWildcards, type Match } from '../flow/flow.ts';

export type { Match };

/** A match of every packet. Packet type Ethernet is implied by OpenFlow's default, and is not set here. */
export function catchallMatch(): Match {
  return { flow: new Flow(), wc: new FlowWildcards() };
}

/** Makes `m` a match of every packet. */
export function clearMatch(m: Match): Match {
  m.flow.u32.fill(0);
  m.wc.u32.fill(0);
  return m;
}

export function cloneMatch(m: Match): Match {
  return { flow: m.flow.clone(), wc: m.wc.clone() };
}

export function matchEquals(a: Match, b: Match): boolean {
  return a.wc.equals(b.wc) && a.flow.equals(b.flow);
}

/** Makes the match one of Ethernet packets, unless it already names a packet type. */
export function setDefaultPacketType(m: Match): void {
  if (m.wc.packetType === 0) m.wc.packetType = 0xffffffff;
}

/** True when the match is one of Ethernet packets only. */
export function hasDefaultPacketType(m: Match): boolean {
  return m.flow.packetType === 0 && m.wc.packetType === 0xffffffff;
}
