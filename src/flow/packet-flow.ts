import { extract } from './extract.ts';
import { Flow } from './flow.ts';

/** The headers of a frame from a port, as a Flow of its own. `vlanLimit`, `packetType`: as of `extract`. */
export function flowFromPacket(packet: Uint8Array, inPort: number, vlanLimit?: number, packetType?: number): Flow {
  const flow = new Flow();
  extract(packet, flow, vlanLimit, packetType);
  flow.inPort = inPort;
  return flow;
}
