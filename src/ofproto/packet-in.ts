import type { Flow } from '../flow/flow.ts';
import { FLOW_MEMBERS, type FlowMemberName } from '../gen/flow.ts';
import { catchallMatch, type Match } from '../openflow/match.ts';
import { tunMetadataToMatch } from '../openflow/tun-metadata.ts';

/** The metadata that a packet-in shows: what of it is not zero, and always the input port. */

const SHOWN: readonly FlowMemberName[] = [
  'tun_id',
  'tun_src',
  'tun_dst',
  'tun_ipv6_src',
  'tun_ipv6_dst',
  'tun_gbp_id',
  'tun_gbp_flags',
  'tun_erspan_ver',
  'tun_erspan_idx',
  'tun_erspan_dir',
  'tun_erspan_hwid',
  'tun_gtpu_flags',
  'tun_gtpu_msgtype',
  'metadata',
  ...Array.from({ length: 16 }, (_, i) => `reg${i}` as FlowMemberName),
  'pkt_mark',
  'ct_state',
  'ct_zone',
  'ct_mark',
  'ct_label',
];
/** FLOW_TNL_F_OAM, the flag that controllers see. */
const PUBLIC_TUN_FLAGS = 8;

export function packetInMetadata(flow: Flow): Match {
  const m = catchallMatch();
  for (const name of SHOWN) {
    const { offset, size } = FLOW_MEMBERS[name];
    const value = flow.u8.subarray(offset, offset + size);
    if (value.every((b) => b === 0)) continue;
    m.flow.u8.set(value, offset);
    m.wc.u8.fill(0xff, offset, offset + size);
  }
  if (flow.packetType !== 0) {
    m.flow.packetType = flow.packetType;
    m.wc.packetType = 0xffffffff;
  }
  if (flow.tunFlags & PUBLIC_TUN_FLAGS) {
    m.flow.tunFlags = flow.tunFlags & PUBLIC_TUN_FLAGS;
    m.wc.tunFlags = PUBLIC_TUN_FLAGS;
  }
  if (flow.tunMetadataPresent) tunMetadataToMatch(flow, m);
  if (flow.ctState !== 0) connectionToMatch(flow, m);
  m.flow.inPort = flow.inPort;
  m.wc.inPort = 0xffffffff;
  return m;
}

const ORIGINAL_V4: readonly FlowMemberName[] = ['ct_nw_src', 'ct_nw_dst', 'ct_nw_proto', 'ct_tp_src', 'ct_tp_dst'];
const ORIGINAL_V6: readonly FlowMemberName[] = ['ct_ipv6_src', 'ct_ipv6_dst', 'ct_nw_proto', 'ct_tp_src', 'ct_tp_dst'];

/** The connection's original direction, with the Ethertype that it can't be read without. */
function connectionToMatch(flow: Flow, m: Match): void {
  m.flow.dlType = flow.dlType;
  m.wc.dlType = 0xffff;
  if (flow.ctNwProto === 0) return;
  const names = flow.dlType === 0x0800 ? ORIGINAL_V4 : flow.dlType === 0x86dd ? ORIGINAL_V6 : [];
  for (const name of names) {
    const { offset, size } = FLOW_MEMBERS[name];
    m.flow.u8.set(flow.u8.subarray(offset, offset + size), offset);
    m.wc.u8.fill(0xff, offset, offset + size);
  }
}
