import assert from 'node:assert/strict';
import { afterEach, beforeEach, type TestContext, test } from 'node:test';
import { findProgram, missingPeer, requirePeer } from './require.ts';

const ABSENT = 'turnout-no-such-program';

/** Records what requirePeer() says to the test it is called in. */
function fakeContext(): { context: TestContext; skips: string[] } {
  const skips: string[] = [];
  return { context: { skip: (reason: string) => skips.push(reason) } as unknown as TestContext, skips };
}

let saved: string | undefined;
beforeEach(() => {
  saved = process.env.TURNOUT_REQUIRE_ALL;
  delete process.env.TURNOUT_REQUIRE_ALL;
});
afterEach(() => {
  if (saved === undefined) delete process.env.TURNOUT_REQUIRE_ALL;
  else process.env.TURNOUT_REQUIRE_ALL = saved;
});

test('a program that is there is no reason to skip', () => {
  const { context, skips } = fakeContext();
  assert.equal(requirePeer(context, 'sh', 'cat'), true);
  assert.deepEqual(skips, []);
});

test('an absent program skips by name', () => {
  const { context, skips } = fakeContext();
  assert.equal(requirePeer(context, 'sh', ABSENT), false);
  assert.deepEqual(skips, [`${ABSENT} is not installed`]);
});

test('an absent program throws under TURNOUT_REQUIRE_ALL', () => {
  process.env.TURNOUT_REQUIRE_ALL = '1';
  const { context, skips } = fakeContext();
  assert.throws(() => requirePeer(context, ABSENT), new RegExp(ABSENT));
  assert.deepEqual(skips, []);
});

test('root is judged by the user id', () => {
  assert.equal(missingPeer('root') === undefined, process.getuid?.() === 0);
});

test('a program is found by its whole path', () => {
  assert.match(findProgram('sh') ?? '', /\/sh$/);
});
