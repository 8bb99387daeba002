import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check, command, eventually, kill, Running } from './process.ts';
import { parsePortStats, testpmdArgv } from './testpmd.ts';

test('a command gives its status and both outputs; check() throws on a status', async () => {
  const result = await command(['sh', '-c', 'cat; echo err >&2; exit 3'], { input: 'in' });
  assert.deepEqual(result, { status: 3, stdout: 'in', stderr: 'err\n' });
  await assert.rejects(check(['sh', '-c', 'exit 3']), /exit status 3/);
  assert.equal((await command(['turnout-no-such-program'])).status, 127);
});

test('a running program is written to, waited for and stopped', async () => {
  const cat = await Running.start('cat', ['cat']);
  cat.write('hello');
  await cat.waitFor(/hello\n/);
  assert.equal(await cat.stop('SIGTERM'), 128 + 15);
  assert.equal(kill(cat.pid, 0), false);
});

test('what a program complains of in the middle of a prompt does not hide the prompt', async () => {
  const shell = await Running.start('sh', [
    'sh',
    '-c',
    'printf test; echo complaint >&2; sleep 0.1; printf "pmd> "; cat',
  ]);
  await shell.waitFor(/testpmd> /);
  assert.equal(shell.errors, 'complaint\n');
  await shell.stop();
});

test('waiting for the words of a program that ended fails', async () => {
  const done = await Running.start('true', ['true']);
  await assert.rejects(done.waitFor(/never/), /ended with 0/);
});

test('eventually() names what did not come, and why', async () => {
  assert.equal(await eventually('a value', () => 5), 5);
  const never = () => {
    throw new Error('not yet');
  };
  await assert.rejects(eventually('the value', never, 1), /the value: not yet/);
});

test('the counters of show port stats', () => {
  const text = `
  ######################## NIC statistics for port 0  ########################
  RX-packets: 15360      RX-missed: 1          RX-bytes:  921600
  RX-errors: 0
  RX-nombuf:  0
  TX-packets: 351392     TX-errors: 2          TX-bytes:  21083520
  ############################################################################

  ######################## NIC statistics for port 1  ########################
  RX-packets: 0          RX-missed: 0          RX-bytes:  0
  TX-packets: 3          TX-errors: 0          TX-bytes:  180
`;
  assert.deepEqual(parsePortStats(text), [
    { rxPackets: 15360, rxMissed: 1, rxBytes: 921600, txPackets: 351392, txErrors: 2, txBytes: 21083520 },
    { rxPackets: 0, rxMissed: 0, rxBytes: 0, txPackets: 3, txErrors: 0, txBytes: 180 },
  ]);
});

test('the command line of testpmd', () => {
  const argv = testpmdArgv({
    ports: [{ path: '/s', mac: '00:00:00:00:00:01', server: true }],
    core: 1,
    forwardMode: 'io',
    prefix: ['env'],
  });
  assert.equal(argv[0], 'env');
  assert.ok(argv.includes('--vdev=net_virtio_user1,mac=00:00:00:00:00:01,path=/s,queues=1,queue_size=1024,server=1'));
  assert.ok(argv.indexOf('--forward-mode=io') > argv.indexOf('--'));
});
