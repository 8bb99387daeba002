import { BlockList, isIP } from 'node:net';
import type { SwitchDb } from './switch-db.ts';

/** Addresses that are given out on a bridge, as the ports' external_ids:container_addresses have them. */

/** What says that one of `addresses` is another port's on the bridge and VLAN, or undefined. */
export function addressInUse(
  db: SwitchDb,
  { bridge, vlan }: { bridge: string; vlan: number | undefined },
  addresses: readonly string[],
): string | undefined {
  for (const port of db.ports()) {
    if (port.bridge !== bridge || port.tag !== vlan) continue;
    const theirs = (port.externalIds.get('container_addresses') ?? '').split(' ').filter((one) => one !== '');
    const taken = addresses.find((address) => theirs.some((their) => isSameHost(address, their)));
    if (taken === undefined) continue;
    const [container, iface] = [port.externalIds.get('container_id'), port.externalIds.get('container_iface')];
    return `address ${taken.split('/')[0]} is in use by ${iface} of ${container} (port ${port.name}) on bridge ${bridge}`;
  }
  return undefined;
}

/** Whether both are the same address, however IPv6 is written. */
function isSameHost(a: string, b: string): boolean {
  const [x, y] = [a.split('/')[0]!, b.split('/')[0]!];
  const version = isIP(x);
  if (version === 0 || version !== isIP(y)) return false;
  const family = version === 6 ? 'ipv6' : 'ipv4';
  const list = new BlockList();
  list.addAddress(x, family);
  return list.check(y, family);
}
