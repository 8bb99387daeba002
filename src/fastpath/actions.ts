/** Runs a compiled action list over a group of packets: one action at a time over the whole group, so that decoding costs once. */
import {
  ACT_CHECK_PKT_LEN,
  ACT_CLONE,
  ACT_DROP,
  ACT_END,
  ACT_ETHERNET_ONLY,
  ACT_F_LAST_USE,
  ACT_HASH,
  ACT_LB_OUTPUT,
  ACT_METER,
  ACT_OUTPUT,
  ACT_POP_MPLS,
  ACT_POP_NSH,
  ACT_POP_VLAN,
  ACT_PUSH_ETH,
  ACT_PUSH_MPLS,
  ACT_PUSH_VLAN,
  ACT_RECIRC,
  ACT_SAMPLE,
  ACT_SET_ARP,
  ACT_SET_ETH,
  ACT_SET_ICMP,
  ACT_SET_IPV4,
  ACT_SET_IPV6,
  ACT_SET_META,
  ACT_SET_MPLS,
  ACT_SET_ND,
  ACT_SET_NSH,
  ACT_SET_TP,
  ACT_TRUNC,
  ACT_TUNNEL_POP,
  ACT_TUNNEL_PUSH,
  ACT_USERSPACE,
  BATCH_MAX,
  BONDS_MAX,
  CLONE_DEPTH_MAX,
  DROP_ACTION_OF_PIPELINE,
  DROP_INVALID_BOND,
  DROP_PUSH_WITHOUT_HEADROOM,
  DROP_UNSUPPORTED_ACTION,
  FRAME_MAX,
  NO_PORT,
  PACKET_HEADROOM,
  PKT__SIZE,
  PKT_DATA,
  PKT_KEY,
  PKT_LEN,
  PKT_NEXT,
  PKT_TAIL_LEN,
  PKT_TRUNC,
  SNAP_SIZE,
  SAMPLE_ALL,
} from './gen/arena';
import { popMpls, popVlan, pushMpls, pushVlan } from './encap';
import { random } from './emc';
import { meterGroup } from './meter';
import { finishChecksum } from './finish';
import { wireLength } from './offload';
import { outputNow, queueOutput } from './output';
import { changeTypes, packetType, parseNow, setNsh } from './packet-type';
import { lookUpAgain } from './recirc';
import { setArp, setEth, setIcmp, setIpv4, setIpv6, setMeta, setMpls, setNd, setTransport } from './set-field';
import { bigSlotAt, headLength, pullUp } from './tail';
import { chooseMember, findBond, hashPacket } from './spread';
import { drop, pkts, slotAt, thread } from './thread';
import { popTunnels } from './tunnel-pop';
import { pushTunnels } from './tunnel-push';
import { sendUserspace } from './upcall';

/** Packets of the group that starts at `head`. */
function groupCount(head: u32): u32 {
  let n: u32 = 0;
  for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) n++;
  return n;
}

/** What is left of a packet of `len` bytes when `trunc` takes off `cut`: headers may have been taken off since. */
// @ts-ignore: decorator
@inline
function cutLength(len: u32, cut: u32): u32 {
  return len > cut ? len - cut : 0;
}

/** Sends a packet without the bytes that `trunc` took off, leaving its length as it was. */
function outputTruncated(port: u32, pkt: u32): void {
  const len = load<u32>(pkt, PKT_LEN);
  const tail = load<u32>(pkt, PKT_TAIL_LEN);
  const data = load<u32>(pkt, PKT_DATA);
  const left = cutLength(len, load<u32>(pkt, PKT_TRUNC));
  store<u32>(pkt, left, PKT_LEN);
  store<u32>(pkt, left > len - tail ? left - (len - tail) : 0, PKT_TAIL_LEN);
  outputNow(port, pkt);
  store<u32>(pkt, len, PKT_LEN);
  store<u32>(pkt, tail, PKT_TAIL_LEN);
  store<u32>(pkt, data, PKT_DATA); // it may have been pulled up, cut
  store<u32>(pkt, 0, PKT_TRUNC);
}

// @ts-ignore: decorator
@inline
function outputOne(port: u32, pkt: u32, flags: u32): void {
  if (load<u32>(pkt, PKT_TRUNC)) outputTruncated(port, pkt);
  else if (flags & ACT_F_LAST_USE) queueOutput(port, pkt);
  else outputNow(port, pkt);
}

function outputGroup(head: u32, port: u32, flags: u32): void {
  for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) outputOne(port, pkt, flags);
}

