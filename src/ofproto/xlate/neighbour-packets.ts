/** Questions for the hardware address of a neighbour: ARP (RFC 826), neighbour discovery (RFC 4861). */

const u32 = (n: number): number[] => [n >>> 24, (n >>> 16) & 0xff, (n >>> 8) & 0xff, n & 0xff];

export function arpRequest(mac: Uint8Array, from: number, to: number): Uint8Array {
  const head = [0, 1, 8, 0, 6, 4, 0, 1];
  const zero = [0, 0, 0, 0, 0, 0];
  return Uint8Array.of(255, 255, 255, 255, 255, 255, ...mac, 8, 6, ...head, ...mac, ...u32(from), ...zero, ...u32(to));
}

const ICMPV6 = 58;
const ND_SOLICIT = 135;
/** Source link-layer address, in units of 8 bytes. */
const OPT_SLL = [1, 1];

function checksum(pseudo: readonly number[], body: readonly number[]): number {
  const all = [...pseudo, ...body];
  let sum = 0;
  for (let i = 0; i < all.length; i += 2) sum += (all[i] << 8) | all[i + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** To the target's solicited-node multicast address. Addresses are 16 bytes. */
export function neighbourSolicitation(mac: Uint8Array, from: Uint8Array, target: Uint8Array): Uint8Array {
  const last = [...target.subarray(13)];
  const to = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, ...last];
  const rest = [0, 0, 0, 0, ...target, ...OPT_SLL, ...mac];
  const size = 4 + rest.length;
  const sum = checksum([...from, ...to, 0, size, 0, ICMPV6], [ND_SOLICIT, 0, 0, 0, ...rest]);
  return Uint8Array.of(
    ...[0x33, 0x33, 0xff, ...last, ...mac, 0x86, 0xdd],
    ...[0x60, 0, 0, 0, 0, size, ICMPV6, 255, ...from, ...to],
    ...[ND_SOLICIT, 0, sum >> 8, sum & 0xff, ...rest],
  );
}
