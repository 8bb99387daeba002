import { formatMapped, parseMac, parseMapped } from '../base/address.ts';
import { UnixctlError, type UnixctlRegistry } from '../base/unixctl-registry.ts';
import { type OvsRouter, parseNetwork, type Route } from '../netdev/ovs-router.ts';
import { MAX_AGING_S, type TnlNeighCache } from '../netdev/tnl-neigh-cache.ts';
import { setTunnelSourcePorts, tunnelSourcePorts } from '../netdev/tunnel-config.ts';

/** `ovs/route/…` and `tnl/…` of ovs-appctl: what tunnels are sent by. */

type Registry = Pick<UnixctlRegistry, 'register'>;

const parseMark = (text: string | undefined): number | undefined => {
  const digits = /^pkt_mark=(0x[0-9a-f]+|\d+)/i.exec(text ?? '')?.[1];
  return digits === undefined ? undefined : Number(digits) >>> 0;
};

function showRoute({ origin, network, prefix, mark, bridge, gateway, source }: Route): string {
  const ip = formatMapped(network);
  const bits = ip.includes(':') ? prefix : prefix - 96;
  const via = gateway ? ` GW ${formatMapped(gateway)}` : '';
  const from = origin === 'user' ? 'User' : 'Cached';
  return `${from}: ${ip}/${bits}${mark ? ` MARK ${mark}` : ''} dev ${bridge}${via} SRC ${formatMapped(source)}${origin === 'local' ? ' local' : ''}\n`;
}

function addRoute(router: OvsRouter, [to = '', bridge = '', third, fourth]: readonly string[]): string {
  const network = parseNetwork(to);
  if (!network) throw new UnixctlError('Invalid parameters');
  const six = formatMapped(network.address).includes(':');
  let mark = parseMark(third) ?? 0;
  let gateway: Uint8Array | undefined;
  if (third !== undefined && parseMark(third) === undefined) {
    gateway = parseMapped(third);
    if (!gateway || formatMapped(gateway).includes(':') !== six)
      throw new UnixctlError(`Invalid pkt_mark or ${six ? 'IPv6 ' : ''}gateway`);
  }
  if (fourth !== undefined) {
    const last = parseMark(fourth);
    if (last === undefined) throw new UnixctlError('Invalid pkt_mark');
    mark = last;
  }
  if (!router.add(network, bridge, mark, gateway)) throw new UnixctlError('Error while inserting route.');
  return 'OK';
}

function readMark(text: string | undefined): number {
  if (text === undefined) return 0;
  const mark = parseMark(text);
  if (mark === undefined) throw new UnixctlError('Invalid pkt_mark');
  return mark;
}

export function registerRouteCommands(registry: Registry, router: OvsRouter): void {
  registry.register('ovs/route/add', 'ip_addr/prefix_len out_br_name [gw] [pkt_mark=mark]', 2, 4, (args) => {
    return addRoute(router, args);
  });
  registry.register('ovs/route/show', '', 0, 0, () => `Route Table:\n${router.routes().map(showRoute).join('')}`);
  registry.register('ovs/route/del', 'ip_addr/prefix_len [pkt_mark=mark]', 1, 2, ([to = '', mark]) => {
    const network = parseNetwork(to);
    if (!network) throw new UnixctlError('Invalid parameters');
    if (!router.delete(network, readMark(mark))) throw new UnixctlError('Not found');
    return 'OK';
  });
  registry.register('ovs/route/lookup', 'ip_addr [pkt_mark=mark]', 1, 2, ([to = '', mark]) => {
    const network = parseNetwork(to);
    if (network?.prefix !== 128) throw new UnixctlError('Invalid parameters');
    const route = router.lookup(network.address, readMark(mark));
    if (!route) throw new UnixctlError('Not found');
    const gateway = route.gateway ? formatMapped(route.gateway) : '::';
    return `src ${formatMapped(route.source)}\ngateway ${gateway}\ndev ${route.bridge}\n`;
  });
}

export function registerTunnelCommands(registry: Registry, neighbours: TnlNeighCache): void {
  for (const family of ['neigh', 'arp']) {
    registry.register(`tnl/${family}/show`, '', 0, 0, () => neighbours.show());
    registry.register(`tnl/${family}/set`, 'BRIDGE IP MAC', 3, 3, ([bridge = '', ipText = '', macText = '']) => {
      const ip = parseMapped(ipText);
      const mac = parseMac(macText);
      if (!ip) throw new UnixctlError('bad IP address');
      if (!mac) throw new UnixctlError('bad MAC address');
      neighbours.set(bridge, ip, mac);
      return 'OK';
    });
    registry.register(`tnl/${family}/flush`, '', 0, 0, () => {
      neighbours.flush();
      return 'OK';
    });
    registry.register(`tnl/${family}/aging`, '[SECS]', 0, 1, ([text]) => {
      if (text === undefined) return `${neighbours.agingS}`;
      const seconds = /^\d+$/.test(text) ? Number(text) : 0;
      if (seconds < 1 || seconds > MAX_AGING_S) throw new UnixctlError('bad aging value');
      neighbours.setAging(seconds);
      return 'OK';
    });
  }
  registerPortRange(registry);
}

/** UDP source ports of tunnels. */
function registerPortRange(registry: Registry): void {
  registry.register('tnl/egress_port_range', 'min max', 0, 2, (args) => {
    if (args.length < 2) return `Tunnel UDP source port range: ${tunnelSourcePorts.min}-${tunnelSourcePorts.max}\n`;
    const [min, max] = args.map((text) => Number.parseInt(text, 10)) as [number, number];
    const valid = (n: number) => n > 0 && n <= 0xffff;
    if (!valid(min)) return 'Invalid min.';
    if (!valid(max)) return 'Invalid max.';
    setTunnelSourcePorts(min > max ? { min: max, max: min } : { min, max });
    return 'OK';
  });
}
