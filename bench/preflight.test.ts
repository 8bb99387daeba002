import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missing, noise, type Surroundings } from './preflight.ts';

const GOOD: Surroundings = {
  uid: 0,
  nCpus: 2,
  meminfo: 'HugePages_Total:    2048\nHugePages_Free:     2048\nHugepagesize:       2048 kB\n',
  has: () => true,
  load: 0,
};

test('a machine with everything lacks nothing and is quiet', () => {
  assert.deepEqual(missing(GOOD, ['turnout', 'ovs-dpdk']), []);
  assert.equal(noise(GOOD), undefined);
});

test('whatever is missing is said with what to do', () => {
  const bare = { ...GOOD, uid: 1000, nCpus: 1, meminfo: '', has: () => false, load: 1.5 };
  const lines = missing(bare, ['turnout', 'ovs-dpdk']).join('\n');
  for (const word of [/sudo/, /1 core/, /vm\.nr_hugepages/, /install dpdk-dev/, /--peers turnout/])
    assert.match(lines, word);
  assert.doesNotMatch(missing(bare, ['turnout']).join('\n'), /--peers/);
  assert.match(noise(bare) ?? '', /load average 1\.50/);
});
