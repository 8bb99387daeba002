import { composePacket } from '../../flow/compose.ts';
import type { Flow } from '../../flow/flow.ts';
import { flowFromPacket } from '../../flow/packet-flow.ts';
import { formatFlow } from '../../openflow/flow-format.ts';
import { parseMatch } from '../../openflow/flow-text.ts';
import { plainHexDump } from '../../openflow/print/text.ts';
import { err, out, outBytes } from './context.ts';
import { Exit, Fatal } from './fatal.ts';
import { pcapOf } from './pcap.ts';

/** `compose-packet`: a packet from a flow, and whether that flow comes out of it again. */

const OFPP_NONE = 0xffffffff;

export function composeFromText(text: string, l7: Uint8Array | undefined, pcap: boolean): void {
  const flow = exactFlow(text);
  const packet = composePacket(flow, l7 && [...l7]);
  if (pcap) outBytes(pcapOf(packet));
  else out(plainHexDump(packet));
  const extracted = flowFromPacket(packet, OFPP_NONE);
  if (flow.equals(extracted)) return;
  err(`specified and extracted flows differ:\nspecified: ${formatFlow(flow)}\nextracted: ${formatFlow(extracted)}`);
  throw new Exit(1);
}

function exactFlow(text: string): Flow {
  try {
    const { flow } = parseMatch(text);
    if (!flow.inPort) flow.inPort = OFPP_NONE;
    return flow;
  } catch (e) {
    throw new Fatal((e as Error).message);
  }
}
