import type { Clock } from '../base/clock.ts';
import type { UnixctlRegistry } from '../base/unixctl.ts';
import { vlogModule } from '../base/vlog.ts';
import type { Dpif } from '../dpif/dpif.ts';
import type { NetdevProvider } from '../netdev/netdev.ts';
import { createVhostUserProviders } from '../netdev/vhost-user/providers.ts';
import type { CreateOfprotoBackend, OfprotoBackendApi } from '../ofproto/ofproto.ts';

/** The datapath and the OpenFlow half that vswitchd runs with: one place to name them, another set for tests. */
export interface DatapathParts {
  createDpif(name: string, type: string, clock: Clock): Dpif;
  createBackend: CreateOfprotoBackend;
  /** Kinds of devices that belong to the datapath. */
  createProviders(clock: Clock): NetdevProvider[];
  registerCommands(unixctl: UnixctlRegistry, backends: () => Iterable<OfprotoBackendApi>): void;
}

export async function loadDatapathParts(): Promise<DatapathParts> {
  // biome-ignore lint/suspicious/noExplicitAny: until both are there
  const load = (path: string): Promise<any> => import(path);
  const { createUserspaceDpif } = await import('../dpif/userspace/dpif-userspace.ts');
  const { createOfprotoBackend, registerOfprotoCommands } = await load('../ofproto/backend.ts');
  return {
    createDpif: (name, type, clock) =>
      createUserspaceDpif({ name, type, clock, warn: (text) => vlogModule('dpif_netdev').warn(text) }),
    createBackend: createOfprotoBackend,
    createProviders: (clock) => createVhostUserProviders({ clock }),
    registerCommands: registerOfprotoCommands,
  };
}
