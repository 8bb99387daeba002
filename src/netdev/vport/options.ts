import { isMapped, parseMapped } from '../../base/address.ts';
import {
  type ErspanConfig,
  type PacketTypeMode,
  TUNNEL_DST_PORTS,
  type TunnelConfig,
  type TunnelKey,
  type TunnelType,
} from '../tunnel-config.ts';

/** Interface.options of tunnels, in and out, with the complaints of Open vSwitch (netdev-vport). */

export const DEFAULT_TTL = 64;
const DSCP_MASK = 0xfc;
const ERSPAN_IDX_MAX = 0xfffff;
const ERSPAN_HWID_MAX = 0x3f;

type Draft = { -readonly [K in keyof TunnelConfig]: TunnelConfig[K] };

export interface ParsedOptions {
  /** Undefined: refused, with the last complaint as the reason. */
  config: TunnelConfig | undefined;
  /** All that is wrong, also what is only to be warned of. */
  complaints: string[];
}

/** Thrown to end the parsing: the options are refused. */
class Refused extends Error {}

const isFlow = (text: string): boolean => text === 'flow';

/** atoi(3). */
const integer = (text: string): number => Number.parseInt(text, 10) || 0;

/** strtol(3) with base 16, for what is all digits. */
const hexadecimal = (text: string): number => Number.parseInt(text, 16) || 0;

class OptionsParser {
  readonly complaints: string[] = [];
  readonly #name: string;
  readonly #type: TunnelType;
  readonly #draft: Draft;
  readonly #erspan: { -readonly [K in keyof ErspanConfig]: number | undefined } = { ver: 0, idx: 0, dir: 0, hwid: 0 };
  #family: { remote?: boolean; local?: boolean } = {};

  constructor(name: string, type: TunnelType) {
    this.#name = name;
    this.#type = type;
    this.#draft = {
      type,
      remote: undefined,
      local: undefined,
      remoteFlow: false,
      localFlow: false,
      inKey: { kind: 'none' },
      outKey: { kind: 'none' },
      dstPort: TUNNEL_DST_PORTS[type] ?? 0,
      csum: false,
      seq: false,
      tos: 0,
      ttl: DEFAULT_TTL,
      dontFragment: true,
      egressPktMark: undefined,
      gbp: false,
      gpe: false,
      packetTypes: 'legacy_l2',
      erspan: this.#erspan,
    };
  }

  parse(options: ReadonlyMap<string, string>): TunnelConfig {
    for (const [key, value] of options) this.#option(key, value);
    this.#packetTypes(options.get('packet_type'));
    this.#checkAddresses();
    this.#draft.inKey = readKey(options, 'in_key');
    this.#draft.outKey = readKey(options, 'out_key');
    return { ...this.#draft, erspan: { ...this.#erspan } };
  }

  #complain(text: string): void {
    this.complaints.push(`${this.#name}: ${text}`);
  }

  #refuse(text: string): never {
    this.#complain(text);
    throw new Refused(text);
  }

  #option(key: string, value: string): void {
    if (this.#address(key, value) || this.#ipHeader(key, value) || this.#erspanOption(key, value)) return;
    const type = this.#type;
    const draft = this.#draft;
    if (key === 'dst_port' && TUNNEL_DST_PORTS[type] !== undefined) draft.dstPort = integer(value) & 0xffff;
    else if (key === 'csum' && /gre|geneve|vxlan/.test(type)) draft.csum = value === 'true';
    else if (key === 'seq' && (type.includes('gre') || type === 'gtpu')) draft.seq = value === 'true';
    else if (key === 'exts' && type === 'vxlan') this.#extensions(value);
    else if (key === 'egress_pkt_mark') draft.egressPktMark = integer(value) >>> 0;
    else if (!HANDLED_ELSEWHERE.has(key)) this.#complain(`unknown ${type} argument '${key}'`);
  }

  #address(key: string, value: string): boolean {
    if (key !== 'remote_ip' && key !== 'local_ip') return false;
    const which = key === 'remote_ip' ? 'remote' : 'local';
    if (isFlow(value)) {
      this.#draft[`${which}Flow`] = true;
      return true;
    }
    const address = parseMapped(value);
    if (!address) this.#complain(`bad ${this.#type} '${key}'`);
    else if (which === 'remote' && isMulticast(address)) this.#refuse(`multicast remote_ip=${value} not allowed`);
    else {
      this.#draft[which] = address;
      this.#family[which] = isMapped(address);
    }
    return true;
  }

  #ipHeader(key: string, value: string): boolean {
    const draft = this.#draft;
    if (key === 'tos') {
      const tos = /^(0x[0-9a-f]+|\d+)$/i.test(value) ? Number(value) : Number.NaN;
      if (value === 'inherit') draft.tos = undefined;
      else if (tos === (tos & DSCP_MASK)) draft.tos = tos;
      else this.#complain(`invalid TOS ${value}`);
    } else if (key === 'ttl') draft.ttl = value === 'inherit' ? undefined : integer(value) & 0xff || DEFAULT_TTL;
    else if (key === 'df_default') draft.dontFragment = value !== 'false';
    else return false;
    return true;
  }

  #extensions(value: string): void {
    for (const ext of value.split(',').filter(Boolean)) {
      if (ext === 'gbp') this.#draft.gbp = true;
      else if (ext === 'gpe') this.#draft.gpe = true;
      else this.#complain(`unknown extension '${ext}'`);
    }
  }

  #erspanOption(key: string, value: string): boolean {
    const erspan = this.#erspan;
    switch (key) {
      case 'erspan_ver':
        if (isFlow(value)) Object.assign(erspan, { ver: undefined, idx: undefined, dir: undefined, hwid: undefined });
        else erspan.ver = integer(value);
        if (erspan.ver !== undefined && erspan.ver !== 1 && erspan.ver !== 2)
          this.#refuse(`invalid erspan version: ${value}`);
        return true;
      case 'erspan_idx':
        erspan.idx = isFlow(value) ? undefined : hexadecimal(value);
        if ((erspan.idx ?? 0) > ERSPAN_IDX_MAX) this.#refuse(`invalid erspan index: ${value}`);
        return true;
      case 'erspan_dir':
        erspan.dir = isFlow(value) ? undefined : integer(value);
        if (erspan.dir !== undefined && erspan.dir !== 0 && erspan.dir !== 1)
          this.#refuse(`invalid erspan direction: ${value}`);
        return true;
      case 'erspan_hwid':
        erspan.hwid = isFlow(value) ? undefined : hexadecimal(value);
        if ((erspan.hwid ?? 0) > ERSPAN_HWID_MAX) this.#refuse(`invalid erspan hardware ID: ${value}`);
        return true;
      default:
        return false;
    }
  }

  #packetTypes(value: string | undefined): void {
    const draft = this.#draft;
    const { l2, l3 } = layersOf(draft);
    const called = this.#type !== 'vxlan' ? this.#type : draft.gpe ? 'VXLAN-GPE' : 'VXLAN (without GPE)';
    if (value === undefined) draft.packetTypes = defaultPacketTypes(draft);
    else if (value !== 'legacy_l2' && value !== 'legacy_l3' && value !== 'ptap')
      this.#refuse(`unknown packet_type '${value}'`);
    else {
      if (value === 'legacy_l2' && !l2)
        this.#refuse(`legacy_l2 configured on ${called} tunnel that cannot carry L2 traffic`);
      if (value === 'legacy_l3' && !l3)
        this.#refuse(`legacy_l3 configured on ${called} tunnel that cannot carry L3 traffic`);
      draft.packetTypes = value;
    }
  }

  #checkAddresses(): void {
    const { remote, remoteFlow, localFlow } = this.#draft;
    if (!remote && !remoteFlow) this.#refuse(`${this.#type} type requires valid 'remote_ip' argument`);
    if (localFlow && !remoteFlow) this.#refuse(`${this.#type} type requires 'remote_ip=flow' with 'local_ip=flow'`);
    const { remote: a, local: b } = this.#family;
    if (a !== undefined && b !== undefined && a !== b)
      this.#refuse("'remote_ip' and 'local_ip' has to be of the same address family");
  }
}

