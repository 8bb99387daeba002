import { ifIndex, RTM_GETADDR, rtnetlinkDump } from '../sys/netlink.ts';
import type { Address } from './ovs-router.ts';
import { attributesOf, isIpFamily, mappedAddress, mappedBits, messagesOf } from './rtnetlink-messages.ts';

/** The addresses of the host's interfaces, also of those without a carrier, which os.networkInterfaces() leaves out. */

const RTM_NEWADDR = 20;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFADDRMSG = 8;

const buffer = new Uint8Array(65536);

/** struct ifaddrmsg { u8 family, prefixlen, flags, scope; u32 index } of the interface `ifindex`. IPv4 addresses are mapped, and so are their prefixes. Pure. */
export function parseAddresses(datagram: Uint8Array, ifindex: number): Address[] {
  const addresses: Address[] = [];
  for (const { type, body } of messagesOf(datagram)) {
    if (type !== RTM_NEWADDR || body.length < IFADDRMSG) continue;
    const [family, bits] = body as unknown as [number, number];
    const index = new DataView(body.buffer, body.byteOffset).getUint32(4, true);
    if (index !== ifindex || !isIpFamily(family)) continue;
    const found = attributesOf(body, IFADDRMSG);
    // On a point-to-point link IFA_ADDRESS is the other end's.
    const own = found.get(IFA_LOCAL) ?? found.get(IFA_ADDRESS);
    const address = own && mappedAddress(own, family);
    const prefix = bits + mappedBits(family);
    if (address && prefix <= 128) addresses.push({ address, prefix });
  }
  return addresses;
}

/** Empty when there is no such interface, or when it cannot be asked. */
export function hostAddresses(device: string): Address[] {
  const ifindex = ifIndex(device);
  const addresses: Address[] = [];
  if (ifindex === 0) return addresses;
  try {
    rtnetlinkDump(RTM_GETADDR, buffer, (datagram) => addresses.push(...parseAddresses(datagram, ifindex)));
  } catch {
    // No descriptor or no memory was left for it (EMFILE, ENOBUFS).
  }
  return addresses;
}
