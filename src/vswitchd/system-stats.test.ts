import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileSystemStatistics, memoryStatistics } from './system-stats.ts';

test('memory in kilobytes', () => {
  const meminfo =
    'MemTotal:  1000 kB\nMemFree:   300 kB\nBuffers:  20 kB\nCached:  200 kB\nSwapTotal:  50 kB\nSwapFree:  40 kB\n';
  assert.equal(memoryStatistics(meminfo), '1000,700,220,50,10');
  assert.equal(memoryStatistics(''), undefined);
});

test('file systems on devices, each once', () => {
  const mtab =
    '/dev/sda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\n/dev/sdb /mnt/my\\040disk ext4 rw 0 0\n/dev/sdc /gone ext4 rw 0 0\n';
  const sizes = (point: string) => (point === '/gone' ? undefined : { total: 4096, used: 1024 });
  assert.equal(fileSystemStatistics({ meminfo: '', mtab, sizes }), '/,4,1 /mnt/my_disk,4,1');
});
