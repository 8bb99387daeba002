import type { Flow } from '../../flow/flow.ts';
import { OFPP_CONTROLLER, OFPP_NONE } from '../ports.ts';
import { cameByTunnel } from '../tunnel-ports.ts';
import type { RecircStates, XBridge, XPort } from './types.ts';

/** Where translation of a packet from the datapath begins. */
export interface Ingress {
  bridge: XBridge;
  /** OpenFlow port that the packet came into the switch by. */
  inPort: number;
}

const isThere = (port: XPort): boolean => port.bridge.xport(port.ofpPort) === port;

/** The bridge and port of a packet with datapath key `key`; why there is none, as a text. */
export function lookupIngress(
  key: Flow,
  recircs: RecircStates,
  portOf: (odpPort: number) => XPort | undefined,
): Ingress | string {
  if (key.recircId) {
    const state = recircs.find(key.recircId);
    if (!state) return `no recirculation data for recirc_id 0x${key.recircId.toString(16)}`;
    const { inPort } = state.metadata;
    // A controller's packet-out came in by no port.
    if (inPort === OFPP_NONE || inPort === OFPP_CONTROLLER) {
      if (!state.bridge.destroyed) return { bridge: state.bridge, inPort };
    } else if (state.xport && isThere(state.xport)) return { bridge: state.xport.bridge, inPort: state.xport.ofpPort };
  }
  const port = portOf(key.inPort);
  if (!port)
    return cameByTunnel(key)
      ? 'no OpenFlow tunnel port for this packet'
      : `no OpenFlow port for datapath port ${key.inPort}`;
  return { bridge: port.bridge, inPort: port.ofpPort };
}
