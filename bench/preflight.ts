/** What a run needs of the machine: found out before anything is started, with what to do about it. */
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { delimiter, join } from 'node:path';
import type { PeerName } from './plan.ts';

/** Of 2 MiB: 512 MiB each for Open vSwitch, its generator, and DPDK's own vhost driver where that stands in for a switch. */
const HUGE_PAGES = 520;
const RUNS_QUIET_BELOW = 0.3;

/** What is known of the machine; a test gives its own. */
export interface Surroundings {
  uid: number;
  nCpus: number;
  meminfo: string;
  /** Whether a program is there: a path, or a name that PATH is searched for. */
  has(program: string): boolean;
  load: number;
}

function onPath(program: string): boolean {
  if (program.includes('/')) return existsSync(program);
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/bin'];
  return folders.some((folder) => existsSync(join(folder, program)));
}

export function surroundings(): Surroundings {
  return {
    uid: process.getuid?.() ?? -1,
    nCpus: availableParallelism(),
    meminfo: readFileSync('/proc/meminfo', 'utf8'),
    has: onPath,
    load: loadavg()[0]!,
  };
}

const APT = 'apt-get install';
/** Program, and the Debian package that has it. */
const PROGRAMS: readonly [program: string, what: string][] = [
  ['dpdk-testpmd', `${APT} dpdk-dev`],
  ['ovs-vsctl', `${APT} openvswitch-common openvswitch-switch`],
  ['ovs-ofctl', `${APT} openvswitch-common`],
  ['ovsdb-tool', `${APT} openvswitch-common`],
  ['taskset', `${APT} util-linux`],
  ['ip', `${APT} iproute2`],
  ['ping', `${APT} iputils-ping`],
  ['iperf3', `${APT} iperf3`],
  ['ethtool', `${APT} ethtool`],
];
const OVS_DPDK = '/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk';

/** One line for each thing that is missing, each with what to do. */
export function missing(at: Surroundings, peers: readonly PeerName[]): string[] {
  const lines: string[] = [];
  if (at.uid !== 0) lines.push('not root: run it with sudo');
  if (at.nCpus < 2) lines.push(`${at.nCpus} core: one is for the switch, another for the generator`);
  const size = Number(/^Hugepagesize: +(\d+) kB/m.exec(at.meminfo)?.[1] ?? 0);
  const free = Number(/^HugePages_Free: +(\d+)/m.exec(at.meminfo)?.[1] ?? 0);
  if (size !== 2048 || free < HUGE_PAGES)
    lines.push(
      `${free} free huge pages of ${size} kB, ${HUGE_PAGES} of 2048 kB are needed: ` +
        'sysctl vm.nr_hugepages=2048; mount -t hugetlbfs none /dev/hugepages',
    );
  for (const [program, what] of PROGRAMS) if (!at.has(program)) lines.push(`no ${program}: ${what}`);
  if (peers.includes('ovs-dpdk') && !at.has(OVS_DPDK))
    lines.push(`no Open vSwitch with DPDK: ${APT} openvswitch-switch-dpdk, or leave it out by --peers turnout`);
  return lines;
}

/** A line when something else keeps the machine busy. */
export function noise(at: Surroundings): string | undefined {
  if (at.load < RUNS_QUIET_BELOW) return undefined;
  return `the machine is not quiet (load average ${at.load.toFixed(2)}): ratios will spread, and figures be low`;
}