/** Keys are read behind the others; the rest is for ovs-monitor-ipsec. */
const HANDLED_ELSEWHERE: ReadonlySet<string> = new Set([
  'key',
  'in_key',
  'out_key',
  'packet_type',
  'remote_cert',
  'remote_name',
  'psk',
]);

function isMulticast(address: Uint8Array): boolean {
  return isMapped(address) ? address[12] >>> 4 === 14 : address[0] === 0xff;
}

function readKey(options: ReadonlyMap<string, string>, name: 'in_key' | 'out_key'): TunnelKey {
  const text = options.get(name) ?? options.get('key');
  if (text === undefined) return { kind: 'none' };
  if (isFlow(text)) return { kind: 'flow' };
  // strtoull(3): what is no number is 0.
  const digits = /^(0x[0-9a-f]+|\d+)/i.exec(text)?.[0] ?? '0';
  return { kind: 'value', value: BigInt.asUintN(64, BigInt(digits)) };
}

/** What a tunnel can carry: frames, or packets without an Ethernet header. */
function layersOf({ type, gpe }: Pick<TunnelConfig, 'type' | 'gpe'>): { l2: boolean; l3: boolean } {
  if (type === 'lisp' || type === 'gtpu') return { l2: false, l3: true };
  return { l2: true, l3: type === 'gre' || (type === 'vxlan' && gpe) };
}

function defaultPacketTypes(config: Pick<TunnelConfig, 'type' | 'gpe'>): PacketTypeMode {
  return layersOf(config).l2 ? 'legacy_l2' : 'legacy_l3';
}

export function parseTunnelOptions(
  name: string,
  type: TunnelType,
  options: ReadonlyMap<string, string>,
): ParsedOptions {
  const parser = new OptionsParser(name, type);
  try {
    const config = parser.parse(options);
    return { config, complaints: parser.complaints };
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
    return { config: undefined, complaints: parser.complaints };
  }
}
