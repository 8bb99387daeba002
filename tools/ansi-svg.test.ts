import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderScreen, toSvg } from './ansi-svg.ts';

const textOf = (screen: ReturnType<typeof renderScreen>) => screen.map((l) => l.map((c) => c.char).join(''));

test('cursor up and erase line replace what was drawn', () => {
  const screen = renderScreen('top\r\none\r\ntwo\r\n\x1b[2A\x1b[2KONE\r\n\x1b[2KTWO\r\n');
  assert.deepEqual(textOf(screen), ['top', 'ONE', 'TWO', '']);
});

test('colours become attributes, markup is escaped', () => {
  const svg = toSvg(renderScreen('a \x1b[32m<b>\x1b[0m'), 'x & y');
  assert.match(svg, /fill="#7ee787">&lt;b&gt;<\/text>/);
  assert.match(svg, /x &amp; y/);
});
