import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setProgramName } from './program.ts';
import { UnixctlCommands, UnixctlError } from './unixctl.ts';
import { Vlog, VlogRateLimit } from './vlog.ts';
import { formatRecord } from './vlog-pattern.ts';

setProgramName('ovs-vswitchd');

/** A log of its own that writes into a file, and how to read it. */
function setUp() {
  const file = join(mkdtempSync(join(tmpdir(), 'turnout-vlog-')), 'test.log');
  const log = new Vlog();
  log.setLevels('console:off');
  log.setClock(() => Date.UTC(2026, 0, 2, 3, 4, 5, 6));
  log.setLogFile(file);
  return { log, file, lines: () => readFileSync(file, 'utf8').split('\n').slice(0, -1) };
}

test('a line has time, number, module, level and text', () => {
  const { log, file, lines } = setUp();
  log.module('bridge').warn('hello\n');
  assert.deepEqual(lines(), [
    `2026-01-02T03:04:05.006Z|00001|vlog|INFO|opened log file ${file}`,
    '2026-01-02T03:04:05.006Z|00002|bridge|WARN|hello',
  ]);
});

test('specs set levels by module and destination', () => {
  const { log, lines } = setUp();
  assert.equal(log.setLevels('bridge:file:dbg'), undefined);
  log.module('bridge').dbg('shown');
  log.module('netdev').dbg('not shown');
  assert.equal(log.setLevels('file:err'), undefined);
  log.module('bridge').warn('not shown');
  log.module('made-later').warn('not shown');
  log.module('made-later').err('shown too');
  assert.deepEqual(
    lines()
      .slice(1)
      .map((l) => l.split('|').slice(2).join('|')),
    ['bridge|DBG|shown', 'made-later|ERR|shown too'],
  );
});

test('wrong specs are told in words that scripts know', () => {
  const { log } = setUp();
  assert.equal(log.setLevels('nonsense'), 'no destination, level, or module "nonsense"');
  assert.equal(log.setLevels('console:file:dbg'), 'cannot specify multiple destinations');
  assert.equal(log.setLevels('info:dbg'), 'cannot specify multiple levels');
  assert.equal(log.setLevels('bridge:netdev'), 'cannot specify multiple modules');
  assert.equal(log.setLevels('PATTERN'), 'missing destination');
  assert.equal(log.setLevels('PATTERN:nowhere:x'), 'unknown destination "nowhere"');
  assert.equal(log.setLevels('FACILITY:nonsense'), 'invalid facility');
  assert.equal(log.setLevels('FACILITY:local7'), undefined);
});

test('patterns: padding, justification, facility', () => {
  const record = {
    module: 'bridge',
    level: 'WARN',
    severity: 4,
    facility: 16 << 3,
    message: 'm',
    number: 7,
    wallMs: 0,
    thread: 'pmd-c01',
  };
  const format = (pattern: string) => formatRecord(pattern, record);
  assert.equal(format('%A|%-8c|%5N|%05N|%p%%'), 'ovs-vswitchd|bridge  |    7|00007|WARN%');
  assert.equal(format('<%B>%c%T %t'), '<132>bridge(pmd-c01) pmd-c01');
  assert.equal(format('%D{%d %b %Y %H:%M:%S.###}'), '01 Jan 1970 00:00:00.000');
});

test('the log file can be rotated away', () => {
  const { log, file, lines } = setUp();
  renameSync(file, `${file}.1`);
  assert.equal(log.reopen(), undefined);
  log.module('bridge').info('after');
  assert.equal(lines().length, 2);
  assert.match(readFileSync(`${file}.1`, 'utf8'), /closing log file\n$/);
});

test('a rate limit lets a burst through and tells what it held back', () => {
  let now = 0;
  const limit = new VlogRateLimit(60, 2, () => now);
  const reports: string[] = [];
  const withdraw = () => limit.withdraw((text) => reports.push(text));
  assert.deepEqual([withdraw(), withdraw(), withdraw()], [true, true, false]);
  now = 500;
  assert.equal(withdraw(), false);
  assert.deepEqual(reports, []);
  now = 3500;
  assert.equal(withdraw(), true);
  assert.deepEqual(reports, [
    'Dropped 2 log messages in last 3 seconds (most recently, 3 seconds ago) due to excessive rate',
  ]);
});

test('rate limits are switched off by command, by module or for all', async () => {
  const { log, lines } = setUp();
  const unixctl = new UnixctlCommands();
  log.registerCommands(unixctl);
  const limit = new VlogRateLimit(0, 0);
  log.module('bridge').warnRl(limit, 'held back');
  await unixctl.run('vlog/disable-rate-limit', ['bridge']);
  log.module('bridge').warnRl(limit, 'passed');
  assert.match(await unixctl.run('vlog/list', []), /^bridge +OFF +INFO +INFO {4}\(rate limiting disabled\)$/m);
  assert.equal(lines().filter((l) => l.includes('|bridge|')).length, 1);
  await assert.rejects(unixctl.run('vlog/enable-rate-limit', ['nonsense']), new UnixctlError('unknown module'));
});

test('a text that is a function is not made when nobody wants it', () => {
  const { log } = setUp();
  let made = 0;
  log.module('bridge').dbg(() => `${made++}`);
  assert.equal(made, 0);
  log.module('bridge').info(() => `${made++}`);
  assert.equal(made, 1);
});

test("a worker's messages are written by the main thread", () => {
  const { log, lines } = setUp();
  const worker = new Vlog();
  worker.forward((message) => log.accept({ ...structuredClone(message), thread: 'pmd-c01' }));
  worker.module('dpif_netdev').info('from afar');
  assert.equal(lines().at(-1), '2026-01-02T03:04:05.006Z|00002|dpif_netdev(pmd-c01)|INFO|from afar');
});
