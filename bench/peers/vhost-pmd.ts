/** dpdk-testpmd as the least switch there is: it forwards between two ports of DPDK's vhost driver, without looking. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Running } from './process.ts';

export interface VhostForwarder {
  sockets: [string, string];
  stop(): Promise<void>;
}

export async function startVhostForwarder(core: number): Promise<VhostForwarder> {
  const folder = mkdtempSync(join(tmpdir(), 'turnout-bench-'));
  const sockets: [string, string] = [join(folder, 'vhost1'), join(folder, 'vhost2')];
  const process = await Running.start('testpmd (vhost)', [
    ...['stdbuf', '-oL', 'dpdk-testpmd', `--lcores=0@${core},1@${core}`, '--no-pci', '--in-memory', '-m', '512'],
    ...sockets.map((path, i) => `--vdev=net_vhost${i},iface=${path},queues=1`),
    ...[
      '--',
      '--interactive',
      '--auto-start',
      '--forward-mode=io',
      '--nb-cores=1',
      '--burst=64',
      '--total-num-mbufs=65536',
    ],
    ...['--txd=1024', '--rxd=1024', '--no-lsc-interrupt'],
  ]);
  const stop = async () => {
    await process.stop('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await process.waitFor(/testpmd> /);
  } catch (error) {
    await stop();
    throw error;
  }
  return { sockets, stop };
}
