import { readdirSync } from 'node:fs';
import { vlogModule } from '../base/vlog.ts';
import type { SchedCore } from '../dpif/rxq-schedule.ts';

/** The processor's cores and the NUMA nodes they are on, told once in Open vSwitch's words. */

const log = vlogModule('ovs_numa');

const NODES = '/sys/devices/system/node';

/** Cores of the host by `/sys`; without that, those of `count` on one node. */
function hostCores(count: number): SchedCore[] {
  const list = (path: string) => {
    try {
      return readdirSync(path);
    } catch {
      return [];
    }
  };
  const numbered = (names: string[], pattern: RegExp) =>
    names.flatMap((name) => (pattern.exec(name)?.[1] === undefined ? [] : [Number(pattern.exec(name)![1])]));
  const cores = numbered(list(NODES), /^node(\d+)$/).flatMap((numa) =>
    numbered(list(`${NODES}/node${numa}`), /^cpu(\d+)$/).map((core) => ({ core, numa })),
  );
  return cores.length > 0 ? cores : Array.from({ length: count }, (_, core) => ({ core, numa: 0 }));
}

/** `--dummy-numa`: the node of each core, from core 0 on; a node that is no number makes a core that is not there. */
function dummyCores(text: string): SchedCore[] {
  return text
    .split(',')
    .map((numa, core) => ({ core, numa: Number.parseInt(numa, 10) }))
    .filter(({ numa }) => numa >= 0);
}

/** By core number. */
export function discoverCores(dummyNuma: string | undefined, count: number): SchedCore[] {
  const cores = (dummyNuma === undefined ? hostCores(count) : dummyCores(dummyNuma)).sort((a, b) => a.core - b.core);
  const nodes = new Set(cores.map((c) => c.numa));
  for (const numa of nodes)
    log.info(`Discovered ${cores.filter((c) => c.numa === numa).length} CPU cores on NUMA node ${numa}`);
  log.info(`Discovered ${nodes.size} NUMA nodes and ${cores.length} CPU cores`);
  return cores;
}
