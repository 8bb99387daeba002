/** A Docker engine of the test's own, and an image with dpdk-testpmd made from this machine's files. */
import {
  copyFileSync,
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
import { type CommandResult, check, command, eventually, Running } from '../../../bench/peers/process.ts';
import { Testpmd, type TestpmdOptions } from '../../../bench/peers/testpmd.ts';
import { findProgram, HUGEPAGE_MOUNT } from '../../support/require.ts';
import { defer } from './cleanup.ts';

const TESTPMD = 'turnout-testpmd';
/** Busybox, and ping and iperf3 where this machine has them. */
const SHELL = 'turnout-shell';
/** The poll mode drivers that testpmd loads by itself, from a folder that Debian names after DPDK's ABI. */
const DRIVERS = ['bus_vdev', 'mempool_ring', 'net_virtio'];

export type Image = 'testpmd' | 'shell';

export class Docker {
  readonly #host: string;

  constructor(host: string) {
    this.#host = host;
  }

  /** For DOCKER_HOST. */
  get host(): string {
    return this.#host;
  }

  /** Starts an engine without networks and firewall rules, and imports the images; ended with the test. */
  static async start(t: TestContext, images: readonly Image[] = ['testpmd']): Promise<Docker> {
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
    for (const image of images) {
      const rootfs = join(folder, image);
      await (image === 'testpmd' ? fillTestpmd(rootfs) : fillShell(rootfs));
      await docker.#importImage(rootfs, image === 'testpmd' ? TESTPMD : SHELL);
    }
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
    const prefix = this.argv('run', '--rm', '--interactive', ...rights, `--name=${name}`, ...mounts, TESTPMD);
    const app = await Testpmd.start(name, { ...options, prefix });
    defer(t, async () => {
      await command(this.argv('kill', name));
      await app.process.stop('SIGKILL');
    });
    return app;
  }

  /** Starts a container that sleeps, without any network; removed with the test. Resolves with its id. */
  async startShell(t: TestContext, name: string, ...options: string[]): Promise<string> {
    const argv = this.argv('run', '--detach', '--network=none', `--name=${name}`, ...options, SHELL, 'sleep', '3600');
    const id = (await check(argv)).trim();
    defer(t, () => command(this.argv('rm', '--force', name)));
    return id;
  }

  /** Runs a command in a container. */
  exec(name: string, ...argv: string[]): Promise<CommandResult> {
    return command(this.argv('exec', name, ...argv));
  }

  async #importImage(rootfs: string, image: string): Promise<void> {
    await check(['tar', '-C', rootfs, '-cf', `${rootfs}.tar`, '.']);
    await check(this.argv('import', `${rootfs}.tar`, image));
    rmSync(rootfs, { recursive: true });
  }
}

async function fillTestpmd(rootfs: string): Promise<void> {
  await copyProgram('dpdk-testpmd', rootfs);
  await copyProgram('stdbuf', rootfs);
  for (const library of globSync('/usr/libexec/coreutils/libstdbuf.so')) copyInto(rootfs, library);
  mkdirSync(join(rootfs, 'var/run'), { recursive: true });
  for (const driver of DRIVERS) await copyDriver(driver, rootfs);
}

async function fillShell(rootfs: string): Promise<void> {
  const busybox = findProgram('busybox');
  if (busybox === undefined) throw new Error('no busybox');
  for (const folder of ['bin', 'tmp']) mkdirSync(join(rootfs, folder), { recursive: true });
  copyFileSync(busybox, join(rootfs, 'bin/busybox'));
  for (const applet of ['sh', 'sleep', 'ip', 'ping', 'cat', 'nc']) symlinkSync('busybox', join(rootfs, 'bin', applet));
  if (findProgram('iperf3') !== undefined) await copyProgram('iperf3', rootfs);
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