/** Sends each packet by a member of the bond. */
function lbOutput(head: u32, id: u32, flags: u32): void {
  const bond = findBond(id);
  for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) {
    const size = cutLength(load<u32>(pkt, PKT_LEN), load<u32>(pkt, PKT_TRUNC));
    const port = bond == BONDS_MAX ? NO_PORT : chooseMember(bond, pkt, size, flags);
    if (port != NO_PORT) {
      outputOne(port, pkt, flags);
      continue;
    }
    store<u32>(pkt, 0, PKT_TRUNC);
    drop(DROP_INVALID_BOND, 1);
  }
}

function userspace(head: u32, userdata: u32): void {
  for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) sendUserspace(pkt, userdata);
}

/** Sends packets without an Ethernet header up, with what is left to do to them; returns the first of the others, whose keys are right again. */
function ethernetOnly(head: u32, userdata: u32): u32 {
  let first: u32 = 0;
  let last: u32 = 0;
  for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) {
    if (packetType(pkt)) {
      sendUserspace(pkt, userdata);
      continue;
    }
    parseNow(pkt);
    if (last) store<u32>(last, pkt, PKT_NEXT);
    else first = pkt;
    last = pkt;
  }
  if (last) store<u32>(last, 0, PKT_NEXT);
  return first;
}

function setNshEach(head: u32, operands: u32): void {
  for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) setNsh(pkt, operands);
}

/** Clones that are being run, one in the other. */
let cloneDepth: u32 = 0;

/** After a trap in mid-list. */
export function resetActions(): void {
  cloneDepth = 0;
}

/**
 * Runs a nested list on a copy of each packet, of which `probability` chooses some: record and frame, but for the tail, are saved in a spare slot, one for each depth, and
 * put back.
 */
function cloneGroup(head: u32, nested: u32, probability: u32): void {
  if (cloneDepth == CLONE_DEPTH_MAX) {
    drop(DROP_UNSUPPORTED_ACTION, groupCount(head));
    return;
  }
  const savedPkt = pkts + (BATCH_MAX + 1 + cloneDepth) * PKT__SIZE;
  const slot = slotAt(BATCH_MAX + 1 + cloneDepth) + PACKET_HEADROOM;
  const bigSlot = bigSlotAt(BATCH_MAX + 1 + cloneDepth) + PACKET_HEADROOM;
  cloneDepth++;
  for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) {
    if (probability != SAMPLE_ALL && random() >= probability) continue;
    const next = load<u32>(pkt, PKT_NEXT);
    memory.copy(savedPkt, pkt, PKT__SIZE);
    const size = headLength(pkt);
    const savedSlot = size > FRAME_MAX ? bigSlot : slot;
    memory.copy(savedSlot, load<u32>(pkt, PKT_DATA), size);
    store<u32>(pkt, 0, PKT_NEXT);
    runActions(nested, pkt);
    memory.copy(pkt, savedPkt, PKT__SIZE);
    memory.copy(load<u32>(pkt, PKT_DATA), savedSlot, size);
    store<u32>(pkt, next, PKT_NEXT);
  }
  cloneDepth--;
}

function checkLength(head: u32, length: u32, greater: u32, lessEqual: u32): void {
  let pkt = head;
  while (pkt) {
    const next = load<u32>(pkt, PKT_NEXT);
    store<u32>(pkt, 0, PKT_NEXT);
    runActions(wireLength(pkt) > length ? greater : lessEqual, pkt);
    store<u32>(pkt, next, PKT_NEXT);
    pkt = next;
  }
}

// @ts-ignore: decorator
@inline
function setEach(head: u32, op: u32, operands: u32): void {
  for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) {
    if (op == ACT_SET_ETH) setEth(pkt, operands);
    else if (op == ACT_SET_IPV4) setIpv4(pkt, operands);
    else if (op == ACT_SET_IPV6) setIpv6(pkt, operands);
    else if (op == ACT_SET_TP) setTransport(pkt, operands);
    else if (op == ACT_SET_ARP) setArp(pkt, operands);
    else if (op == ACT_SET_ICMP) setIcmp(pkt, operands);
    else if (op == ACT_SET_ND) setNd(pkt, operands);
    else if (op == ACT_SET_MPLS) setMpls(pkt, operands);
    else setMeta(pkt, operands);
  }
}

// @ts-ignore: decorator
@inline
function encapOne(pkt: u32, op: u32, operands: u32): bool {
  if (op == ACT_PUSH_VLAN) return pushVlan(pkt, load<u32>(operands));
  if (op == ACT_PUSH_MPLS) return pushMpls(pkt, load<u32>(operands), load<u32>(operands, 4));
  if (op == ACT_POP_VLAN) popVlan(pkt);
  else popMpls(pkt, load<u32>(operands));
  return true;
}

