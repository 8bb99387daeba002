/** A Docker engine of the test's own, and an image with dpdk-testpmd made from this machine's files. */
import {
  cpSync,
  existsSync,
  globSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { check, command, eventually, Running } from '../../../bench/peers/process.ts';
import { Testpmd, type TestpmdOptions } from '../../../bench/peers/testpmd.ts';
import { findProgram, HUGEPAGE_MOUNT } from '../../support/require.ts';
import { defer } from './cleanup.ts';

const IMAGE = 'turnout-testpmd';
/** The poll mode drivers that testpmd loads by itself, from a folder that Debian names after DPDK's ABI. */
const DRIVERS = ['bus_vdev', 'mempool_ring', 'net_virtio'];

export class Docker {
  readonly #host: string;

  constructor(host: string) {
    this.#host = host;
  }

  /** Starts an engine without networks and firewall rules, and imports the image; ended with the test. */
  static async start(t: TestContext): Promise<Docker> {
    const folder = mkdtempSync(join(tmpdir(), 'turnout-docker-'));
    defer(t, () => rmSync(folder, { recursive: true, force: true }));
    const host = `unix://${folder}/docker.sock`;
    const daemon = await Running.start('dockerd', [
      'dockerd',
      ...['--iptables=false', '--ip6tables=false', '--bridge=none', '--storage-driver=vfs'],
      ...[`--data-root=${folder}/data`, `--exec-root=${folder}/exec`, `--pidfile=${folder}/pid`, `--host=${host}`],
    ]);
    defer(t, () => daemon.stop('SIGTERM', 30_000));
    const docker = new Docker(host);
    await eventually('dockerd answers', async () => (await command(docker.argv('info'))).status === 0 || undefined);
    await docker.#importImage(folder);
    return docker;
  }

  /** Debian's client stands beside its engine; another one on the PATH may be too new for it. */
  argv(...args: string[]): string[] {
    return [existsSync('/usr/bin/docker') ? '/usr/bin/docker' : 'docker', '--host', this.#host, ...args];
  }

  /** Starts testpmd in a container that has the sockets' folder and the huge pages, and nothing else of this machine. */
  async startTestpmd(t: TestContext, name: string, rundir: string, options: TestpmdOptions): Promise<Testpmd> {
    const mounts = [rundir, HUGEPAGE_MOUNT].flatMap((folder) => ['--volume', `${folder}:${folder}`]);
    // SYS_NICE is what Docker's seccomp profile asks for set_mempolicy(2), which DPDK calls for its huge pages.
    const rights = ['--network=none', '--cap-add=SYS_NICE'];
    const prefix = this.argv('run', '--rm', '--interactive', ...rights, `--name=${name}`, ...mounts, IMAGE);
    const app = await Testpmd.start(name, { ...options, prefix });
    defer(t, async () => {
      await command(this.argv('kill', name));
      await app.process.stop('SIGKILL');
    });
    return app;
  }

  async #importImage(folder: string): Promise<void> {
    const rootfs = join(folder, 'rootfs');
    await copyProgram('dpdk-testpmd', rootfs);
    await copyProgram('stdbuf', rootfs);
    for (const library of globSync('/usr/libexec/coreutils/libstdbuf.so')) copyInto(rootfs, library);
    mkdirSync(join(rootfs, 'var/run'), { recursive: true });
    for (const driver of DRIVERS) await copyDriver(driver, rootfs);
    await check(['tar', '-C', rootfs, '-cf', join(folder, 'image.tar'), '.']);
    await check(this.argv('import', join(folder, 'image.tar'), IMAGE));
    rmSync(rootfs, { recursive: true });
  }
}

async function copyDriver(driver: string, rootfs: string): Promise<void> {
  const files = globSync(`/usr/lib/*/dpdk/pmds-*/librte_${driver}.so.*`);
  if (files.length === 0) throw new Error(`DPDK has no driver ${driver}`);
  for (const file of files) copyInto(rootfs, file);
  await copyLibraries(files[0], rootfs);
}

async function copyProgram(program: string, rootfs: string): Promise<void> {
  const file = findProgram(program);
  if (file === undefined) throw new Error(`no ${program}`);
  copyInto(rootfs, file);
  await copyLibraries(file, rootfs);
}

/** Everything that ldd names, under the name by which it is looked up. */
async function copyLibraries(file: string, rootfs: string): Promise<void> {
  for (const [library] of (await check(['ldd', file])).matchAll(/\/\S+\.so\S*/g)) copyInto(rootfs, library);
}

/**
 * Copies what `file` points to, and makes `file` a link to it when it is one here. Names of one library must lead to one file: DPDK's
 * drivers register with the bus library that they find loaded.
 */
function copyInto(rootfs: string, file: string): void {
  const real = realpathSync(file);
  for (const path of [real, file]) mkdirSync(dirname(join(rootfs, path)), { recursive: true });
  if (!existsSync(join(rootfs, real))) cpSync(real, join(rootfs, real));
  if (real !== file && !lstatSync(join(rootfs, file), { throwIfNoEntry: false })) symlinkSync(real, join(rootfs, file));
}
