import type { Clock } from '../base/clock.ts';
import type { UnixctlRegistry } from '../base/unixctl.ts';
import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import type { Dpif } from '../dpif/dpif.ts';
import { DummyDpif } from '../dpif/dummy.ts';
import type { SchedCore } from '../dpif/rxq-schedule.ts';
import type { NetdevProvider } from '../netdev/netdev.ts';
import type { CreateOfprotoBackend, OfprotoBackendApi } from '../ofproto/ofproto.ts';

/** The datapath and the OpenFlow half that vswitchd runs with: one place to name them, another set for tests. */
export interface DatapathParts {
  createDpif(name: string, type: string, clock: Clock, dummy: DummyDatapath): Dpif;
  createBackend: CreateOfprotoBackend;
  /** Kinds of devices that belong to the datapath. */
  createProviders(clock: Clock, userspaceTso: () => boolean): NetdevProvider[];
  /** `more`: datapaths without a bridge. */
  registerCommands(
    unixctl: UnixctlRegistry,
    backends: () => Iterable<OfprotoBackendApi>,
    more: () => Iterable<Dpif>,
  ): void;
}

/** How a datapath that stands for another in tests is made. */
export interface DummyDatapath {
  /** This one is a dummy. */
  enabled: boolean;
  cores: readonly SchedCore[];
}

/** A guest may provoke as many lines as it likes. */
const limit = new VlogRateLimit(600, 600);

/** Loaded at need: whoever only asks for the version does not wait for WebAssembly. */
export async function loadDatapathParts(): Promise<DatapathParts> {
  const [{ createUserspaceDpif }, { createVhostUserProviders }, { createOfprotoBackend, registerOfprotoCommands }] =
    await Promise.all([
      import('../dpif/userspace/dpif-userspace.ts'),
      import('../netdev/vhost-user/providers.ts'),
      import('../ofproto/backend.ts'),
    ]);
  const log = vlogModule('dpif_netdev');
  return {
    createDpif: (name, type, clock, dummy) => {
      if (dummy.enabled && process.env.TURNOUT_DUMMY_DATAPATH !== 'fastpath')
        return new DummyDpif(() => clock.monotonicMs(), {
          name,
          type,
          preferPort: dummyPortNumber,
          cores: dummy.cores,
        });
      const warn = (text: string) => log.warnRl(limit, text);
      return createUserspaceDpif({
        name,
        type,
        clock,
        warn,
        ...(dummy.enabled && { preferPort: dummyPortNumber }),
      });
    },
    createBackend: createOfprotoBackend,
    createProviders: (clock, userspaceTso) => createVhostUserProviders({ clock, userspaceTso }),
    registerCommands: (unixctl, backends, more) => {
      const register: Parameters<typeof registerOfprotoCommands>[0]['register'] = (name, usage, min, max, handler) =>
        unixctl.register(name, usage, min, max, (args) => handler([...args]));
      registerOfprotoCommands({ register }, backends, more);
    },
  };
}

/** On a dummy datapath ports have the number that is in their name, those of bridges from 100 on: tests count on it. */
export function dummyPortNumber(name: string): number | undefined {
  const digits = /\d+/.exec(name)?.[0];
  const port = (name.startsWith('br') ? 100 : 0) + Number(digits);
  return digits !== undefined && port > 0 ? port : undefined;
}
