import { extract } from './extract.ts';
import { Flow } from './flow.ts';

/** The headers of a frame from a port, as a Flow of its own. `vlanLimit`: as of `extract`. */
export function flowFromPacket(packet: Uint8Array, inPort: number, vlanLimit?: number): Flow {
  const flow = new Flow();
  extract(packet, flow, vlanLimit);
  flow.inPort = inPort;
  return flow;
}
