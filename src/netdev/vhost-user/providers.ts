import { WarpClock } from '../../base/clock.ts';
import { LocalFdStore } from '../../keeper/fd-store.ts';
import { UNIX_PATH_MAX } from '../../sys/socket.ts';
import { type Netdev, NetdevError, type NetdevProvider } from '../netdev.ts';
import { ClientEndpoint, ServerEndpoint } from './endpoint.ts';
import { DEFAULT_MAX_QUEUE_PAIRS } from './features.ts';
import { GuestMemoryPool } from './guest-memory.ts';
import { type VhostUserKind, VhostUserNetdev, type VhostUserShared } from './vhost-user-netdev.ts';

/** The two kinds of vhost-user ports. What `deps` leaves out is made new, and shared by all ports of the result. */
export function createVhostUserProviders(deps: Partial<VhostUserShared> = {}): NetdevProvider[] {
  const shared: VhostUserShared = {
    fds: new LocalFdStore(),
    clock: new WarpClock(),
    pool: new GuestMemoryPool(),
    maxQueuePairs: DEFAULT_MAX_QUEUE_PAIRS,
    names: new Set(),
    saveState: () => {},
    loadState: () => undefined,
    ...deps,
  };
  return [
    {
      type: 'dpdkvhostuser',
      open: (name, options, { sockDir }) => {
        if (/[/\\]/.test(name)) throw new NetdevError(`could not open network device ${name} (Invalid argument)`);
        return openNetdev(name, options, shared, {
          type: 'dpdkvhostuser',
          mode: 'server',
          endpoint: (_options, endpointDeps) => new ServerEndpoint(checkedPath(`${sockDir}/${name}`), endpointDeps),
        });
      },
    },
    {
      type: 'dpdkvhostuserclient',
      open: (name, options) =>
        openNetdev(name, options, shared, {
          type: 'dpdkvhostuserclient',
          mode: 'client',
          endpoint: (current, endpointDeps) => {
            const path = current.get('vhost-server-path');
            return path === undefined ? undefined : new ClientEndpoint(checkedPath(path), endpointDeps);
          },
        }),
    },
  ];
}

async function openNetdev(
  name: string,
  options: ReadonlyMap<string, string>,
  shared: VhostUserShared,
  kind: VhostUserKind,
): Promise<Netdev> {
  const netdev = new VhostUserNetdev(name, kind, shared);
  const error = netdev.setOptions(options);
  if (error === undefined) return netdev;
  await netdev.close();
  throw new NetdevError(`could not open network device ${name} (${error})`);
}

function checkedPath(path: string): string {
  const size = Buffer.byteLength(path);
  if (size <= UNIX_PATH_MAX) return path;
  throw new NetdevError(`socket path ${path} has ${size} bytes, more than ${UNIX_PATH_MAX}`);
}