/** Tags and labels; returns the first of the packets that go on, linked: one without room for what is pushed is dropped. */
function encapEach(head: u32, op: u32, operands: u32): u32 {
  let first = head;
  let last: u32 = 0;
  for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) {
    // What is popped shortens the snapshot, and then headers might lie beyond it.
    if (headLength(pkt) < SNAP_SIZE) pullUp(pkt);
    if (encapOne(pkt, op, operands)) {
      last = pkt;
      continue;
    }
    drop(DROP_PUSH_WITHOUT_HEADROOM, 1);
    if (last) store<u32>(last, load<u32>(pkt, PKT_NEXT), PKT_NEXT);
    else first = load<u32>(pkt, PKT_NEXT);
  }
  return first;
}

function truncate(head: u32, maxLen: u32): void {
  for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) {
    const len = load<u32>(pkt, PKT_LEN);
    store<u32>(pkt, len > maxLen ? len - maxLen : 0, PKT_TRUNC);
    // Of less than the whole there is no checksum.
    if (len > maxLen) finishChecksum(pkt);
  }
}

function recirculate(head: u32, id: u32, flags: u32): void {
  for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) lookUpAgain(pkt, id, (flags & ACT_F_LAST_USE) != 0);
}

function hashGroup(head: u32, algorithm: u32, basis: u32, flags: u32): void {
  for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) hashPacket(pkt, algorithm, basis, flags);
}

/** The actions that say where packets go; false: the list ends here. */
function steer(head: u32, op: u32, operands: u32): bool {
  if (op == ACT_USERSPACE) userspace(head, load<u32>(operands));
  else if (op == ACT_SET_NSH) setNshEach(head, operands);
  else if (op == ACT_TRUNC) truncate(head, load<u32>(operands));
  else if (op == ACT_HASH) hashGroup(head, load<u32>(operands), load<u32>(operands, 4), load<u32>(operands, 8));
  else if (op == ACT_RECIRC) recirculate(head, load<u32>(operands), load<u32>(operands, 4));
  else if (op == ACT_LB_OUTPUT) lbOutput(head, load<u32>(operands), load<u32>(operands, 4));
  else if (op == ACT_CLONE) cloneGroup(head, operands, SAMPLE_ALL);
  else if (op == ACT_SAMPLE) cloneGroup(head, operands + 4, load<u32>(operands));
  else if (op == ACT_CHECK_PKT_LEN) {
    checkLength(head, load<u32>(operands), operands + 8, operands + 8 + load<u32>(operands, 4) * 4);
    return false;
  } else {
    drop(op == ACT_DROP ? load<u32>(operands) : DROP_UNSUPPORTED_ACTION, groupCount(head));
    return false;
  }
  return true;
}

/** The actions that some packets of a group may not survive; returns the first of the others. */
function thin(head: u32, op: u32, operands: u32): u32 {
  if (op == ACT_METER) return meterGroup(head, load<u32>(operands));
  if (op == ACT_ETHERNET_ONLY) return ethernetOnly(head, load<u32>(operands));
  return changeTypes(head, op, operands);
}

/** Runs the list at `actions` on the packets linked from `group`. An empty list drops them. */
export function runActions(actions: u32, group: u32): void {
  let head = group;
  let at = actions;
  if (load<u32>(at) == ACT_END) drop(DROP_ACTION_OF_PIPELINE, groupCount(head));
  for (;;) {
    const word = load<u32>(at);
    const op = word & 0xffff;
    const operands = at + 4;
    at = operands + (word >> 16) * 4;
    if (op == ACT_OUTPUT) outputGroup(head, load<u32>(operands), load<u32>(operands, 4));
    else if (op == ACT_END) return;
    else if (op >= ACT_SET_ETH && op <= ACT_SET_META) setEach(head, op, operands);
    else if (op >= ACT_PUSH_VLAN && op <= ACT_POP_MPLS) {
      head = encapEach(head, op, operands);
      if (!head) return;
    } else if (op == ACT_METER || op == ACT_ETHERNET_ONLY || (op >= ACT_PUSH_ETH && op <= ACT_POP_NSH)) {
      head = thin(head, op, operands);
      if (!head) return;
    } else if (op == ACT_TUNNEL_PUSH) {
      head = pushTunnels(head, operands);
      if (!head) return;
    } else if (op == ACT_TUNNEL_POP) popTunnels(head, operands);
    else if (!steer(head, op, operands)) return;
  }
}
