import { hashBytes } from '../../base/hash.ts';
import { type Flow, FlowWildcards } from '../../flow/flow.ts';
import { FLOW_MEMBERS, FLOW_SIZE, type FlowMemberName } from '../../gen/flow.ts';
import type { DpAction, DpFlow, DpFlowStats } from '../dpif.ts';

/** Megaflows of one thread of the dummy datapath: a subtable for each mask of each input port, as the real classifier has. */

export class DummyFlow implements DpFlow {
  readonly ufid: string;
  readonly key: Flow;
  readonly mask: FlowWildcards;
  readonly exact: Flow;
  readonly pmd: number;
  /** It looks at no more than what every packet is classified by anyway. */
  readonly simple: boolean;
  actions: readonly DpAction[];
  dead = false;
  readonly stats: DpFlowStats = { packets: 0n, bytes: 0n, usedMs: 0, tcpFlags: 0 };

  constructor(key: Flow, mask: FlowWildcards, actions: readonly DpAction[], pmd: number) {
    this.exact = key.clone();
    this.key = key.clone();
    this.key.maskWith(mask);
    this.mask = new FlowWildcards();
    this.mask.copyFrom(mask);
    this.actions = actions;
    this.pmd = pmd;
    this.ufid = ufidOf(key);
    this.simple = isSimple(key, mask);
  }
}

/** 128 bits of hash over the packet's key, as hexadecimal digits: the same on every thread. */
function ufidOf(key: Flow): string {
  const words = [1, 2, 3, 4].map((basis) => hashBytes(key.u8, basis));
  return words.map((w) => (w >>> 0).toString(16).padStart(8, '0')).join('');
}

const SIMPLE = new FlowWildcards();
for (const name of ['recirc_id', 'in_port', 'packet_type', 'dl_type', 'nw_frag'] as FlowMemberName[]) {
  const { offset, size } = FLOW_MEMBERS[name];
  SIMPLE.u8.fill(0xff, offset, offset + size);
}
const VLAN_VID_AND_CFI = 0x1fff;

/** Open vSwitch's simple match: port, Ethertype, VLAN and fragmentation; a tag's id and presence exactly. */
function isSimple(key: Flow, mask: FlowWildcards): boolean {
  if (key.recircId !== 0 || key.packetType !== 0 || (mask.vlanTci0 & VLAN_VID_AND_CFI) !== VLAN_VID_AND_CFI)
    return false;
  const vlans: readonly FlowMemberName[] = ['vlan_tpid0', 'vlan_tci0', 'vlan_tpid1', 'vlan_tci1'];
  const rest = mask.clone();
  for (const name of vlans) {
    // Without a tag all of it is known; with one, only what the id and CFI say may count.
    if (key.vlanTci0 !== 0 && name === 'vlan_tci0' && mask.vlanTci0 !== VLAN_VID_AND_CFI) return false;
    const { offset, size } = FLOW_MEMBERS[name];
    rest.u8.fill(0, offset, offset + size);
  }
  for (let i = 0; i < FLOW_SIZE / 4; i++) if (rest.u32[i]! & ~SIMPLE.u32[i]!) return false;
  return true;
}

interface Subtable {
  readonly id: string;
  /** Words of the key that the mask looks at, and its bits there. */
  readonly words: readonly number[];
  readonly bits: readonly number[];
  readonly flows: Map<string, DummyFlow>;
  hits: number;
}

function maskedKey(key: Flow, { words, bits }: Pick<Subtable, 'words' | 'bits'>): string {
  let text = '';
  for (let i = 0; i < words.length; i++) {
    const word = key.u32[words[i]!]! & bits[i]!;
    text += String.fromCharCode(word & 0xffff, word >>> 16);
  }
  return text;
}

function wordsOf(mask: FlowWildcards): { id: string; words: number[]; bits: number[] } {
  const words: number[] = [];
  const bits: number[] = [];
  for (let i = 0; i < FLOW_SIZE / 4; i++) {
    if (mask.u32[i] === 0) continue;
    words.push(i);
    bits.push(mask.u32[i]!);
  }
  return { id: `${words.join()}:${bits.join()}`, words, bits };
}

export class DummyFlowTable {
  readonly #flows = new Set<DummyFlow>();
  readonly #byPort = new Map<number, Subtable[]>();
  readonly #notSimple = new Map<number, number>();
  readonly #simple = new Map<string, DummyFlow>();

  get size(): number {
    return this.#flows.size;
  }

  /** How many subtables there are. */
  get nMasks(): number {
    let n = 0;
    for (const list of this.#byPort.values()) n += list.length;
    return n;
  }

  values(): Iterable<DummyFlow> {
    return this.#flows;
  }

  /** The flow with this very key and mask. */
  find(key: Flow, mask: FlowWildcards): DummyFlow | undefined {
    const { id, words, bits } = wordsOf(mask);
    const subtable = this.#byPort.get(key.inPort)?.find((s) => s.id === id);
    return subtable?.flows.get(maskedKey(key, { words, bits }));
  }

  insert(flow: DummyFlow): void {
    const { id, words, bits } = wordsOf(flow.mask);
    const port = flow.key.inPort;
    const list = this.#byPort.get(port) ?? [];
    let subtable = list.find((s) => s.id === id);
    if (!subtable) {
      subtable = { id, words, bits, flows: new Map(), hits: 0 };
      list.push(subtable);
      this.#byPort.set(port, list);
    }
    subtable.flows.set(maskedKey(flow.key, subtable), flow);
    this.#flows.add(flow);
    if (flow.simple) this.#simple.set(simpleId(flow.key), flow);
    else this.#notSimple.set(port, (this.#notSimple.get(port) ?? 0) + 1);
  }

  remove(flow: DummyFlow): void {
    if (!this.#flows.delete(flow)) return;
    const port = flow.key.inPort;
    const list = this.#byPort.get(port)!;
    const { id } = wordsOf(flow.mask);
    const subtable = list.find((s) => s.id === id)!;
    subtable.flows.delete(maskedKey(flow.key, subtable));
    if (subtable.flows.size === 0) list.splice(list.indexOf(subtable), 1);
    if (list.length === 0) this.#byPort.delete(port);
    if (flow.simple) this.#simple.delete(simpleId(flow.key));
    else this.#notSimple.set(port, this.#notSimple.get(port)! - 1);
  }

  /** By the simple match, which is in force while all flows of a port are simple. */
  lookupSimple(key: Flow): DummyFlow | undefined {
    if (key.recircId !== 0 || this.#notSimple.get(key.inPort)) return undefined;
    return this.#simple.get(simpleId(key));
  }

  /** The flow for a packet, and how many subtables were searched for it; those with most hits come first. */
  lookup(key: Flow): { flow: DummyFlow; searched: number } | undefined {
    const list = this.#byPort.get(key.inPort) ?? [];
    for (let i = 0; i < list.length; i++) {
      const subtable = list[i]!;
      const flow = subtable.flows.get(maskedKey(key, subtable));
      if (!flow) continue;
      subtable.hits++;
      if (i > 0 && list[i - 1]!.hits < subtable.hits) [list[i - 1], list[i]] = [subtable, list[i - 1]!];
      return { flow, searched: i + 1 };
    }
    return undefined;
  }
}

const simpleId = (key: Flow): string =>
  `${key.inPort},${key.dlType},${key.vlanTci0 & VLAN_VID_AND_CFI},${key.nwFrag},${key.packetType}`;
