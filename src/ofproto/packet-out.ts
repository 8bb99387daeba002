import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { OdpPort, OfpPort } from '../base/types.ts';
import type { Dpif } from '../dpif/dpif.ts';
import type { Flow } from '../flow/flow.ts';
import { flowFromPacket } from '../flow/packet-flow.ts';
import { checkActions } from '../openflow/action-check.ts';
import { packetWildcards } from '../openflow/flow-format.ts';
import type { Match } from '../openflow/match.ts';
import { OFP_NO_BUFFER, type PacketOut, type Resume } from '../openflow/messages.ts';
import type { OfprotoDeps } from './config.ts';
import { frozenState, type Named } from './continuation.ts';
import type { StagedPacketOut } from './mods.ts';
import { N_TABLES } from './oftable.ts';
import { OFPP_CONTROLLER, OFPP_LOCAL, OFPP_MAX, OFPP_NONE } from './ports.ts';
import type { Effect, XlateIn, XlateOut } from './xlate/types.ts';
import { xlateActions } from './xlate/xlate.ts';

/** Packets that a controller sends: new ones, and ones that were paused. */

/** What is needed of the bridge. */
export interface PacketBridge extends Named {
  bridgePort(port: OfpPort): { odpPort: OdpPort | undefined } | undefined;
  readonly backend: {
    readonly deps: OfprotoDeps;
    readonly dpif: Dpif;
    bridges(): Iterable<Named>;
    warn(text: string): void;
    creditOne(effects: readonly Effect[], bytes: number): void;
    releaseRecircs(ids: readonly number[]): void;
  };
}

/** The packet's headers with the metadata that the message gives. */
function flowOf(packet: Uint8Array, metadata: Match): Flow {
  const { flow: given } = metadata;
  const flow = flowFromPacket(packet, given.inPort, undefined, given.packetType);
  flow.orWith(given);
  flow.tunTable = given.tunTable;
  return flow;
}

/** Translates a packet-out; undefined state is OFPFMFC_UNKNOWN, as Open vSwitch says. The actions have to suit the packet. */
export function stagePacketOut(
  bridge: PacketBridge,
  m: PacketOut,
  allowInconsistent: boolean,
): StagedPacketOut | OfErrorName {
  if (m.bufferId !== OFP_NO_BUFFER) return 'OFPBRC_BUFFER_UNKNOWN';
  const reserved = m.inPort >= OFPP_MAX;
  if (reserved && m.inPort !== OFPP_LOCAL && m.inPort !== OFPP_CONTROLLER && m.inPort !== OFPP_NONE)
    return 'OFPBRC_BAD_PORT';
  const metadata = { flow: m.metadata.flow.clone(), wc: m.metadata.wc };
  metadata.flow.inPort = m.inPort;
  const { packet } = m;
  const flow = flowOf(packet, metadata);
  const match = { flow: flow.clone(), wc: packetWildcards(flow) };
  const error = checkActions(m.actions, match, { tableId: 0, nTables: N_TABLES, allowInconsistent });
  if (error) return error;
  const out = xlateActions({ bridge, flow, packet, actions: m.actions, inPacketOut: true, warn: warner(bridge) });
  if (out.error) {
    bridge.backend.releaseRecircs(out.recircs);
    return 'OFPFMFC_UNKNOWN';
  }
  return {
    finish: () => carryOut(bridge, packet, flow, out, bridge.bridgePort(m.inPort)?.odpPort),
    cancel: () => bridge.backend.releaseRecircs(out.recircs),
  };
}

const warner =
  (bridge: PacketBridge): XlateIn['warn'] =>
  (text) =>
    bridge.backend.warn(text);

function carryOut(
  bridge: PacketBridge,
  packet: Uint8Array,
  flow: Flow,
  out: XlateOut,
  odpPort: number | undefined,
): void {
  bridge.backend.creditOne(out.effects, packet.length);
  if (out.actions.length) {
    const key = flow.clone();
    key.inPort = odpPort ?? 0xffffffff;
    bridge.backend.dpif.execute(packet, key, out.actions);
  }
  bridge.backend.releaseRecircs(out.recircs);
}

/** Goes on with a packet where an action paused it (NXT_RESUME). */
export function resumePacket(bridge: PacketBridge, m: Resume): OfErrorName | undefined {
  const { packet, continuation } = m;
  const flow = flowOf(packet, m.metadata);
  const frozen = continuation && frozenState(bridge.backend.bridges(), continuation, flow);
  if (!frozen) return 'NXR_STALE';
  const out = xlateActions({ bridge: frozen.bridge, flow, packet, frozen, warn: warner(bridge) });
  if (out.error === 'bridge_not_found') return 'NXR_STALE';
  carryOut(bridge, packet, flow, out, continuation.odpPort ?? bridge.bridgePort(flow.inPort as never)?.odpPort);
  return undefined;
}
