import { formatMapped } from '../../base/address.ts';
import { TUNNEL_DST_PORTS, type TunnelConfig, type TunnelKey } from '../tunnel-config.ts';
import { DEFAULT_TTL } from './options.ts';

/** A tunnel's configuration as `dpif/show` tells it: what differs from the default, in the words of Interface.options. */

const keyText = (key: TunnelKey): string | undefined =>
  key.kind === 'flow' ? 'flow' : key.kind === 'value' ? `${key.value}` : undefined;

const hexOrFlow = (n: number | undefined): string => (n === undefined ? 'flow' : `0x${n.toString(16)}`);

function keys({ inKey, outKey }: TunnelConfig): [string, string | undefined][] {
  const [incoming, outgoing] = [keyText(inKey), keyText(outKey)];
  if (incoming === outgoing) return [['key', incoming]];
  return [
    ['in_key', incoming],
    ['out_key', outgoing],
  ];
}

function erspan({ type, erspan: e }: TunnelConfig): [string, string][] {
  if (!type.endsWith('erspan')) return [];
  const dir: [string, string] = ['erspan_dir', e.dir === undefined ? 'flow' : `${e.dir}`];
  const idx: [string, string] = ['erspan_idx', hexOrFlow(e.idx)];
  const hwid: [string, string] = ['erspan_hwid', hexOrFlow(e.hwid)];
  const ver: [string, string] = ['erspan_ver', e.ver === undefined ? 'flow' : `${e.ver}`];
  if (e.ver === undefined) return [ver, idx, dir, hwid];
  return e.ver === 1 ? [ver, idx] : e.ver === 2 ? [ver, dir, hwid] : [ver];
}

export function showTunnelConfig(c: TunnelConfig): ReadonlyMap<string, string> {
  const address = (a: Uint8Array | undefined, flow: boolean) => (a ? formatMapped(a) : flow ? 'flow' : undefined);
  const usual = c.type === 'gtpu' || c.type === 'lisp' ? 'legacy_l3' : 'legacy_l2';
  const entries: [string, string | undefined][] = [
    ['remote_ip', address(c.remote, c.remoteFlow)],
    ['local_ip', address(c.local, c.localFlow)],
    ...keys(c),
    ['ttl', c.ttl === undefined ? 'inherit' : c.ttl === DEFAULT_TTL ? undefined : `${c.ttl}`],
    ['tos', c.tos === undefined ? 'inherit' : c.tos ? `0x${c.tos.toString(16)}` : undefined],
    ['dst_port', c.dstPort === (TUNNEL_DST_PORTS[c.type] ?? 0) ? undefined : `${c.dstPort}`],
    ['csum', c.csum ? 'true' : undefined],
    ['seq', c.seq ? 'true' : undefined],
    ['packet_type', c.packetTypes === usual ? undefined : c.packetTypes],
    ['df_default', c.dontFragment ? undefined : 'false'],
    ['egress_pkt_mark', c.egressPktMark === undefined ? undefined : `${c.egressPktMark}`],
    ...erspan(c),
  ];
  return new Map(entries.filter((entry): entry is [string, string] => entry[1] !== undefined));
}
