import { Flow } from '../flow/flow.ts';
import { fieldByName, getField, setField } from './field.ts';
import { isFieldPrereqOk } from './field-prereq.ts';
import { FlowTextError, parseField } from './field-text.ts';
import { PROTOCOLS } from './flow-text.ts';
import { parseKeyValues } from './key-value.ts';
import type { PortNames } from './port.ts';

/** A packet's headers in ovs-ofctl's syntax: every field has one value, and comes after what it needs. */

const OFPP_NONE = 0xffffffff;

function setProtocol(flow: Flow, key: string, s: string): boolean {
  const protocol = PROTOCOLS[key];
  if (!protocol) return false;
  if (flow.dlType) throw new FlowTextError(`${s}: Ethernet type set multiple times`);
  flow.dlType = protocol[0];
  if (!protocol[1]) return true;
  if (flow.nwProto) throw new FlowTextError(`${s}: network protocol set multiple times`);
  flow.nwProto = protocol[1];
  return true;
}

function parseValue(field: Parameters<typeof parseField>[0], key: string, value: string, s: string, names?: PortNames) {
  try {
    return parseField(field, value, names).value;
  } catch (e) {
    if (!(e instanceof FlowTextError)) throw e;
    throw new FlowTextError(`${s}: bad value for ${key} (${e.message})`);
  }
}

/** Parses headers and metadata; without an input port it is OFPP_NONE. Throws FlowTextError. */
export function parseExactFlow(s: string, names?: PortNames): Flow {
  const flow = new Flow();
  for (const { key, value } of parseKeyValues(s)) {
    if (setProtocol(flow, key, s)) continue;
    const field = fieldByName(key);
    if (!field) throw new FlowTextError(`${s}: unknown field ${key}`);
    if (!isFieldPrereqOk(flow, field)) throw new FlowTextError(`${s}: prerequisites not met for setting ${key}`);
    if (getField(flow, field).some((b) => b !== 0)) throw new FlowTextError(`${s}: field ${key} set multiple times`);
    setField(flow, field, parseValue(field, key, value, s, names));
  }
  if (!flow.inPort) flow.inPort = OFPP_NONE;
  return flow;
}
