import type { MatchField } from '../../protocols/fields.ts';
import type { Flow } from '../flow/flow.ts';
import { fieldByName, getField, isAllOnes, isAllZeros, maskField, setField } from './field.ts';
import { isFieldPrereqOk } from './field-prereq.ts';
import { FlowTextError, parseField } from './field-text.ts';
import { PROTOCOLS } from './flow-text.ts';
import { parseKeyValues } from './key-value.ts';
import { catchallMatch, type Match } from './match.ts';
import type { PortNames } from './port.ts';
import { isTunMetadata, isTunMetadataPresent, type TunTable, tunMetadataIndex } from './tun-metadata.ts';

/** A packet's headers in ovs-ofctl's syntax: every field has one value, and comes after what it needs. */

/** Takes one item of a packet's headers. Throws FlowTextError with the reason alone. */
function exactItem({ flow, wc }: Match, key: string, value: string, names: PortNames | undefined): void {
  if (Object.hasOwn(PROTOCOLS, key)) {
    const [dlType, nwProto] = PROTOCOLS[key];
    if (flow.dlType) throw new FlowTextError('Ethernet type set multiple times');
    if (nwProto && flow.nwProto) throw new FlowTextError('network protocol set multiple times');
    flow.dlType = dlType;
    wc.dlType = 0xffff;
    if (!nwProto) return;
    flow.nwProto = nwProto;
    wc.nwProto = 0xff;
    return;
  }
  const field = fieldByName(key);
  if (!field) throw new FlowTextError(`unknown field ${key}`);
  if (!isFieldPrereqOk(flow, field)) throw new FlowTextError(`prerequisites not met for setting ${key}`);
  if (isFieldSet(flow, field)) throw new FlowTextError(`field ${key} set multiple times`);
  setField(flow, field, exactValue(field, key, value, names));
  maskField(wc, field);
}

function isFieldSet(flow: Flow, field: MatchField): boolean {
  if (isTunMetadata(field)) return isTunMetadataPresent(flow, tunMetadataIndex(field));
  return !isAllZeros(getField(flow, field));
}

function exactValue(field: MatchField, key: string, text: string, names: PortNames | undefined): Uint8Array {
  try {
    const { value, mask } = parseField(field, text, names);
    if (!isAllOnes(mask)) throw new FlowTextError(`${text}: wildcards not allowed here`);
    return value;
  } catch (e) {
    if (e instanceof FlowTextError) throw new FlowTextError(`bad value for ${key} (${e.message})`);
    throw e;
  }
}

/**
 * Parses the headers of one packet, as ofproto/trace takes them: prerequisites first, no masks, nothing twice. `wc` has what was given.
 * Without an in_port it is OFPP_ANY.
 */
export function parseExactMatch(s: string, names?: PortNames, tunTable?: TunTable): Match {
  const m = catchallMatch();
  m.flow.tunTable = m.wc.tunTable = tunTable;
  try {
    for (const { key, value } of parseKeyValues(s)) exactItem(m, key, value, names);
  } catch (e) {
    if (e instanceof FlowTextError) throw new FlowTextError(`${s}: ${e.message}`);
    throw e;
  }
  if (!m.flow.inPort) m.flow.inPort = 0xffffffff;
  return m;
}

/** The headers alone. */
export function parseExactFlow(s: string, names?: PortNames, tunTable?: TunTable): Flow {
  return parseExactMatch(s, names, tunTable).flow;
}
