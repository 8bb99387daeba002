import { ofpPort } from '../base/types.ts';
import { fieldByName } from './field.ts';
import { FlowTextError } from './field-text.ts';
import { parseFlow } from './flow-text.ts';
import { parseKeyValues } from './key-value.ts';
import {
  type FlowMonitorRequest,
  FMF_ADD,
  FMF_INITIAL,
  FMF_INSTRUCTIONS,
  FMF_MODIFY,
  FMF_NO_ABBREV,
  FMF_ONLY_OWN,
  FMF_REMOVED,
} from './messages-monitor.ts';
import { atoi } from './number-text.ts';
import { type PortNames, parseTable } from './port.ts';
import { P_OF10_ANY, type Protocols } from './protocol.ts';

/** What `monitor watch:…` takes (ovs-ofctl(8)). Throws FlowTextError. */

const NEGATIONS: Readonly<Record<string, number>> = {
  '!initial': FMF_INITIAL,
  '!add': FMF_ADD,
  '!delete': FMF_REMOVED,
  '!modify': FMF_MODIFY,
  '!actions': FMF_INSTRUCTIONS,
  '!abbrev': FMF_NO_ABBREV,
  '!own': FMF_ONLY_OWN,
};

const DEFAULT_FLAGS = FMF_INITIAL | FMF_ADD | FMF_REMOVED | FMF_MODIFY | FMF_ONLY_OWN | FMF_INSTRUCTIONS;
/** OpenFlow 1.0 numbers ports with 16 bits. */
const port = (n: number): number => ((n & 0xffff) >= 0xff00 ? (n | 0xffff0000) >>> 0 : n & 0xffff);

/** `monitorId`: that of the request. */
export function parseFlowMonitor(
  s: string,
  monitorId: number,
  names?: PortNames,
): { monitor: FlowMonitorRequest; protocols: Protocols } {
  const monitor: Omit<FlowMonitorRequest, 'match'> = {
    monitorId,
    command: 'add',
    flags: DEFAULT_FLAGS,
    outPort: ofpPort(0xffffffff),
    outGroup: 0xffffffff,
    tableId: 255,
  };
  const match: string[] = [];
  for (const { key, value } of parseKeyValues(s)) {
    if (Object.hasOwn(NEGATIONS, key)) monitor.flags &= ~NEGATIONS[key];
    else if (key === 'table' || key === 'out_port' || key === 'out_group') {
      if (value === '') throw new FlowTextError(`${s}: field ${key} missing value`);
      if (key === 'table') monitor.tableId = table(value, names);
      else if (key === 'out_port') monitor.outPort = ofpPort(port(atoi(value)));
      else monitor.outGroup = atoi(value) >>> 0;
    } else match.push(matchItem(s, key, value));
  }
  const text = match.join(',');
  const { fm, protocols } = parseFlow(text, 'match', names);
  if (!(protocols & P_OF10_ANY)) throw new FlowTextError(`${s}: match field is not supported for flow monitor`);
  return { monitor: { ...monitor, match: fm.match }, protocols };
}

function table(value: string, names: PortNames | undefined): number {
  const id = parseTable(value, names);
  if (id === undefined) throw new FlowTextError(`unknown table "${value}"`);
  return id;
}

/** Fields and the words for protocols go on to the match. */
function matchItem(s: string, key: string, value: string): string {
  if (fieldByName(key)) return value === '' ? key : `${key}=${value}`;
  if (value !== '') throw new FlowTextError(`${s}: unknown keyword ${key}`);
  return key;
}
