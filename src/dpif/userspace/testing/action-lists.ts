import fc from 'fast-check';
import { type OdpPort, odpPort } from '../../../base/types.ts';
import type { DpAction, DpSetAttr } from '../../dpif.ts';
import { odpHeaderSize } from '../../odp-keys.ts';
import type { frames } from './packets.ts';

/** Random action lists, such as translation makes for packets of a kind. Ports 1 to 4, bonds 1 to 3. */

/** Bonds that the lists name: one of ports 1 to 4, one without members. */
export const testBonds: readonly (readonly [id: number, members: readonly (OdpPort | undefined)[]])[] = [
  [1, Array.from({ length: 256 }, (_, i) => odpPort(1 + (i % 4)))],
  [2, []],
];

const output = fc.integer({ min: 1, max: 4 }).map((n): DpAction[] => [{ type: 'output', port: odpPort(n) }]);
const truncated = fc
  .tuple(fc.integer({ min: 14, max: 90 }), fc.boolean(), output)
  .map(([maxLen, tagged, out]): DpAction[] => [
    { type: 'trunc', maxLen },
    ...(tagged ? [{ type: 'push_vlan' as const, tpid: 0x8100, tci: 0x1005 }] : []),
    ...out,
  ]);
const userspace = fc.constant<DpAction[]>([{ type: 'userspace', userdata: { kind: 'slow_path', reason: 'action' } }]);
const hash = fc
  .tuple(fc.constantFrom('l4' as const, 'sym_l4' as const), fc.nat(0xffffffff))
  .map(([algorithm, basis]): DpAction[] => [{ type: 'hash', algorithm, basis }]);
/** Bond 2 has no members, 3 is not there. */
const lbOutput = fc.constantFrom(1, 1, 1, 2, 3).map((bondId): DpAction[] => [{ type: 'lb_output', bondId }]);
const pushVlan = fc
  .record({ tpid: fc.constantFrom(0x8100, 0x88a8), tci: fc.nat(0xffff) })
  .map(({ tpid, tci }): DpAction[] => [{ type: 'push_vlan', tpid, tci: tci | 0x1000 }]);
const popVlan = fc.constant<DpAction[]>([{ type: 'pop_vlan' }]);

/** Full masks, none, and random ones. */
function set(attr: DpSetAttr): fc.Arbitrary<DpAction[]> {
  const size = odpHeaderSize(attr);
  const bytes = fc.uint8Array({ minLength: size, maxLength: size });
  const mask = fc.oneof(bytes, fc.constant(new Uint8Array(size).fill(0xff)), fc.constant(new Uint8Array(size)));
  return fc.tuple(bytes, mask).map(([key, m]) => [{ type: 'set', attr, key, mask: m }]);
}

const pushMpls = fc
  .nat(0xffffffff)
  .map((lse): DpAction[] => [{ type: 'push_mpls', ethertype: 0x8847, lse: lse >>> 0 }]);
const popMpls = fc.constant<DpAction[]>([{ type: 'pop_mpls', ethertype: 0x8847 }]);

/** NSH (RFC 8300) of metadata type 1, and of type 2 without metadata. */
const pushNsh = fc
  .tuple(fc.boolean(), fc.uint8Array({ minLength: 24, maxLength: 24 }))
  .map(([fixed, rest]): DpAction[] => {
    const nsh = rest.slice(0, fixed ? 24 : 8);
    nsh.set([0x0f, 0xc0 | (nsh.length / 4), fixed ? 1 : 2]);
    return [{ type: 'push_nsh', nsh }];
  });
const pushEth = fc
  .uint8Array({ minLength: 12, maxLength: 12 })
  .map((b): DpAction[] => [{ type: 'push_eth', src: b.slice(0, 6), dst: b.slice(6) }]);
const popEth = fc.constant<DpAction[]>([{ type: 'pop_eth' }]);
const popNsh = fc.constant<DpAction[]>([{ type: 'pop_nsh' }]);
const encapsulation = fc.tuple(pushNsh, pushEth).map((parts) => parts.flat());
const decapsulation = fc.tuple(popEth, popNsh).map((parts) => parts.flat());

/** What changes a packet's type, at random and as translation has it. */
export const typeChanges = [pushNsh, pushEth, popEth, popNsh, encapsulation, encapsulation, decapsulation, set('nsh')];

/** What translation makes of a flow that matches this kind of packet. */
export const KIND_ACTIONS: Readonly<Record<keyof typeof frames, readonly fc.Arbitrary<DpAction[]>[]>> = {
  ipv4: [set('ipv4'), set('tcp'), set('udp'), set('sctp'), set('icmp')],
  ipv6: [set('ipv6'), set('tcp'), set('udp'), set('sctp'), set('icmpv6'), set('nd')],
  arp: [set('arp')],
  mpls: [set('mpls'), pushMpls, popMpls],
  unknown: [set('skb_mark'), set('skb_priority')],
};

/** Lists in which every `trunc` stands before its output; nested ones as deep as `depth`. */
export function actionList(
  kind: keyof typeof frames,
  depth = 3,
  more: readonly fc.Arbitrary<DpAction[]>[] = [],
): fc.Arbitrary<DpAction[]> {
  const plain = [
    output,
    output,
    truncated,
    userspace,
    pushVlan,
    popVlan,
    hash,
    lbOutput,
    set('ethernet'),
    ...KIND_ACTIONS[kind],
  ];
  const nested = () => actionList(kind, depth - 1, more);
  const clone = () => nested().map((actions): DpAction[] => [{ type: 'clone', actions }]);
  const sample = () =>
    fc
      .tuple(fc.constantFrom(0, 0xffffffff), nested())
      .map(([probability, actions]): DpAction[] => [{ type: 'sample', probability, actions }]);
  const byLength = () =>
    fc
      .tuple(fc.integer({ min: 30, max: 110 }), nested(), nested())
      .map(([pktLen, ifGreater, ifLessEqual]): DpAction[] => [
        { type: 'check_pkt_len', pktLen, ifGreater, ifLessEqual },
      ]);
  const one = depth === 0 ? fc.oneof(...plain, ...more) : fc.oneof(...plain, ...more, clone(), sample(), byLength());
  return fc.array(one, { minLength: 1, maxLength: 7 }).map((parts) => parts.flat());
}
