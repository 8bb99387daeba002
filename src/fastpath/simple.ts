/**
 * Simple match: where all megaflows of an input port look at no more than the port, the Ethertype, the tag and fragmentation, every untagged, unfragmented
 * IPv4 packet of the port has the same megaflow. It is remembered a port; such packets are neither parsed nor looked up. Only flows whose actions
 * need no parsed header (`ACTIONS_F_PLAIN`) are.
 */
import {
  ACTIONS_F_PLAIN,
  FLOW_ACTIONS,
  FLOW_DEAD,
  FLOW_GEN,
  KEY_TCP_FLAGS,
  PKT_DATA,
  PKT_FLOW,
  PKT_KEY,
  PKT_LEN,
  PKT_NEXT,
  PKT_RSS,
  PORT_SIMPLE,
  SIMPLE__SIZE,
  SIMPLE_FLOW,
  SIMPLE_GEN,
  THREAD_STAT_SIMPLE,
} from './gen/arena';
import { bump, flowAt, pktAt, portAt, simples, thread } from './thread';

const ETH_HEADER_SIZE: u32 = 14;
const IPV4_HEADER_SIZE: u32 = 20;
const ETH_IPV4: u32 = 0x0008; // as loaded
const VERSION_4_NO_OPTIONS: u32 = 0x45;
const IPPROTO_TCP: u32 = 6;
/** More fragments and the offset, as loaded. */
const FRAGMENT: u32 = 0xff3f;
const NOT_SIMPLE: u32 = 0xffffffff;

// @ts-ignore: decorator
@inline
function be16(v: u32): u32 {
  return ((v & 0xff) << 8) | ((v >> 8) & 0xff);
}

// @ts-ignore: decorator
@inline
function entryAt(port: u32): u32 {
  return simples + port * SIMPLE__SIZE;
}

// @ts-ignore: decorator
@inline
function plainAndAlive(flow: u32, gen: u32): bool {
  const record = flowAt(flow);
  if (load<u32>(record, FLOW_GEN) != gen || atomic.load<u32>(record, FLOW_DEAD)) return false;
  return (load<u32>(record, FLOW_ACTIONS) & ACTIONS_F_PLAIN) != 0;
}

/** The flow of the port's simple packets, or 0. */
// @ts-ignore: decorator
@inline
export function simpleFlow(port: u32): u32 {
  if (!atomic.load<u32>(portAt(port), PORT_SIMPLE)) return 0;
  const entry = entryAt(port);
  const flow = load<u32>(entry, SIMPLE_FLOW);
  return flow != 0 && plainAndAlive(flow, load<u32>(entry, SIMPLE_GEN)) ? flow : 0;
}

/**
 * TCP flags (network order) of a packet that is simple, 0 for other protocols; NOT_SIMPLE for every packet that `extract` might see otherwise: tagged,
 * with IP options, fragmented, or cut short.
 */
// @ts-ignore: decorator
@inline
function simpleTcpFlags(pkt: u32): u32 {
  const len = load<u32>(pkt, PKT_LEN);
  const frame = load<u32>(pkt, PKT_DATA);
  if (len < ETH_HEADER_SIZE + IPV4_HEADER_SIZE || load<u16>(frame, 12) != ETH_IPV4) return NOT_SIMPLE;
  const ip = frame + ETH_HEADER_SIZE;
  const total = be16(load<u16>(ip + 2));
  if (load<u8>(ip) != VERSION_4_NO_OPTIONS || load<u16>(ip + 6) & FRAGMENT) return NOT_SIMPLE;
  if (total < IPV4_HEADER_SIZE || total > len - ETH_HEADER_SIZE) return NOT_SIMPLE;
  if (load<u8>(ip + 9) != IPPROTO_TCP) return 0;
  const tcp = ip + IPV4_HEADER_SIZE;
  const left = total - IPV4_HEADER_SIZE;
  if (left < 20) return 0;
  const size = <u32>(load<u8>(tcp + 12) >> 4) * 4;
  return size >= 20 && left >= size ? load<u16>(tcp + 12) & 0xff0f : 0;
}

/** Gives `flow` to the packets of the batch that are simple; the others get PKT_FLOW 0. Returns how many are. */
export function simplePass(count: u32, flow: u32): u32 {
  let hits: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const pkt = pktAt(i);
    const flags = simpleTcpFlags(pkt);
    if (flags == NOT_SIMPLE) {
      store<u32>(pkt, 0, PKT_FLOW);
      continue;
    }
    hits++;
    store<u32>(pkt, flow, PKT_FLOW);
    store<u64>(pkt, 0, PKT_RSS); // and FLAGS
    store<u64>(pkt, 0, PKT_NEXT); // NEXT and TRUNC
    store<u16>(pkt + PKT_KEY, <u16>flags, KEY_TCP_FLAGS);
  }
  bump(thread + THREAD_STAT_SIMPLE, hits);
  return hits;
}

/** Remembers the flow of the batch's first packet for the port, when it is a simple packet's and plain. */
// @ts-ignore: decorator
@inline
export function learnSimple(port: u32): void {
  if (!load<u32>(portAt(port), PORT_SIMPLE)) return;
  const pkt = pktAt(0);
  const flow = load<u32>(pkt, PKT_FLOW);
  if (flow == 0 || simpleTcpFlags(pkt) == NOT_SIMPLE) return;
  const gen = load<u32>(flowAt(flow), FLOW_GEN);
  if (!plainAndAlive(flow, gen)) return;
  store<u32>(entryAt(port), flow, SIMPLE_FLOW);
  store<u32>(entryAt(port), gen, SIMPLE_GEN);
}
