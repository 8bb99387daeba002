import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { Flow } from '../flow/flow.ts';
import { flowFromPacket } from '../flow/packet-flow.ts';
import type { Match } from '../openflow/match.ts';
import { OFP_NO_BUFFER, type PacketOut, type Resume } from '../openflow/messages.ts';
import type { Bridge } from './bridge.ts';
import { frozenState } from './continuation.ts';
import type { StagedPacketOut } from './mods.ts';
import { OFPP_CONTROLLER, OFPP_LOCAL, OFPP_MAX, OFPP_NONE } from './ports.ts';
import type { XlateIn, XlateOut } from './xlate/types.ts';
import { xlateActions } from './xlate/xlate.ts';

/** Packets that a controller sends: new ones, and ones that were paused. */

/** The packet's headers with the metadata that the message gives. */
function flowOf(packet: Uint8Array, metadata: Match): Flow {
  const { flow: given } = metadata;
  const flow = flowFromPacket(packet, given.inPort, undefined, given.packetType);
  flow.orWith(given);
  flow.tunTable = given.tunTable;
  return flow;
}

/** Translates a packet-out; undefined state is OFPFMFC_UNKNOWN, as Open vSwitch says. */
export function stagePacketOut(bridge: Bridge, m: PacketOut): StagedPacketOut | OfErrorName {
  if (m.bufferId !== OFP_NO_BUFFER) return 'OFPBRC_BUFFER_UNKNOWN';
  const reserved = m.inPort >= OFPP_MAX;
  if (reserved && m.inPort !== OFPP_LOCAL && m.inPort !== OFPP_CONTROLLER && m.inPort !== OFPP_NONE)
    return 'OFPBRC_BAD_PORT';
  const metadata = { flow: m.metadata.flow.clone(), wc: m.metadata.wc };
  metadata.flow.inPort = m.inPort;
  const { packet } = m;
  const flow = flowOf(packet, metadata);
  const out = xlateActions({ bridge, flow, packet, actions: m.actions, inPacketOut: true, warn: warner(bridge) });
  if (out.error) {
    bridge.backend.releaseRecircs(out.recircs);
    return 'OFPFMFC_UNKNOWN';
  }
  return { finish: () => carryOut(bridge, packet, flow, out, bridge.bridgePort(m.inPort)?.odpPort) };
}

const warner =
  (bridge: Bridge): XlateIn['warn'] =>
  (text) =>
    bridge.backend.deps.vlog('ofproto_dpif_xlate').warn(text);

function carryOut(bridge: Bridge, packet: Uint8Array, flow: Flow, out: XlateOut, odpPort: number | undefined): void {
  bridge.backend.creditOne(out.effects, packet.length);
  if (out.actions.length) {
    const key = flow.clone();
    key.inPort = odpPort ?? 0xffffffff;
    bridge.backend.dpif.execute(packet, key, out.actions);
  }
  bridge.backend.releaseRecircs(out.recircs);
}

/** Goes on with a packet where an action paused it (NXT_RESUME). */
export function resumePacket(bridge: Bridge, m: Resume): OfErrorName | undefined {
  const { packet, continuation } = m;
  const flow = flowOf(packet, m.metadata);
  const frozen = continuation && frozenState(bridge, continuation, flow);
  if (!frozen) return 'NXR_STALE';
  const out = xlateActions({ bridge: frozen.bridge, flow, packet, frozen, warn: warner(bridge) });
  if (out.error === 'bridge_not_found') return 'NXR_STALE';
  carryOut(bridge, packet, flow, out, continuation.odpPort ?? bridge.bridgePort(flow.inPort as never)?.odpPort);
  return undefined;
}
