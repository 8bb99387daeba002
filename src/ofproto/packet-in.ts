import type { Flow } from '../flow/flow.ts';
import { FLOW_MEMBERS, type FlowMemberName } from '../gen/flow.ts';
import { catchallMatch, type Match } from '../openflow/match.ts';

/** The metadata that a packet-in shows: what of it is not zero, and always the input port. */

const SHOWN: readonly FlowMemberName[] = [
  'tun_id',
  'tun_src',
  'tun_dst',
  'tun_ipv6_src',
  'tun_ipv6_dst',
  'tun_gbp_id',
  'tun_gbp_flags',
  'metadata',
  ...Array.from({ length: 16 }, (_, i) => `reg${i}` as FlowMemberName),
  'pkt_mark',
  'ct_state',
  'ct_zone',
  'ct_mark',
];

export function packetInMetadata(flow: Flow): Match {
  const m = catchallMatch();
  for (const name of SHOWN) {
    const { offset, size } = FLOW_MEMBERS[name];
    const value = flow.u8.subarray(offset, offset + size);
    if (value.every((b) => b === 0)) continue;
    m.flow.u8.set(value, offset);
    m.wc.u8.fill(0xff, offset, offset + size);
  }
  m.flow.inPort = flow.inPort;
  m.wc.inPort = 0xffffffff;
  return m;
}
