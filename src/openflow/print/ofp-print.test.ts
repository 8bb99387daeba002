import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ofpToString } from './ofp-print.ts';

interface Golden {
  name: string;
  verbosity: number;
  message: Uint8Array;
  text: string;
}

function readGolden(): Golden[] {
  const file = readFileSync(fileURLToPath(new URL('../../../test/golden/openflow/print.md', import.meta.url)), 'utf8');
  const cases = file.matchAll(/^### (.*)\n```hex (\d)\n([^`]*)```\n```text\n([\s\S]*?)```\n/gm);
  return Array.from(cases, ([, name, verbosity, hex, text]) => ({
    name,
    verbosity: Number(verbosity),
    message: Uint8Array.from(Buffer.from(hex.replace(/\s/g, ''), 'hex')),
    text,
  }));
}

const GOLDEN = readGolden();

test('the golden page has its cases', () => {
  assert.equal(GOLDEN.length, 30);
});

for (const { name, verbosity, message, text } of GOLDEN) {
  test(`text of: ${name}`, () => assert.equal(ofpToString(message, verbosity), text));
}

test('what is no whole message is said', () => {
  assert.equal(ofpToString(new Uint8Array(0), 1), 'OpenFlow message is empty\n');
  assert.match(ofpToString(Uint8Array.of(1, 0, 0), 1), /^OpenFlow packet too short \(only 3 bytes\):\n00000000 /);
  const truncated = Uint8Array.of(1, 5, 0, 16, 0, 0, 0, 1);
  assert.match(
    ofpToString(truncated, 1),
    /^OFPT_FEATURES_REQUEST \(xid=0x1\):\n\(\*\*\*truncated to 8 bytes from 16\*\*\*\)\n/,
  );
  const long = Uint8Array.of(1, 5, 0, 8, 0, 0, 0, 1, 9);
  assert.match(ofpToString(long, 1), /^\(\*\*\*only uses 8 bytes out of 9\*\*\*\)\n/);
});

/** Numbers from 0 to 2^32 - 1 that are the same in each run (xorshift32). */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

test('any bytes have a text that ends a line', () => {
  const next = numbers(42);
  for (let i = 0; i < 6000; i++) {
    const { message } = GOLDEN[next() % GOLDEN.length];
    const msg = message.slice();
    for (let n = next() % 4; n >= 0; n--) msg[next() % msg.length] = next();
    if (i % 3 === 0) msg[0] = 1 + (next() % 6);
    // Mostly the length is right, so that the body is looked at.
    if (next() % 8) [msg[2], msg[3]] = [msg.length >> 8, msg.length & 0xff];
    assert.match(ofpToString(msg, next() % 6), /\n$/);
  }
});

test('names of ports and tables are shown where they are known', () => {
  const flowMod = GOLDEN.find((g) => g.name === 'flow mod in NXM')!;
  const names = {
    nameOf: (port: number) => (port === 2 ? 'p-2' : undefined),
    numberOf: () => undefined,
    tableNameOf: (table: number) => (table === 1 ? 'acl' : undefined),
  };
  assert.match(ofpToString(flowMod.message, 1, names), /ADD table:acl .*output:"p-2"\n$/);
});
