/** The vhost-user back end against real front ends, without a datapath: what they negotiate, and that their memory is readable. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { vlog } from '../../src/base/vlog.ts';
import type { GuestMemory, VringConfig } from '../../src/netdev/netdev.ts';
import { createVhostUserProviders } from '../../src/netdev/vhost-user/providers.ts';
import type { VhostUserNetdev } from '../../src/netdev/vhost-user/vhost-user-netdev.ts';
import { requirePeer } from '../support/require.ts';
import { FakeConsumer, until } from '../support/vhost-front-end.ts';
import { defer } from './support/cleanup.ts';

vlog.closeConsole();
const providers = createVhostUserProviders();

interface Port {
  netdev: VhostUserNetdev;
  consumer: FakeConsumer;
  path: string;
}

async function openPort(t: TestContext, type: 'dpdkvhostuser' | 'dpdkvhostuserclient'): Promise<Port> {
  const dir = mkdtempSync(join(tmpdir(), 'turnout-vu-'));
  defer(t, () => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, 'port');
  const provider = providers.find((p) => p.type === type)!;
  const netdev = (await provider.open('port', new Map([['vhost-server-path', path]]), {
    sockDir: dir,
  })) as VhostUserNetdev;
  defer(t, () => netdev.close());
  const consumer = new FakeConsumer();
  if (netdev.io.kind === 'vhost') netdev.io.attach(consumer);
  return { netdev, consumer, path };
}

function start(t: TestContext, program: string, args: string[]): ChildProcess {
  // An open standard input: testpmd ends when it reads the end of it.
  const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'ignore'] });
  defer(t, () => child.kill('SIGKILL'));
  return child;
}

/** Resolves when the process is gone: it may go before anybody listens, so the listener comes first. */
async function killed(child: ChildProcess): Promise<void> {
  const gone = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined;
  child.kill('SIGKILL');
  await gone;
}

const MAC = '02:00:00:aa:bb:cc';

/** testpmd that sends, with memory of 4 KiB pages and no privileges, or of huge pages. */
function startTestpmd(t: TestContext, vdev: string, memory: string[], more: string[] = []): ChildProcess {
  const eal = [
    '--lcores=0@0,1@0',
    '--no-pci',
    '--no-telemetry',
    '-m',
    '64',
    ...memory,
    `--vdev=net_virtio_user0,mac=${MAC},${vdev}`,
  ];
  const app = ['--forward-mode=txonly', '--nb-cores=1', '--total-num-mbufs=4096', '--auto-start', '--stats-period=1'];
  return start(t, 'dpdk-testpmd', [...eal, '--', ...app, ...more]);
}

const SMALL_PAGES = ['--no-huge', '--no-shconf', `--file-prefix=turnout${process.pid}`];
const HUGE_PAGES = ['--in-memory', '--single-file-segments'];

/** The bytes of the first packet in a ring in which the guest transmits, without its virtio header. */
function firstPacket(ring: VringConfig, guest: GuestMemory): Buffer {
  const view = new DataView(guest.memory.buffer);
  const head = view.getUint16(ring.avail + 4, true);
  const parts: Buffer[] = [];
  for (let i = head; ; ) {
    const at = ring.desc + i * 16;
    const gpa = view.getBigUint64(at, true);
    const region = guest.regions.find((r) => gpa >= r.gpa && gpa < r.gpa + r.size);
    assert.ok(region, `descriptor at 0x${gpa.toString(16)} is in a region`);
    const offset = region.offset + Number(gpa - region.gpa);
    parts.push(Buffer.from(new Uint8Array(guest.memory.buffer, offset, view.getUint32(at + 8, true))));
    if ((view.getUint16(at + 12, true) & 1) === 0) break;
    i = view.getUint16(at + 14, true);
  }
  return Buffer.concat(parts).subarray(ring.hdrSize);
}

