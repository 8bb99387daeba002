import { WarpClock } from '../../base/clock.ts';
import { vlogModule } from '../../base/vlog.ts';
import { LocalFdStore } from '../../keeper/fd-store.ts';
import { UNIX_PATH_MAX } from '../../sys/socket.ts';
import { type Netdev, NetdevError, type NetdevProvider } from '../netdev.ts';
import { ClientEndpoint, ServerEndpoint } from './endpoint.ts';
import { DEFAULT_MAX_QUEUE_PAIRS } from './features.ts';
import { GuestMemoryPool } from './guest-memory.ts';
import { type VhostUserKind, VhostUserNetdev, type VhostUserShared } from './vhost-user-netdev.ts';

const log = vlogModule('netdev_dpdk');
let warnedOfServer = false;

/** The two kinds of vhost-user ports. What `deps` leaves out is made new, and shared by all ports of the result. */
export function createVhostUserProviders(deps: Partial<VhostUserShared> = {}): NetdevProvider[] {
  const shared: VhostUserShared = {
    fds: new LocalFdStore(),
    clock: new WarpClock(),
    pool: new GuestMemoryPool(),
    maxQueuePairs: DEFAULT_MAX_QUEUE_PAIRS,
    userspaceTso: () => false,
    names: new Set(),
    saveState: () => {},
    loadState: () => undefined,
    ...deps,
  };
  return [
    { type: 'dpdkvhostuser', open: (name, options, { sockDir }) => openServer(name, options, sockDir, shared) },
    { type: 'dpdkvhostuserclient', open: (name, options) => openClient(name, options, shared) },
  ];
}

type Options = ReadonlyMap<string, string>;

async function openServer(name: string, options: Options, sockDir: string, shared: VhostUserShared): Promise<Netdev> {
  if (/[/\\]/.test(name)) {
    log.err(`"${name}" is not a valid name for a vhost-user port. A valid name must not include '/' or '\\'`);
    throw new NetdevError(`could not open network device ${name} (Invalid argument)`);
  }
  const path = `${sockDir}/${name}`;
  const netdev = await openNetdev(name, options, shared, {
    type: 'dpdkvhostuser',
    mode: 'server',
    endpoint: (_options, endpointDeps) => new ServerEndpoint(checkedPath(path), endpointDeps),
  });
  log.info(`Socket ${path} created for vhost-user port ${name}`);
  if (!warnedOfServer) {
    warnedOfServer = true;
    log.warn('dpdkvhostuser ports are considered deprecated;  please migrate to dpdkvhostuserclient ports.');
  }
  return netdev;
}

function openClient(name: string, options: Options, shared: VhostUserShared): Promise<Netdev> {
  return openNetdev(name, options, shared, {
    type: 'dpdkvhostuserclient',
    mode: 'client',
    endpoint: (current, endpointDeps) => {
      const path = current.get('vhost-server-path');
      return path === undefined ? undefined : new ClientEndpoint(checkedPath(path), endpointDeps);
    },
  });
}

async function openNetdev(
  name: string,
  options: Options,
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
