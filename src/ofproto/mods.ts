import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { OfpPort } from '../base/types.ts';
import type { Ofpact } from '../openflow/actions.ts';
import {
  type Envelope,
  type FlowMod,
  type FragHandling,
  type MessageOf,
  type MessageType,
  OFP_NO_BUFFER,
  type PacketOut,
  PC_NO_FLOOD,
  PC_NO_FWD,
  PC_NO_PACKET_IN,
  PC_NO_RECV,
  PC_NO_RECV_STP,
  PC_NO_STP,
  PC_PORT_DOWN,
} from '../openflow/messages.ts';
import type { OfprotoDesc } from './config.ts';
import type { FlowTables } from './flow-tables.ts';
import type { Ofconn } from './ofconn.ts';
import type { BridgePort } from './port.ts';

/** Requests that change a bridge, alone or in a bundle, and what they need of it. */

/** The part of a bridge that requests are about. */
export interface RequestHost {
  readonly flowTables: FlowTables;
  readonly desc: OfprotoDesc;
  frag: FragHandling;
  datapathId(): bigint;
  bridgePorts(): Iterable<BridgePort>;
  bridgePort(port: OfpPort): BridgePort | undefined;
  nowMs(): number;
  /** Takes the datapath's counters. */
  pushStats(): void;
  packetOut(m: PacketOut): OfErrorName | undefined;
  portConfigChanged(port: BridgePort): void;
  /** Something that translation reads has changed. */
  changed(): void;
  conns(): Iterable<Ofconn>;
  generationId: bigint | undefined;
}

export interface Request<T extends MessageType = MessageType> {
  host: RequestHost;
  conn: Ofconn;
  m: MessageOf<T>;
  env: Envelope;
  raw: Uint8Array;
}

/** Actions that this switch has no way to do, by the error that says so. */
export function unsupported(actions: readonly Ofpact[]): OfErrorName | undefined {
  for (const a of actions) {
    const error = UNSUPPORTED[a.type];
    if (error) return error;
    if (a.type === 'write_actions' || a.type === 'clone') {
      const inner = unsupported(a.actions);
      if (inner) return inner;
    }
  }
  return undefined;
}

const UNSUPPORTED: { [T in Ofpact['type']]?: OfErrorName } = {
  group: 'OFPBAC_BAD_OUT_GROUP',
  meter: 'OFPMMFC_UNKNOWN_METER',
  bundle: 'OFPBAC_BAD_TYPE',
  learn: 'OFPBAC_BAD_TYPE',
  multipath: 'OFPBAC_BAD_TYPE',
  sample: 'OFPBAC_BAD_TYPE',
  ct: 'OFPBAC_BAD_TYPE',
  nat: 'OFPBAC_BAD_TYPE',
  push_mpls: 'OFPBAC_BAD_TYPE',
  pop_mpls: 'OFPBAC_BAD_TYPE',
  set_mpls_label: 'OFPBAC_BAD_TYPE',
  set_mpls_tc: 'OFPBAC_BAD_TYPE',
  set_mpls_ttl: 'OFPBAC_BAD_TYPE',
  dec_mpls_ttl: 'OFPBAC_BAD_TYPE',
  dec_nsh_ttl: 'OFPBAC_BAD_TYPE',
  encap: 'OFPBAC_BAD_TYPE',
  decap: 'OFPBAC_BAD_TYPE',
  delete_field: 'OFPBAC_BAD_TYPE',
  check_pkt_larger: 'OFPBAC_BAD_TYPE',
  debug_recirc: 'OFPBAC_BAD_TYPE',
  debug_slow: 'OFPBAC_BAD_TYPE',
};

export function applyFlowMod(host: RequestHost, m: FlowMod): OfErrorName | undefined {
  const adds = m.command === 'add' || m.command.startsWith('modify');
  const error = unsupported(m.actions);
  if (error) return error;
  if (adds && m.bufferId !== OFP_NO_BUFFER) return 'OFPBRC_BUFFER_UNKNOWN';
  // What is about to go must have all its packets.
  if (!adds) host.pushStats();
  return host.flowTables.flowMod(m);
}

const PORT_MOD_BITS: readonly number[] = [
  PC_NO_STP,
  PC_NO_RECV,
  PC_NO_RECV_STP,
  PC_NO_FLOOD,
  PC_NO_FWD,
  PC_NO_PACKET_IN,
];

export function applyPortMod(host: RequestHost, m: MessageOf<'port_mod'>): OfErrorName | undefined {
  const port = host.bridgePort(m.portNo);
  if (!port) return 'OFPPMFC_BAD_PORT';
  if (!Buffer.from(m.hwAddr).equals(Buffer.from(port.netdev.mac()))) return 'OFPPMFC_BAD_HW_ADDR';
  const before = port.config;
  if (m.mask & PC_PORT_DOWN) port.netdev.setAdminUp((m.config & PC_PORT_DOWN) === 0);
  for (const bit of PORT_MOD_BITS) if (m.mask & bit) port.configBits = (port.configBits & ~bit) | (m.config & bit);
  if (port.config !== before) host.portConfigChanged(port);
  return undefined;
}
