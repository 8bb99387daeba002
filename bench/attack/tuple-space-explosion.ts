/**
 * The tuple space explosion attack (L. Csikor et al., "Tuple Space Explosion: A Denial-of-Service Attack Against a Software Packet Classifier", CoNEXT
 * 2019): a tenant may write an ordinary white list of its own, and sends a packet for every way not to be on it. To tell such a packet from the list
 * takes the bits of a field down to the first that differs, so each combination of first differing bits is a mask of its own, and every packet of others
 * that no cache knows is tried against all of them.
 */
import { Flow, FlowWildcards } from '../../src/flow/flow.ts';

/** The white list, first match first. The victim's traffic is what its first line allows. */
export const WHITE_LIST = { tpDst: 80, nwSrc: 0x0a000001, tpSrc: 12345 } as const;

/** The white list as `ovs-ofctl add-flows` reads it, for packets that come in by OpenFlow port `inPort` and may leave by `outPort`. */
export function whiteListFlows(inPort: number, outPort: number): string[] {
  const allow = `actions=output:${outPort}`;
  return [
    `priority=100,in_port=${inPort},udp,tp_dst=${WHITE_LIST.tpDst},${allow}`,
    `priority=90,in_port=${inPort},udp,nw_src=10.0.0.1,${allow}`,
    `priority=80,in_port=${inPort},udp,tp_src=${WHITE_LIST.tpSrc},${allow}`,
    `priority=1,in_port=${inPort},actions=drop`,
  ];
}

/** What one packet of the attack has in its headers; everything else in it is noise. */
export interface AttackPacket {
  nwSrc: number;
  tpSrc: number;
  tpDst: number;
}

/** Number of bits from the top of a `width`-bit field down to and with the `i`th. */
const prefix = (width: number, i: number) => ((((1 << (i + 1)) - 1) << (width - 1 - i)) >>> 0) & (2 ** width - 1);
const prefix32 = (i: number) => (-1 << (31 - i)) >>> 0;

/** All the combinations: 16 × 32 × 16 packets, as many masks. */
export function* explosionPackets(): Generator<AttackPacket> {
  for (const { packet } of combinations()) yield packet;
}

function* combinations(): Generator<{ packet: AttackPacket; bits: readonly [number, number, number] }> {
  for (let s = 0; s < 32; s++)
    for (let p = 0; p < 16; p++)
      for (let d = 0; d < 16; d++) {
        const nwSrc = (WHITE_LIST.nwSrc ^ (1 << (31 - s))) >>> 0;
        const tpSrc = WHITE_LIST.tpSrc ^ (1 << (15 - p));
        const tpDst = WHITE_LIST.tpDst ^ (1 << (15 - d));
        yield { packet: { nwSrc, tpSrc, tpDst }, bits: [s, p, d] };
      }
}

/** The megaflows that the attack makes of the white list, for a datapath that is tried without translation. `key` is the packet's whole key. */
export function* explosionMasks(inPort: number): Generator<{ key: Flow; mask: FlowWildcards }> {
  for (const { packet, bits } of combinations()) {
    const key = new Flow();
    Object.assign(key, { inPort, dlType: 0x0800, nwProto: 17, nwTtl: 64, ...packet });
    const mask = new FlowWildcards();
    Object.assign(mask, { inPort: 0xffffffff, recircId: 0xffffffff, dlType: 0xffff, vlanTci0: 0xffff });
    Object.assign(mask, { nwFrag: 0xff, nwProto: 0xff });
    mask.nwSrc = prefix32(bits[0]);
    mask.tpSrc = prefix(16, bits[1]);
    mask.tpDst = prefix(16, bits[2]);
    yield { key, mask };
  }
}
