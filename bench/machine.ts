/** What a result must carry to be understood later: machine, versions, command. */
import { readFileSync } from 'node:fs';
import { arch, cpus, release, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { command } from './peers/process.ts';

export interface Machine {
  cpu: string;
  nCpus: number;
  memoryGib: number;
  kernel: string;
  arch: string;
}

export interface Versions {
  turnout: string;
  commit: string;
  node: string;
  v8: string;
  openvswitch: string;
  dpdk: string;
}

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

export function describeMachine(): Machine {
  const [cpu] = cpus();
  return {
    cpu: cpu?.model ?? 'unknown',
    nCpus: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    arch: arch(),
  };
}

export async function describeVersions(): Promise<Versions> {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return {
    turnout: version,
    commit:
      (await command(['git', '-C', root, 'describe', '--always', '--dirty', '--abbrev=12'])).stdout.trim() || 'unknown',
    node: process.versions.node,
    v8: process.versions.v8,
    openvswitch: await debianVersion('openvswitch-switch-dpdk'),
    dpdk: await debianVersion('dpdk'),
  };
}

/** dpkg-query's own placeholder. */
const DPKG_VERSION = `$\{Version}`;

async function debianVersion(name: string): Promise<string> {
  return (await command(['dpkg-query', '-W', '-f', DPKG_VERSION, name])).stdout.trim() || 'unknown';
}
