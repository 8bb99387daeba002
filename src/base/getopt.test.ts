import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type OptionSpec, parseOptions, UsageError } from './getopt.ts';

const SPEC: OptionSpec = {
  long: { pidfile: 'optional', remote: 'required', detach: 'none', verbose: 'optional', version: 'none' },
  short: { v: 'verbose', r: 'remote', d: 'detach' },
};

/** `name=value` of each option, then the arguments. */
const parse = (...argv: string[]) => {
  const { options, args } = parseOptions(argv, SPEC);
  return [...options.map((o) => (o.value === undefined ? o.name : `${o.name}=${o.value}`)), ...args];
};

test('long and short options in all their forms', () => {
  assert.deepEqual(parse('--pidfile', 'x'), ['pidfile', 'x']);
  assert.deepEqual(parse('--pidfile=a=b'), ['pidfile=a=b']);
  assert.deepEqual(parse('--remote', 'x', '--remote=y'), ['remote=x', 'remote=y']);
  assert.deepEqual(parse('-vconsole:off', '-v', '-rx', '-r', 'y'), [
    'verbose=console:off',
    'verbose',
    'remote=x',
    'remote=y',
  ]);
  assert.deepEqual(parse('-dv', 'a', '--', '--detach'), ['detach', 'verbose', 'a', '--detach']);
  assert.deepEqual(parse('--det', '-'), ['detach', '-']);
});

for (const [argv, message] of [
  [['--nonsense'], "unrecognized option '--nonsense'"],
  [['-x'], "invalid option -- 'x'"],
  [['--remote'], "option '--remote' requires an argument"],
  [['-r'], "option requires an argument -- 'r'"],
  [['--detach=1'], "option '--detach' doesn't allow an argument"],
  [['--ver'], "option '--ver' is ambiguous; possibilities: '--verbose' '--version'"],
] as const) {
  test(`${argv.join(' ')} is refused`, () => {
    assert.throws(() => parse(...argv), new UsageError(message));
  });
}

test('options may end at the first word', () => {
  const { options, args } = parseOptions(['-d', 'dump', '--remote'], { ...SPEC, stopAtFirst: true });
  assert.deepEqual(options, [{ name: 'detach', value: undefined }]);
  assert.deepEqual(args, ['dump', '--remote']);
});
