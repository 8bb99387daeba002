import type { NX_HASH_FIELDS } from '../../protocols/openflow-actions.ts';
import { hashAdd, hashAddBytes, hashFinish, jhashBytes } from '../base/hash.ts';
import { FLOW_MEMBERS, type FlowFields, type FlowMemberName } from '../gen/flow.ts';
import type { Flow, FlowWildcards } from './flow.ts';

/** Hashes of a packet's headers that choose among links, buckets and queues, and the bits of the headers that each looks at. */

const ETH_IP = 0x0800;
const ETH_ARP = 0x0806;
const ETH_IPV6 = 0x86dd;
const ICMP = 1;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;
const SCTP = 132;
const VLAN_CFI = 0x1000;
const VLAN_VID = 0x0fff;

export type HashFields = (typeof NX_HASH_FIELDS)[number];

const bytes = (flow: FlowFields, name: FlowMemberName): Uint8Array => {
  const { offset, size } = FLOW_MEMBERS[name];
  return flow.u8.subarray(offset, offset + size);
};

function xor(flow: Flow, a: FlowMemberName, b: FlowMemberName): Uint8Array {
  const [x, y] = [bytes(flow, a), bytes(flow, b)];
  return Uint8Array.from(x, (v, i) => v ^ y[i]);
}

const isIp = (flow: Flow): boolean => flow.dlType === ETH_IP || flow.dlType === ETH_IPV6;
const isFragment = (flow: Flow): boolean => flow.nwFrag !== 0;
/** Source and destination of a protocol that has symmetric ports. */
const hasPorts = (flow: Flow): boolean => flow.nwProto === TCP || flow.nwProto === SCTP;

const addresses = (flow: Flow): Uint8Array =>
  flow.dlType === ETH_IPV6 ? xor(flow, 'ipv6_src', 'ipv6_dst') : xor(flow, 'nw_src', 'nw_dst');

function vlanBits(flow: Flow): number {
  return (flow.vlanTci0 ^ flow.vlanTci1) & VLAN_VID;
}

const put16 = (out: Uint8Array, at: number, v: number): void => {
  out[at] = v >> 8;
  out[at + 1] = v;
};

/** Addresses, ports and protocol of one direction. */
export function hash5Tuple(flow: Flow, basis: number): number {
  let h = basis;
  if (flow.dlType === ETH_IPV6) h = hashAddBytes(hashAddBytes(h, bytes(flow, 'ipv6_src')), bytes(flow, 'ipv6_dst'));
  else if (flow.dlType === ETH_IP || flow.dlType === ETH_ARP)
    h = hashAddBytes(hashAddBytes(h, bytes(flow, 'nw_src')), bytes(flow, 'nw_dst'));
  else return hashFinish(h, 42);
  h = hashAdd(h, flow.nwProto);
  if ([TCP, UDP, SCTP, ICMP, ICMPV6].includes(flow.nwProto)) {
    const at = FLOW_MEMBERS.tp_src.offset;
    h = hashAddBytes(h, flow.u8.subarray(at, at + 4));
  }
  return hashFinish(h, 42);
}

/** The same for both directions of a connection; Ethernet addresses count. UDP's ports do not: they need not be symmetric. */
export function hashSymmetricL4(flow: Flow, basis: number): number {
  const b = new Uint8Array(32);
  put16(b, 16, flow.dlType);
  put16(b, 18, vlanBits(flow));
  b.set(xor(flow, 'dl_src', 'dl_dst'), 22);
  if (isIp(flow)) {
    b.set(addresses(flow));
    b[28] = flow.nwProto;
    if (hasPorts(flow)) put16(b, 20, flow.tpSrc ^ flow.tpDst);
  }
  return jhashBytes(b, basis);
}

function hashSymmetricL2(flow: Flow, basis: number): number {
  if (flow.packetType !== 0) return 0;
  const b = new Uint8Array(12);
  put16(b, 0, flow.dlType);
  put16(b, 2, vlanBits(flow));
  b.set(xor(flow, 'dl_src', 'dl_dst'), 4);
  return hashFinish(hashAddBytes(basis, b), basis);
}

