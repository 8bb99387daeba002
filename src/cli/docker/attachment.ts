import type { LinkSpec } from '../attach/link.ts';
import { isIpv6 } from '../attach/link.ts';
import type { PortRecord } from '../attach/switch-db.ts';
import type { Container } from './engine.ts';

/** What the database keeps of an interface in a container: all that is needed to make it again. `container_id` and `container_iface`
 *  are ovs-docker's; scripts look ports up by them. */
export interface Attachment {
  readonly port: string;
  /** As the container was named when the port was added. */
  readonly containerId: string;
  readonly iface: string;
  /** The engine's whole id and its name for it; undefined for a port that the original ovs-docker made. */
  readonly dockerId: string | undefined;
  readonly dockerName: string | undefined;
  readonly addresses: readonly string[];
  readonly gateways: readonly string[];
  readonly mac: string | undefined;
  readonly mtu: number | undefined;
  readonly socket: string | undefined;
}

const words = (text: string | undefined): string[] => (text ?? '').split(' ').filter((word) => word !== '');

/** The attachment behind a port; undefined for a port that is none, or that a CNI plugin owns. */
export function attachmentOf({ name, externalIds }: PortRecord): Attachment | undefined {
  const [containerId, iface] = [externalIds.get('container_id'), externalIds.get('container_iface')];
  if (containerId === undefined || iface === undefined || externalIds.has('cni_network')) return undefined;
  const mtu = Number(externalIds.get('container_mtu'));
  return {
    port: name,
    containerId,
    iface,
    dockerId: externalIds.get('docker_id'),
    dockerName: externalIds.get('docker_name'),
    addresses: words(externalIds.get('container_addresses')),
    gateways: words(externalIds.get('container_gateways')),
    mac: externalIds.get('attached-mac'),
    mtu: mtu > 0 ? mtu : undefined,
    socket: externalIds.get('container_socket'),
  };
}

export function externalIdsOf(attachment: Omit<Attachment, 'port'>): Record<string, string> {
  const all = {
    container_id: attachment.containerId,
    container_iface: attachment.iface,
    docker_id: attachment.dockerId,
    docker_name: attachment.dockerName,
    container_addresses: attachment.addresses.join(' '),
    container_gateways: attachment.gateways.join(' '),
    'attached-mac': attachment.mac,
    container_mtu: attachment.mtu?.toString(),
    container_socket: attachment.socket,
  };
  return Object.fromEntries(Object.entries(all).filter((pair): pair is [string, string] => Boolean(pair[1])));
}

/** An id may be shortened as the engine itself shows it. */
const SHORT_ID = 12;

/** Whether `reference` (a name, an id, the beginning of an id) means the attachment's container. `container`: what the engine says of
 *  `reference`, if it knows it. */
export function isOf(attachment: Attachment, reference: string, container: Container | undefined): boolean {
  const { containerId, dockerId, dockerName } = attachment;
  if (containerId === reference || (container !== undefined && dockerId === container.id)) return true;
  if (container !== undefined)
    return dockerId === undefined && container.id.startsWith(containerId) && containerId.length >= SHORT_ID;
  return dockerName === reference || (reference.length >= SHORT_ID && (dockerId?.startsWith(reference) ?? false));
}

export function linkSpecOf(attachment: Omit<Attachment, 'containerId' | 'socket'>): LinkSpec {
  const { port, iface, mtu, mac, addresses, gateways } = attachment;
  const routes = gateways.map((gw) => ({ dst: isIpv6(gw) ? '::/0' : '0.0.0.0/0', gw }));
  return { hostName: port, name: iface, mtu, mac, addresses, routes };
}
