import { type DpAction, TUNNEL_F_RAW } from '../dpif/dpif.ts';
import { rawGeneve } from '../dpif/tunnel-geneve.ts';
import type { Flow, FlowWildcards } from '../flow/flow.ts';
import { FLOW_MEMBERS, FLOW_SIZE } from '../gen/flow.ts';
import { packetWildcards } from '../openflow/flow-format.ts';
import { geneveOptionsMask, readGeneveOptions, type TunTable } from '../openflow/tun-metadata.ts';
import type { Ingress } from './xlate/lookup.ts';

/** From a translation's wildcards to a megaflow's mask, and what revalidation compares. */

/** VLAN id and presence: what is matched of a tag that nobody looked at, as in Open vSwitch. */
const VLAN_UNSEEN = 0x1fff;

/** The mask to install for packets like `key`: a datapath always tells tagged from untagged packets. */
export function megaflowMask(key: Flow, wc: FlowWildcards): FlowWildcards {
  const mask = wc.clone();
  const tags = [
    ['vlanTpid0', 'vlanTci0'],
    ['vlanTpid1', 'vlanTci1'],
  ] as const;
  for (const [tpid, tci] of tags) {
    mask[tpid] = 0xffff;
    // No tag: all of the TCI is zero. A tag: at least its presence counts.
    if (key[tci] === 0) mask[tci] = 0xffff;
    else if (mask[tci] === 0 && tci === 'vlanTci0') mask[tci] = VLAN_UNSEEN;
    else mask[tci] |= 0x1000;
  }
  if (key.tunFlags & TUNNEL_F_RAW) maskRawOptions(key, wc, mask);
  return mask;
}

/** A packet with other options, or in another order, is another flow. */
function maskRawOptions(key: Flow, wc: FlowWildcards, mask: FlowWildcards): void {
  mask.tunMetadata.fill(0);
  mask.tunMetadata.set(geneveOptionsMask(wc, rawGeneve(key)));
  mask.tunMetadataPresent = 0xffn;
}

const METADATA = [
  'skb_priority',
  'pkt_mark',
  'ct_state',
  'ct_zone',
  'ct_mark',
  'ct_label',
  'recirc_id',
  'dp_hash',
  'in_port',
];

/** Everything that a packet like `key` has, metadata that is zero included. */
export function exactWildcards(key: Flow): FlowWildcards {
  const mask = packetWildcards(key);
  for (const name of METADATA as (keyof typeof FLOW_MEMBERS)[]) {
    const { offset, size } = FLOW_MEMBERS[name];
    mask.u8.fill(0xff, offset, offset + size);
  }
  return mask;
}

/** Whether `need` has a bit that `mask` has not. */
export function hasExtraBits(need: FlowWildcards, mask: FlowWildcards): boolean {
  for (let w = 0; w < FLOW_SIZE / 4; w++) if (need.u32[w] & ~mask.u32[w]) return true;
  return false;
}

const bytesEqual = (a: Uint8Array, b: Uint8Array): boolean => {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
};

function valueEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (a instanceof Uint8Array && b instanceof Uint8Array) return bytesEqual(a, b);
  if (typeof a !== 'object' || typeof b !== 'object' || !a || !b) return false;
  if ('u8' in a && 'u8' in b) return bytesEqual(a.u8 as Uint8Array, b.u8 as Uint8Array);
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every((k) => valueEqual((a as Record<string, unknown>)[k], (b as Record<string, unknown>)[k]));
}

export function actionsEqual(a: readonly DpAction[], b: readonly DpAction[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i], b[i]];
    if (x.type === 'output' && y.type === 'output' ? x.port !== y.port : !valueEqual(x, y)) return false;
  }
  return true;
}

const IN_PORT_WORD = FLOW_MEMBERS.in_port.offset / 4;

/** What a bridge makes of a datapath's key: its own number of the input port, and options of tunnels as its fields. */
export function bridgeFlow(key: Flow, { bridge, inPort }: Ingress): Flow {
  const flow = withInPort(key, inPort);
  const options = rawGeneve(key);
  if (!(key.tunFlags & TUNNEL_F_RAW)) return flow;
  flow.tunMetadata.fill(0);
  flow.tunMetadataPresent = 0n;
  // Left as a mark on options that can't be read.
  const table = bridge.tunTable as TunTable;
  if (readGeneveOptions(table, options, flow)) flow.tunFlags &= ~TUNNEL_F_RAW;
  return flow;
}

/** The members of a megaflow's key as they are, with another input port. */
export function withInPort(key: Flow, port: number): Flow {
  const flow = key.clone();
  flow.u32[IN_PORT_WORD] = 0;
  flow.inPort = port;
  return flow;
}
