/**
 * What a test needs beyond Node: `if (!requirePeer(t, 'root')) return;`. An absent peer skips the test by name with the reason; with
 * TURNOUT_REQUIRE_ALL=1 it fails it.
 */
import { accessSync, constants, existsSync, globSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

const projectRoot = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Debian keeps the two builds of the real switch side by side; /usr/sbin/ovs-vswitchd is a link to one of them. */
export const OVS_DPDK = '/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk';
export const OVS_CTL = '/usr/share/openvswitch/scripts/ovs-ctl';
export const OVS_SUITE = '/usr/src/openvswitch/openvswitch.tar.gz';
export const HUGEPAGE_MOUNT = '/dev/hugepages';

/** Free 2 MiB pages that the largest system test asks for: switch 512 MiB and two testpmds with 256 MiB each. */
const HUGEPAGES_WANTED = 512;

/** Returns why the peer cannot be used, or undefined when it can. */
type Check = () => string | undefined;

/** Needs that are more than "a program of that name is on the PATH". */
const CHECKS: Record<string, Check> = {
  root: () => (process.getuid?.() === 0 ? undefined : 'needs root'),
  hugepages: checkHugepages,
  'ovs-dpdk': () => checkFile(OVS_DPDK, 'openvswitch-switch-dpdk'),
  'ovs-ctl': () => checkFile(OVS_CTL, 'openvswitch-switch-dpdk'),
  'ovs-suite': () =>
    existsSync(OVS_SUITE) ? checkProgram('ovs-vsctl') : `${OVS_SUITE} is missing (Debian package openvswitch-source)`,
  docker: () => CHECKS.root?.() ?? checkProgram('dockerd') ?? checkProgram('docker') ?? checkProgram('busybox'),
  qemu: () => checkProgram('qemu-system-x86_64') ?? checkProgram('busybox') ?? checkGuestKernel(),
  'cni-plugins': () => checkFile('/usr/lib/cni/host-local', 'containernetworking-plugins'),
  netns: () => CHECKS.root?.() ?? checkProgram('ip'),
};

/** The Debian package that brings a program, for the reason's text. */
const PACKAGES: Record<string, string> = {
  'dpdk-testpmd': 'dpdk-dev',
  'ovs-vsctl': 'openvswitch-common',
  'ovs-ofctl': 'openvswitch-common',
  'ovs-appctl': 'openvswitch-common',
  'ovs-vswitchd': 'openvswitch-switch-dpdk',
  'ovsdb-server': 'openvswitch-switch-dpdk',
  'ovsdb-client': 'openvswitch-common',
  'ovsdb-tool': 'openvswitch-common',
  dockerd: 'docker.io',
  docker: 'docker.io',
  busybox: 'busybox-static',
  'qemu-system-x86_64': 'qemu-system-x86',
  ip: 'iproute2',
  nsenter: 'util-linux',
  iperf3: 'iperf3',
  tshark: 'tshark',
  ping: 'iputils-ping',
};

/**
 * True when `peer` can be used. Otherwise marks the test as skipped with the reason and returns false, or throws under
 * TURNOUT_REQUIRE_ALL=1. `peer` is a name of `CHECKS` or a program on the PATH. Several peers: the first missing one counts.
 */
export function requirePeer(t: TestContext, ...peers: string[]): boolean {
  for (const peer of peers) {
    const missing = missingPeer(peer);
    if (missing === undefined) continue;
    if (process.env.TURNOUT_REQUIRE_ALL === '1') throw new Error(`TURNOUT_REQUIRE_ALL: ${missing}`);
    t.skip(missing);
    return false;
  }
  return true;
}

/** The reason why `peer` cannot be used, or undefined. */
export function missingPeer(peer: string): string | undefined {
  const check = CHECKS[peer];
  return check === undefined ? checkProgram(peer) : check();
}

/** The path of `program` on the PATH or in the places Debian puts daemons, or undefined. */
export function findProgram(program: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, program)).find(isExecutable);
}

/** The kernel image and the folder of modules for guests: Debian's cloud kernel, unpacked by `.ci/run` or installed. */
export function findGuestKernel(): { image: string; modules: string } | undefined {
  const places = [process.env.TURNOUT_GUEST_KERNEL ?? '', join(projectRoot, '.cache/guest-kernel'), '/'];
  for (const place of places.filter((p) => p !== '')) {
    const image = globSync('boot/vmlinuz-*-cloud-amd64', { cwd: place }).sort().at(-1);
    if (image === undefined) continue;
    const modules = join(place, 'lib/modules', image.slice('boot/vmlinuz-'.length));
    if (existsSync(modules)) return { image: join(place, image), modules };
  }
  return undefined;
}

function checkProgram(program: string): string | undefined {
  if (findProgram(program) !== undefined) return undefined;
  const hint = PACKAGES[program];
  return `${program} is not installed${hint === undefined ? '' : ` (Debian package ${hint})`}`;
}

function checkFile(file: string, debianPackage: string): string | undefined {
  return isExecutable(file) ? undefined : `${file} is not installed (Debian package ${debianPackage})`;
}

function checkGuestKernel(): string | undefined {
  return findGuestKernel() === undefined
    ? 'no guest kernel (Debian package linux-image-cloud-amd64, see .ci/run)'
    : undefined;
}

function checkHugepages(): string | undefined {
  if (!readFileSync('/proc/mounts', 'utf8').includes(` ${HUGEPAGE_MOUNT} hugetlbfs `))
    return `${HUGEPAGE_MOUNT} is not mounted`;
  const free = Number(/^HugePages_Free:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0);
  return free >= HUGEPAGES_WANTED ? undefined : `${HUGEPAGES_WANTED} free huge pages are wanted, ${free} are there`;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