/** The same for both directions of a connection; of packets without IP, what is in the Ethernet header. */
export function hashSymmetricL3L4(flow: Flow, basis: number, udpPorts = false): number {
  if (!isIp(flow)) return hashSymmetricL2(flow, basis);
  let h = hashAdd(hashAddBytes(basis, addresses(flow)), flow.nwProto);
  if (!isFragment(flow) && (hasPorts(flow) || (udpPorts && flow.nwProto === UDP))) {
    const ports = flow.tpSrc ^ flow.tpDst;
    h = hashAdd(h, ((ports & 255) << 8) | (ports >> 8));
  }
  return hashFinish(h, basis);
}

function hashSymmetricL3(flow: Flow, basis: number): number {
  const b = new Uint8Array(20);
  put16(b, 16, flow.dlType);
  if (isIp(flow)) b.set(addresses(flow));
  return jhashBytes(b, basis);
}

function hashAddress(flow: Flow, v4: FlowMemberName, v6: FlowMemberName, basis: number): number {
  if (flow.dlType === ETH_IP) return jhashBytes(bytes(flow, v4), basis);
  if (flow.dlType === ETH_IPV6) return jhashBytes(bytes(flow, v6), basis);
  return basis;
}

export function hashFlowFields(flow: Flow, fields: HashFields, basis: number): number {
  switch (fields) {
    case 'eth_src':
      return jhashBytes(flow.dlSrc, basis);
    case 'symmetric_l4':
      return hashSymmetricL4(flow, basis);
    case 'symmetric_l3l4':
      return hashSymmetricL3L4(flow, basis);
    case 'symmetric_l3l4+udp':
      return hashSymmetricL3L4(flow, basis, true);
    case 'nw_src':
      return hashAddress(flow, 'nw_src', 'ipv6_src', basis);
    case 'nw_dst':
      return hashAddress(flow, 'nw_dst', 'ipv6_dst', basis);
    case 'symmetric_l3':
      return hashSymmetricL3(flow, basis);
  }
}

function mask(wc: FlowWildcards, ...names: readonly FlowMemberName[]): void {
  for (const name of names) bytes(wc, name).fill(0xff);
}

function maskAddresses(flow: Flow, wc: FlowWildcards): void {
  if (flow.dlType === ETH_IP) mask(wc, 'nw_src', 'nw_dst');
  else if (flow.dlType === ETH_IPV6) mask(wc, 'ipv6_src', 'ipv6_dst');
}

function maskSymmetricL4(flow: Flow, wc: FlowWildcards): void {
  mask(wc, 'dl_src', 'dl_dst');
  maskAddresses(flow, wc);
  if (isIp(flow)) {
    wc.nwProto = 0xff;
    if (flow.nwProto !== UDP) wc.tpSrc = wc.tpDst = flow.nwProto === ICMP ? 0xff : 0xffff;
  }
  wc.vlanTci0 |= VLAN_VID | VLAN_CFI;
  wc.vlanTci1 |= VLAN_VID | VLAN_CFI;
}

function maskSymmetricL3L4(flow: Flow, wc: FlowWildcards, udpPorts: boolean): void {
  if (!isIp(flow)) return;
  maskAddresses(flow, wc);
  wc.nwProto = 0xff;
  if (!isFragment(flow) && (hasPorts(flow) || (udpPorts && flow.nwProto === UDP))) mask(wc, 'tp_src', 'tp_dst');
}

/** Marks what `hashFlowFields` looks at. */
export function maskHashFields(flow: Flow, wc: FlowWildcards, fields: HashFields): void {
  switch (fields) {
    case 'eth_src':
      mask(wc, 'dl_src');
      break;
    case 'symmetric_l4':
      maskSymmetricL4(flow, wc);
      break;
    case 'symmetric_l3l4':
    case 'symmetric_l3l4+udp':
      maskSymmetricL3L4(flow, wc, fields !== 'symmetric_l3l4');
      break;
    case 'symmetric_l3':
      maskAddresses(flow, wc);
      break;
    case 'nw_src':
    case 'nw_dst':
      if (flow.dlType === ETH_IP) mask(wc, fields);
      else if (flow.dlType === ETH_IPV6) mask(wc, fields === 'nw_src' ? 'ipv6_src' : 'ipv6_dst');
      break;
  }
}
