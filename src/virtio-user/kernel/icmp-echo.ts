/** The mode icmpecho: answers ARP requests and ICMP echo requests on the port they came from. */
import { BURST, BURST_OUT, PORT_MAC } from './layout';
import { bufData, bufLen, bufNext } from './pool';
import { consume, receiveBurst, sendOrDrop } from './ports';

/** Ethertypes and fields as little-endian words of the frame. */
const ETH_ARP: u32 = 0x0608;
const ETH_IPV4: u32 = 0x0008;
const ETH_VLAN: u32 = 0x0081;
const ARP_REQUEST: u32 = 0x0100;
const ARP_REPLY: u32 = 0x0200;

function copyMac(to: u32, from: u32): void {
  const low = load<u32>(from);
  const high = load<u16>(from, 4);
  store<u32>(to, low);
  store<u16>(to, high, 4);
}

/** Destination = the frame's source, source = the port's own address. */
function answerEthernet(frame: u32, port: u32): void {
  copyMac(frame, frame + 6);
  copyMac(frame + 6, port + PORT_MAC);
}

/** Turns an ARP request for IPv4 over Ethernet at `arp` into its reply. */
function answerArp(frame: u32, arp: u32, room: u32, port: u32): bool {
  if (room < 28 || <u32>load<u16>(arp, 6) != ARP_REQUEST) return false;
  const form = <u64>load<u32>(arp) | ((<u64>load<u16>(arp, 4)) << 32);
  if (form != 0x040600080100) return false;
  store<u16>(arp, <u16>ARP_REPLY, 6);
  const senderIp = load<u32>(arp, 14);
  const targetIp = load<u32>(arp, 24);
  copyMac(arp + 18, arp + 8);
  copyMac(arp + 8, port + PORT_MAC);
  store<u32>(arp, targetIp, 14);
  store<u32>(arp, senderIp, 24);
  answerEthernet(frame, port);
  return true;
}

/** Turns an ICMP echo request into its reply. */
function answerPing(frame: u32, ip: u32, room: u32, port: u32): bool {
  const ihl = (<u32>load<u8>(ip) & 15) << 2;
  if (room < 28 || load<u8>(ip) >> 4 != 4 || ihl < 20 || room < ihl + 8) return false;
  // Only whole datagrams: a later fragment has no ICMP header.
  if (load<u8>(ip, 9) != 1 || (load<u16>(ip, 6) & 0xff1f) != 0) return false;
  const icmp = ip + ihl;
  if (load<u16>(icmp) != 8) return false;
  const src = load<u32>(ip, 12);
  store<u32>(ip, load<u32>(ip, 16), 12);
  store<u32>(ip, src, 16);
  store<u8>(icmp, 0);
  // Type 8 became 0: RFC 1624's update of the checksum, in the byte order it is stored in.
  const sum = <u32>bswap<u16>(load<u16>(icmp, 2)) + 0x0800;
  store<u16>(icmp, bswap<u16>(<u16>((sum & 0xffff) + (sum >> 16))), 2);
  answerEthernet(frame, port);
  return true;
}

function answer(buf: u32, port: u32): bool {
  const frame = bufData(buf);
  const len = bufLen(buf);
  if (len < 14 || bufNext(buf) != 0) return false;
  let l3: u32 = 14;
  let type = <u32>load<u16>(frame, 12);
  if (type == ETH_VLAN && len >= 18) {
    type = <u32>load<u16>(frame, 16);
    l3 = 18;
  }
  if (type == ETH_ARP) return answerArp(frame, frame + l3, len - l3, port);
  if (type == ETH_IPV4) return answerPing(frame, frame + l3, len - l3, port);
  return false;
}

/** One burst; returns how many packets were received. What needs no answer is consumed. */
export function icmpEcho(port: u32, burst: u32): u32 {
  const n = receiveBurst(port, BURST, burst);
  let out: u32 = 0;
  let rest: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const buf = load<u32>(BURST + (i << 2));
    if (answer(buf, port)) store<u32>(BURST_OUT + (out++ << 2), buf);
    else store<u32>(BURST + (rest++ << 2), buf);
  }
  consume(port, BURST, rest);
  sendOrDrop(port, BURST_OUT, out);
  return n;
}
