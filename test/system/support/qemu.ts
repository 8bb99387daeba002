/** A virtual machine with Debian's kernel and a busybox, whose only network card is a vhost-user port of the switch. */
import assert from 'node:assert/strict';
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { eventually, Running } from '../../../bench/peers/process.ts';
import { findGuestKernel, findProgram } from '../../support/require.ts';
import { defer } from './cleanup.ts';
import { type ArchiveFile, cpioArchive, S_IFCHR, S_IFDIR, S_IFREG } from './cpio.ts';

export interface VmOptions {
  name: string;
  /** The vhost-user socket. */
  path: string;
  /** QEMU listens and the switch connects. */
  server?: boolean;
  mac: string;
  /** Options of the network card. */
  device?: string;
  /** Address with prefix length, e.g. 10.0.0.1/24. */
  address: string;
}

/** In the order in which they must be loaded. */
const MODULES = [
  'virtio_ring',
  'virtio',
  'virtio_pci_modern_dev',
  'virtio_pci_legacy_dev',
  'virtio_pci',
  'failover',
  'net_failover',
  'virtio_net',
];

/** Without KVM, QEMU 7.2 crashes when a guest unmasks an MSI-X vector of a vhost-user device; with no vectors it uses INTx. */
const NO_MSIX = 'vectors=0';

/** On a busy machine the emulated timer is too slow for the kernel's check of it. */
const KERNEL_ARGUMENTS = 'console=ttyS0 quiet panic=-1 no_timer_check';

const MEMORY_MB = 192;
/** Emulated, so a boot takes seconds; more on a busy machine. */
const BOOT_DEADLINE_MS = 120_000;
const PROMPT = 'vm# ';

export class Vm {
  readonly process: Running;

  constructor(process: Running) {
    this.process = process;
  }

  /** Boots it and waits for its shell; ended with the test. */
  static async start(t: TestContext, options: VmOptions): Promise<Vm> {
    const folder = mkdtempSync(join(tmpdir(), 'turnout-vm-'));
    defer(t, () => rmSync(folder, { recursive: true }));
    const kernel = findGuestKernel();
    if (kernel === undefined) throw new Error('no guest kernel');
    const initrd = join(folder, 'initrd');
    writeFileSync(initrd, initramfs(kernel.modules, options.address));
    const process = await Running.start(options.name, qemuArgv(kernel.image, initrd, options));
    defer(t, () => process.stop('SIGKILL'));
    await process.waitFor(/vm# /, 0, BOOT_DEADLINE_MS);
    return new Vm(process);
  }

  /** Runs a line in the machine's shell; returns what it printed. */
  async sh(line: string): Promise<string> {
    const from = this.process.output.length;
    this.process.write(line);
    await this.process.waitFor(/vm# /, from);
    return this.process.output.slice(from).replaceAll('\r', '');
  }

  /** Waits for the first answer: carrier, neighbour discovery and learning take their time. */
  async waitForEcho(address: string): Promise<void> {
    await eventually(`${this.process.name} reaches ${address}`, async () => {
      return (await this.sh(`ping -c 1 -W 1 ${address} >/dev/null && echo reached`)).includes('reached\n') || undefined;
    });
  }

  /** Every one of `count` echoes must come back. */
  async assertPing(address: string, count: number, payloadSize = 56): Promise<void> {
    const said = await this.sh(`ping -c ${count} -i 0.2 -W 10 -s ${payloadSize} ${address}`);
    assert.match(said, new RegExp(`^${count} packets transmitted, ${count} packets received, 0% packet loss$`, 'm'));
  }
}

/** The guest's memory is a memfd that the switch maps. */
function qemuArgv(image: string, initrd: string, options: VmOptions): string[] {
  const server = options.server ? ',server=on,wait=on' : '';
  return [
    'qemu-system-x86_64',
    ...[
      '-machine',
      'q35,accel=tcg',
      '-cpu',
      'max',
      '-nodefaults',
      '-no-reboot',
      '-display',
      'none',
      '-serial',
      'stdio',
    ],
    ...[
      '-m',
      String(MEMORY_MB),
      '-object',
      `memory-backend-memfd,id=mem,size=${MEMORY_MB}M,share=on`,
      '-numa',
      'node,memdev=mem',
    ],
    ...['-kernel', image, '-initrd', initrd, '-append', KERNEL_ARGUMENTS],
    ...[
      '-chardev',
      `socket,id=chr0,path=${options.path}${server}`,
      '-netdev',
      'vhost-user,id=net0,chardev=chr0,vhostforce=on',
    ],
    ...[
      '-device',
      `virtio-net-pci,netdev=net0,mac=${options.mac},${NO_MSIX}${options.device ? `,${options.device}` : ''}`,
    ],
  ];
}

function initramfs(modulesFolder: string, address: string): Buffer {
  const busybox = findProgram('busybox');
  if (busybox === undefined) throw new Error('no busybox');
  const folders = ['bin', 'dev', 'proc', 'sys', 'modules'].map(
    (name): ArchiveFile => ({ name, mode: S_IFDIR | 0o755 }),
  );
  return cpioArchive([
    ...folders,
    { name: 'dev/console', mode: S_IFCHR | 0o600, device: { major: 5, minor: 1 } },
    { name: 'bin/busybox', mode: S_IFREG | 0o755, content: readFileSync(busybox) },
    ...MODULES.map((name) => ({
      name: `modules/${name}.ko`,
      mode: S_IFREG | 0o644,
      content: readFileSync(findModule(modulesFolder, name)),
    })),
    { name: 'init', mode: S_IFREG | 0o755, content: initScript(address) },
  ]);
}

function findModule(folder: string, name: string): string {
  const [file] = globSync(`kernel/**/${name}.ko`, { cwd: folder });
  if (file === undefined) throw new Error(`the guest kernel has no module ${name}`);
  return join(folder, file);
}

/** Echo is off, so that what is typed does not stand in the output. */
function initScript(address: string): string {
  return `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin PS1='${PROMPT}'
mount -t proc none /proc
mount -t sysfs none /sys
for m in ${MODULES.join(' ')}; do insmod /modules/$m.ko; done
ip link set lo up
ip addr add ${address} dev eth0
ip link set eth0 up
stty -echo
exec sh -i
`;
}
