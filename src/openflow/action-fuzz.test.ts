import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { vlog } from '../base/vlog.ts';
import { decodeActions, enableDebugActions } from './action-decode.ts';
import { encodeActions } from './action-encode.ts';
import type { Ofpact } from './actions.ts';
import { OfDecodeError, Reader, Writer } from './buffer.ts';
import { parseExactFlow } from './exact-flow.ts';
import { FlowTextError, format, formatActions, formatMatch, parseActions, parseFlow } from './flow-text.ts';
import { pullInstructions, putInstructions } from './instruction.ts';
import type { Match } from './match.ts';
import { pullNxMatch, pullOxmMatch, putNxMatch, putOxmMatch } from './nx-match.ts';

/** Bad bytes and bad text are refused in order: with an OpenFlow error, or with words. */

vlog.setLevels('ANY:ANY:OFF');
enableDebugActions();

const FLOWS = readFileSync(new URL('../../test/golden/openflow-actions/flows.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((l) => l && !l.startsWith('#'));
const GOOD = FLOWS.map((flow) => parseFlow(flow).fm);
const VERSIONS = [1, 2, 3, 4, 5, 6];

function bytesOf(put: (w: Writer) => void): Uint8Array {
  const w = new Writer();
  put(w);
  return w.done().slice();
}

/** A few bytes changed, and perhaps cut short. */
const damage = fc.record({
  at: fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
  keep: fc.option(fc.nat()),
});
type Damage = typeof damage extends fc.Arbitrary<infer T> ? T : never;

function damaged(bytes: Uint8Array, { at, keep }: Damage): Uint8Array {
  const out = keep === null ? bytes.slice() : bytes.slice(0, keep % (bytes.length + 1));
  if (out.length) for (const [where, value] of at) out[where % out.length] = value;
  return out;
}

/** What `read` makes of it; undefined when it is refused. Anything else than an OfDecodeError comes through. */
function orRefused<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (e) {
    if (e instanceof OfDecodeError) return undefined;
    throw e;
  }
}

type Write = (w: Writer, actions: readonly Ofpact[]) => void;

/** What was read is written and read again, in today's words for what is deprecated, and then it stays the same. */
function lasts(actions: readonly Ofpact[], write: Write, read: (r: Reader) => Ofpact[]): void {
  const next = (list: readonly Ofpact[]) => read(new Reader(bytesOf((w) => write(w, list))));
  const modern = next(actions);
  assert.equal(formatActions(next(modern)), formatActions(modern));
}

test('damaged actions are refused, or read as something that lasts', () => {
  const pick = fc.tuple(fc.nat(GOOD.length - 1), fc.constantFrom(...VERSIONS), damage);
  fc.assert(
    fc.property(pick, ([i, version, d]) => {
      const bytes = damaged(
        bytesOf((w) => encodeActions(w, GOOD[i].actions, version)),
        d,
      );
      const actions = orRefused(() => decodeActions(new Reader(bytes), version));
      if (actions)
        lasts(
          actions,
          (w, list) => encodeActions(w, list, version),
          (r) => decodeActions(r, version),
        );
    }),
    { numRuns: 3000 },
  );
});

test('damaged instructions are refused, or read as something that lasts', () => {
  const pick = fc.tuple(fc.nat(GOOD.length - 1), fc.constantFrom(...VERSIONS), damage);
  fc.assert(
    fc.property(pick, ([i, version, d]) => {
      const bytes = damaged(
        bytesOf((w) => putInstructions(w, GOOD[i].actions, version)),
        d,
      );
      const actions = orRefused(() => pullInstructions(new Reader(bytes), version));
      if (actions)
        lasts(
          actions,
          (w, list) => putInstructions(w, list, version),
          (r) => pullInstructions(r, version),
        );
    }),
    { numRuns: 1500 },
  );
});

test('bytes at random are no actions', () => {
  const random = fc.uint8Array({ maxLength: 64 });
  fc.assert(
    fc.property(random, fc.constantFrom(...VERSIONS), fc.nat(50), (bytes, version, subtype) => {
      orRefused(() => decodeActions(new Reader(bytes), version));
      orRefused(() => pullNxMatch(new Reader(bytes), bytes.length, { cookie: true }));
      // The same behind a good header, so that every decoder gets it.
      const body = bytes.slice(0, bytes.length & ~7);
      const head = [0xff, 0xff, 0, 16 + body.length, 0, 0, 0x23, 0x20, 0, subtype, ...bytes.slice(0, 6)];
      const whole = Uint8Array.from([...head, ...new Uint8Array(16 - head.length), ...body]);
      orRefused(() => decodeActions(new Reader(whole), version));
    }),
    { numRuns: 5000 },
  );
});

test('damaged matches are refused, or read as something that lasts', () => {
  const pick = fc.tuple(fc.nat(GOOD.length - 1), fc.constantFrom(0, 3, 4, 5, 6), damage, fc.boolean());
  const put = (w: Writer, m: Match, version: number) => (version ? putOxmMatch(w, m, version) : putNxMatch(w, m, 0));
  const pull = (b: Uint8Array, version: number, loose: boolean) =>
    version ? pullOxmMatch(new Reader(b), loose) : pullNxMatch(new Reader(b), b.length, { loose }).match;
  fc.assert(
    fc.property(pick, ([i, version, d, loose]) => {
      const bytes = damaged(
        bytesOf((w) => put(w, GOOD[i].match, version)),
        d,
      );
      const m = orRefused(() => pull(bytes, version, loose));
      // Without its prerequisites a field can be read, but has no place in what is written.
      if (!m || loose) return;
      const again = pull(
        bytesOf((w) => put(w, m, version)),
        version,
        false,
      );
      assert.equal(formatMatch(again), formatMatch(m));
    }),
    { numRuns: 3000 },
  );
});

/** Pieces that flow text is made of, and some that it is not. */
const WORDS = [
  ...new Set(FLOWS.flatMap((f) => f.split(/([,=:()/<>-]|\[|\]|\.\.)/)).filter((w) => w)),
  '"',
  '->',
  '\\',
  ' ',
  '__proto__',
  'constructor',
  '-1',
  '0x',
  '99999999999999999999',
  '(((',
  '[5..',
];

test('text in pieces is refused in words', () => {
  const piece = fc.constantFrom(...WORDS);
  const wrecked = fc
    .tuple(fc.constantFrom(...FLOWS), fc.array(fc.tuple(fc.nat(), piece), { minLength: 1, maxLength: 4 }))
    .map(([flow, changes]) => {
      let out = flow;
      for (const [at, word] of changes) {
        const where = at % (out.length + 1);
        out = out.slice(0, where) + word + out.slice(where + (at % 3));
      }
      return out;
    });
  const any = fc.oneof(
    wrecked,
    fc.array(piece, { maxLength: 12 }).map((words) => words.join('')),
    fc.string().map((s) => `actions=${s}`),
  );
  const orWords = (parse: () => unknown): void => {
    try {
      parse();
    } catch (e) {
      if (!(e instanceof FlowTextError)) throw e;
    }
  };
  fc.assert(
    fc.property(any, (text) => {
      orWords(() => parseFlow(text));
      orWords(() => parseFlow(text, 'match'));
      orWords(() => parseFlow(text, 'any'));
      orWords(() => parseExactFlow(text));
    }),
    { numRuns: 5000 },
  );
});

test('what is printed is read as the same', () => {
  for (const fm of GOOD) {
    const text = format(fm.match, fm.actions);
    // ovs-ofctl prints some words that it does not read: the names of a packet type and of GTP-U's fields among others.
    if (/packet_type=|gtpu_|tun_erspan|mpls_lse|debug|tun_flags=/.test(text)) continue;
    const again = parseFlow(text).fm;
    assert.equal(format(again.match, again.actions), text);
  }
});

test('debugging actions have words and bytes too', () => {
  const actions = parseActions('debug_recirc,debug_slow');
  for (const version of VERSIONS) {
    const bytes = bytesOf((w) => encodeActions(w, actions, version));
    assert.equal(formatActions(decodeActions(new Reader(bytes), version)), 'debug_recirc,debug_slow');
  }
});