/** Waits until the guest has put a packet into `ring`, and checks its source. */
async function assertTransmits({ consumer }: Port, index: number, mac: string): Promise<void> {
  await until(() => consumer.rings.has(index), `vring ${index} runs`);
  const availIdx = () => {
    const ring = consumer.rings.get(index);
    return ring ? new DataView(consumer.guest!.memory.buffer).getUint16(ring.avail + 2, true) : 0;
  };
  await until(() => availIdx() > 0, 'the guest transmits');
  const packet = firstPacket(consumer.rings.get(index)!, consumer.guest!);
  assert.equal(packet.subarray(6, 12).toString('hex'), mac.replaceAll(':', ''));
}

for (const [name, memory, peers] of [
  ['4 KiB pages', SMALL_PAGES, ['dpdk-testpmd']],
  ['huge pages', HUGE_PAGES, ['dpdk-testpmd', 'hugepages']],
] as const) {
  test(`testpmd as client, ${name}: rings run, packets are readable, kill -9 and a restart`, async (t) => {
    if (!requirePeer(t, ...peers)) return;
    const port = await openPort(t, 'dpdkvhostuser');
    for (let i = 0; i < 2; i++) {
      const testpmd = startTestpmd(t, `path=${port.path},queue_size=256`, [...memory]);
      await assertTransmits(port, 1, MAC);
      assert.equal(port.netdev.linkUp(), true);
      assert.equal(port.netdev.status().get('vring_1_size'), '256');
      await killed(testpmd);
      await until(() => !port.netdev.linkUp(), 'link down');
    }
    assert.deepEqual([...port.netdev.stats().custom!.keys()], ['vhost_disconnects'], 'no errors');
  });
}

test('testpmd as client with two queue pairs', async (t) => {
  if (!requirePeer(t, 'dpdk-testpmd')) return;
  const port = await openPort(t, 'dpdkvhostuser');
  startTestpmd(t, `path=${port.path},queue_size=256,queues=2`, SMALL_PAGES, ['--rxq=2', '--txq=2']);
  await assertTransmits(port, 1, MAC);
  await until(() => port.consumer.rings.size === 4, 'all four rings run');
  assert.deepEqual(port.netdev.queues(), { rx: 2, tx: 2 });
  assert.equal(port.netdev.status().get('num_of_vrings'), '4');
});

test('testpmd as server: the port connects when it comes, and again', async (t) => {
  if (!requirePeer(t, 'dpdk-testpmd')) return;
  const port = await openPort(t, 'dpdkvhostuserclient');
  for (let i = 0; i < 2; i++) {
    rmSync(port.path, { force: true });
    const testpmd = startTestpmd(t, `path=${port.path},server=1,queue_size=256`, SMALL_PAGES);
    await assertTransmits(port, 1, MAC);
    await killed(testpmd);
    await until(() => !port.netdev.linkUp(), 'link down');
  }
});

/** A machine without disk or kernel: its network card's boot ROM asks for an address, over and over. */
function startQemu(t: TestContext, path: string, server: boolean): ChildProcess {
  return start(t, 'qemu-system-x86_64', [
    ...['-nodefaults', '-display', 'none', '-M', 'q35,accel=tcg', '-m', '128'],
    ...['-object', 'memory-backend-memfd,id=m,size=128M,share=on', '-numa', 'node,memdev=m'],
    ...['-chardev', `socket,id=c,path=${path}${server ? ',server=on' : ''}`, '-netdev', 'vhost-user,id=n,chardev=c'],
    ...['-device', `virtio-net-pci,netdev=n,mac=${MAC},bootindex=1`],
  ]);
}

for (const [type, server] of [
  ['dpdkvhostuser', false],
  ['dpdkvhostuserclient', true],
] as const) {
  test(`QEMU as ${server ? 'server' : 'client'}: the boot ROM's packets are readable`, async (t) => {
    if (!requirePeer(t, 'qemu-system-x86_64')) return;
    const port = await openPort(t, type);
    startQemu(t, port.path, server);
    await assertTransmits(port, 1, MAC);
    assert.equal(port.netdev.linkUp(), true);
    assert.deepEqual([...port.netdev.stats().custom!], []);
  });
}
