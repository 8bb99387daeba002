import { createHash } from 'node:crypto';
import type { RunProgram } from '../attach/command.ts';
import type { PortRecord, SwitchDb } from '../attach/switch-db.ts';
import type { CniConfig } from './config.ts';
import type { CniEnvironment } from './environment.ts';

/** One call of the plugin, and what it works with. */
export interface CniCall {
  readonly environment: CniEnvironment;
  readonly config: CniConfig;
  readonly db: SwitchDb;
  readonly run: RunProgram;
}

/** An attachment is one interface of one container (CNI specification, section 3); it is kept nowhere but in the database. */
export interface AttachmentId {
  readonly containerId: string;
  readonly ifname: string;
}

export const idOf = ({ containerId, ifname }: CniEnvironment): AttachmentId => ({ containerId, ifname });

/** The name of the port and of its device on the host: always the same for one attachment, so that it can be found and clashes with
 *  itself alone. `suffix` is ovs-docker's for its host ends, and one for each other kind. */
export function portName({ containerId, ifname }: AttachmentId, suffix: 'l' | 'v' | 't'): string {
  const hash = createHash('sha256').update(`${containerId}\0${ifname}`).digest('hex');
  return `${hash.slice(0, 13)}_${suffix}`;
}

/** What a port's Interface has in external_ids; `container_id` and `container_iface` as ovs-docker has them. */
export interface PortIds extends AttachmentId {
  readonly network: string;
  readonly netns: string;
  readonly addresses: readonly string[];
  readonly mac: string | undefined;
  readonly ifaceId: string | undefined;
  readonly pod: string | undefined;
  /** Where the pod finds its socket, on the host. */
  readonly socket: string | undefined;
  /** The device is another plugin's. */
  readonly isAdopted: boolean;
}

export function externalIds(ids: PortIds): Record<string, string> {
  const all = {
    container_id: ids.containerId,
    container_iface: ids.ifname,
    cni_network: ids.network,
    cni_netns: ids.netns,
    cni_pod: ids.pod,
    cni_adopted: ids.isAdopted ? 'true' : undefined,
    container_addresses: ids.addresses.join(' '),
    container_socket: ids.socket,
    'attached-mac': ids.mac,
    'iface-id': ids.ifaceId,
  };
  return Object.fromEntries(Object.entries(all).filter((pair): pair is [string, string] => Boolean(pair[1])));
}

/** The pod in Kubernetes' words, as kubelet's runtimes say it in CNI_ARGS. */
export function podOf({ args }: CniEnvironment): string | undefined {
  const [namespace, name] = [args.get('k8s_pod_namespace'), args.get('k8s_pod_name')];
  return namespace && name ? `${namespace}/${name}` : undefined;
}

/** All ports of a network that this plugin made. */
export function portsOfNetwork(db: SwitchDb, network: string): PortRecord[] {
  return db.ports().filter(({ externalIds }) => externalIds.get('cni_network') === network);
}

export function portOf(db: SwitchDb, network: string, id: AttachmentId): PortRecord | undefined {
  return portsOfNetwork(db, network).find(
    ({ externalIds }) =>
      externalIds.get('container_id') === id.containerId && externalIds.get('container_iface') === id.ifname,
  );
}
