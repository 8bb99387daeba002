import { isMapped, unmapIpv4 } from '../base/address.ts';
import type { OdpPort } from '../base/types.ts';
import { formatOdpFlow } from '../dpif/odp-text.ts';
import { Classifier, ClsRule } from '../flow/classifier.ts';
import { Flow, FlowWildcards, type Match } from '../flow/flow.ts';
import { FLOW_MEMBERS } from '../gen/flow.ts';
import { type TunnelConfig, tunnelPortName, tunnelProtocol } from '../netdev/tunnel-config.ts';

/** Packets of the underlay that tunnels end: those for an address of this host, by a tunnel's protocol and port. */

interface Listener {
  readonly name: string;
  readonly odpPort: OdpPort;
  readonly proto: number;
  readonly dstPort: number;
  refs: number;
}

/** A device of the host that tunnels may end at. Addresses are 16 bytes, IPv4 mapped. */
export interface TunnelDevice {
  readonly mac: Uint8Array;
  readonly addresses: readonly Uint8Array[];
}

class ListenRule extends ClsRule {
  readonly listener: Listener;
  constructor(listener: Listener) {
    super(0);
    this.listener = listener;
  }
}

const FRAG_MASK = 3;
const DL_DST = FLOW_MEMBERS.dl_dst;

function listenMatch({ proto, dstPort }: Listener, mac: Uint8Array, address: Uint8Array): Match {
  const [flow, wc] = [new Flow(), new FlowWildcards()];
  flow.dlDst = mac;
  wc.u8.fill(0xff, DL_DST.offset, DL_DST.offset + DL_DST.size);
  wc.vlanTci0 = 0xffff;
  [flow.dlType, wc.dlType] = [isMapped(address) ? 0x0800 : 0x86dd, 0xffff];
  [flow.nwProto, wc.nwProto] = [proto, 0xff];
  wc.nwFrag = FRAG_MASK;
  if (dstPort) [flow.tpDst, wc.tpDst] = [dstPort, 0xffff];
  if (isMapped(address)) [flow.nwDst, wc.nwDst] = [unmapIpv4(address), 0xffffffff];
  else {
    flow.ipv6Dst = address;
    wc.ipv6Dst = new Uint8Array(16).fill(0xff);
  }
  return { flow, wc };
}

export class TunnelMap {
  readonly #listeners: Listener[] = [];
  readonly #devices: () => Iterable<TunnelDevice>;
  #classifier: Classifier<ListenRule> | undefined;

  /** `devices`: those that tunnels are routed by; asked again after `changed`. */
  constructor(devices: () => Iterable<TunnelDevice>) {
    this.#devices = devices;
  }

  insert(odpPort: OdpPort, config: TunnelConfig): void {
    const proto = tunnelProtocol(config.type);
    if (!proto) return;
    const known = this.#listeners.find((l) => l.odpPort === odpPort && l.proto === proto);
    if (known) known.refs++;
    else this.#listeners.push({ name: tunnelPortName(config), odpPort, proto, dstPort: config.dstPort, refs: 1 });
    this.changed();
  }

  delete(odpPort: OdpPort, config: TunnelConfig): void {
    const proto = tunnelProtocol(config.type);
    const i = this.#listeners.findIndex((l) => l.odpPort === odpPort && l.proto === proto);
    if (i < 0 || --this.#listeners[i].refs > 0) return;
    this.#listeners.splice(i, 1);
    this.changed();
  }

  /** Routes, or addresses of devices, are others. */
  changed(): void {
    this.#classifier = undefined;
  }

  /** The tunnel port that ends the packet's tunnel; adds to `wc` what decided. */
  lookup(flow: Flow, wc: FlowWildcards): OdpPort | undefined {
    this.#classifier ??= this.#build();
    return this.#classifier.lookup(flow, wc)?.listener.odpPort;
  }

  #build(): Classifier<ListenRule> {
    const classifier = new Classifier<ListenRule>([]);
    for (const { mac, addresses } of this.#devices())
      for (const address of addresses)
        for (const listener of this.#listeners)
          classifier.replace(new ListenRule(listener), listenMatch(listener, mac, address));
    return classifier;
  }

  /** `tnl/ports/show`. */
  show(verbose: boolean): string {
    if (!verbose) return this.#listeners.map((l) => `${l.name} (${l.odpPort}) ref_cnt=${l.refs}\n`).join('');
    this.#classifier ??= this.#build();
    return [...this.#classifier.rules()]
      .map((rule) => {
        const { flow, wc } = rule.match();
        return `${rule.listener.name} (${rule.listener.odpPort}) : ${formatOdpFlow(flow, wc)}\n`;
      })
      .join('');
  }
}
