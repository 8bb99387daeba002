import type { OdpPort } from '../../base/types.ts';
import type { DpAction } from '../../dpif/dpif.ts';
import { parseOdpActions } from '../../dpif/odp-action-parse.ts';
import { formatOdpActions } from '../../dpif/odp-action-text.ts';
import { isMplsType } from '../../dpif/odp-keys.ts';
import { parseOdpFlow } from '../../dpif/odp-parse.ts';
import { formatOdpFlow } from '../../dpif/odp-text.ts';
import type { Flow } from '../../flow/flow.ts';

/** `parse-actions` and `normalize-actions` of ovs-dpctl: datapath actions in one form, whatever form they were written in. */

const VLAN_TYPE = 0x8100;

/** Datapath actions as they are printed. Throws OdpParseError. */
export function parseActions(text: string): string {
  return formatOdpActions(parseOdpActions(text));
}

function portNames(words: readonly string[]): (name: string) => OdpPort | undefined {
  const ports = new Map<string, OdpPort>();
  for (const word of words) {
    const match = /^([^=]{1,15})=\s*([+-]?\d+)/.exec(word);
    if (!match) throw new Error(`${word}: expected NAME=NUMBER`);
    ports.set(match[1]!, Number(match[2]) as OdpPort);
  }
  return (name) => ports.get(name);
}

/** What `actions` do to a packet of `flow`, VLAN by VLAN, with outputs in the order of their ports: two lists that differ only in the order
 *  in which tags are put on and taken off give the same text. Throws OdpParseError. */
export function normalizeActions(flow: string, actions: string, names: readonly string[], isVerbose: boolean): string {
  const port = portNames(names);
  const key = parseOdpFlow(flow, port);
  const parsed = parseOdpActions(actions, port);
  let text = `input flow: ${formatOdpFlow(key.flow, key.wc, { verbose: isVerbose })}\n`;
  if (isVerbose) text += `input actions: ${formatOdpActions(parsed)}\n`;
  return text + groupsText(groupByTags(key.flow, parsed));
}

interface Group {
  /** The packet's tags when the actions happen. */
  readonly flow: Flow;
  readonly actions: DpAction[];
}

function groupByTags(start: Flow, actions: readonly DpAction[]): Group[] {
  const groups: Group[] = [];
  const flow = start.clone();
  for (const action of actions) {
    if (action.type === 'push_vlan') pushVlan(flow, action.tpid, action.tci);
    else if (action.type === 'pop_vlan') popVlan(flow);
    else groupOf(groups, flow).actions.push(action);
  }
  return groups.sort((a, b) => Buffer.compare(tagBytes(a.flow), tagBytes(b.flow)));
}

function groupOf(groups: Group[], flow: Flow): Group {
  const known = groups.find((group) => group.flow.equals(flow));
  if (known) return known;
  const group = { flow: flow.clone(), actions: [] };
  groups.push(group);
  return group;
}

function pushVlan(flow: Flow, tpid: number, tci: number): void {
  flow.vlanTpid1 = flow.vlanTpid0;
  flow.vlanTci1 = flow.vlanTci0;
  flow.vlanTpid0 = tpid;
  flow.vlanTci0 = tci;
}

function popVlan(flow: Flow): void {
  flow.vlanTpid0 = flow.vlanTpid1;
  flow.vlanTci0 = flow.vlanTci1;
  flow.vlanTpid1 = flow.vlanTci1 = 0;
}

function tagBytes(flow: Flow): Buffer {
  const bytes = Buffer.alloc(8);
  for (const [i, half] of [flow.vlanTpid0, flow.vlanTci0, flow.vlanTpid1, flow.vlanTci1].entries()) {
    bytes.writeUInt16BE(half, 2 * i);
  }
  return bytes;
}

function groupsText(groups: readonly Group[]): string {
  return groups
    .map(({ flow, actions }) => `${vlanText(flow)}${mplsText(flow)}${formatOdpActions(sorted(actions))}`)
    .join('');
}

function vlanText(flow: Flow): string {
  const tags = [
    [flow.vlanTpid0, flow.vlanTci0],
    [flow.vlanTpid1, flow.vlanTci1],
  ] as const;
  let text = '';
  for (const [tpid, tci] of tags) {
    if (tci === 0) break;
    // ovs-dpctl shows the type in the byte order of the wire.
    const swapped = ((tpid & 0xff) << 8) | (tpid >> 8);
    const type = tpid === VLAN_TYPE ? '' : `tpid=0x${swapped.toString(16).padStart(4, '0')},`;
    text += `vlan(${type}vid=${tci & 0xfff},pcp=${tci >> 13}): `;
  }
  return text === '' ? 'no vlan: ' : text;
}

function mplsText(flow: Flow): string {
  if (!isMplsType(flow.dlType)) return 'no mpls: ';
  const lse = flow.mplsLse0 >>> 0;
  return `mpls(label=${lse >>> 12},tc=${(lse >>> 9) & 7},ttl=${lse & 0xff}): `;
}

/** Outputs in a row come in the order of their ports. */
function sorted(actions: readonly DpAction[]): DpAction[] {
  const result: DpAction[] = [];
  let run: Extract<DpAction, { type: 'output' }>[] = [];
  const flush = () => {
    result.push(...run.sort((a, b) => a.port - b.port));
    run = [];
  };
  for (const action of actions) {
    if (action.type === 'output') run.push(action);
    else {
      flush();
      result.push(action);
    }
  }
  flush();
  return result;
}
