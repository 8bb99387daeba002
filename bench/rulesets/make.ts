/**
 * Writes the rulesets that are made by a rule rather than by hand: `node bench/rulesets/make.ts`. They are kept as files, so that a result names one, and
 * anybody can load it into either switch by `ovs-ofctl add-flows`.
 */
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { whiteListFlows } from '../attack/tuple-space-explosion.ts';

/** Networks that hold 10.253.0.0 to 11.4.161.31, the 500,000 destinations that flowgen goes through on each port. */
const WIDE = [
  '10.253.0.0/16',
  '10.254.0.0/17',
  '10.254.128.0/17',
  ...[0, 64, 128, 192].map((n) => `10.255.${n}.0/18`),
  '11.0.0.0/15',
  '11.2.0.0/16',
  '11.3.0.0/17',
  '11.3.128.0/17',
  '11.4.0.0/16',
];

const DIRECTIONS = [
  [1, 2],
  [2, 1],
] as const;

function wide(): string[] {
  const rules = WIDE.flatMap((net) =>
    DIRECTIONS.map(([from, to]) => `priority=100,in_port=${from},udp,nw_dst=${net},tp_dst=1001,actions=output:${to}`),
  );
  return [
    "# L3 and L4 rules for a million flows of testpmd's flowgen (UDP port 1001, 10.253.0.0 to 11.4.161.31 on each port):",
    '# prefixes of four lengths, /15 to /18; a megaflow serves tens of thousands of flows. Everything else is dropped.',
    'priority=0,actions=drop',
    ...rules,
  ];
}

/**
 * A rule whose mask is no prefix is searched in full, so that each destination has a megaflow of its own: nothing shorter tells that it is not the one
 * address (or its mirror in the upper half) that is dropped.
 */
function megaflowEach(): string[] {
  return [
    '# Every destination address needs a megaflow of its own: the dropped one has a mask that is no prefix.',
    'priority=200,udp,nw_dst=1.2.3.4/127.255.255.255,actions=drop',
    ...DIRECTIONS.map(([from, to]) => `priority=100,in_port=${from},udp,actions=output:${to}`),
  ];
}

export const N_RANDOM_MASKS = 20;
/** Bits of a source port that a mask of the twenty has; every value of them has its rule. */
const MASK_BITS = 5;

/** Twenty masks of MASK_BITS bits each, none of them a prefix of the field. */
export function randomMasks(): number[] {
  return Array.from({ length: N_RANDOM_MASKS }, (_, i) => {
    let mask = 1;
    for (let bit = 1 + (i % 3), step = 1 + (i % 4); popCount(mask) < MASK_BITS; bit += step) mask |= 1 << (bit % 15);
    return mask ^ (i >= 12 ? 1 << 14 : 0);
  });
}

function popCount(n: number): number {
  let count = 0;
  for (let rest = n; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}

/** Every value of the bits in `mask`. */
function valuesOf(mask: number): number[] {
  const values: number[] = [];
  for (let value = mask; ; value = (value - 1) & mask) {
    values.push(value);
    if (value === 0) return values;
  }
}

function random20Masks(): string[] {
  const hex = (n: number) => `0x${n.toString(16)}`;
  const rules = randomMasks().flatMap((mask, i) =>
    valuesOf(mask).flatMap((value) =>
      DIRECTIONS.map(
        ([from, to]) =>
          `priority=100,in_port=${from},udp,nw_dst=10.${i}.0.0/16,tp_src=${hex(value)}/${hex(mask)},actions=output:${to}`,
      ),
    ),
  );
  return [
    '# Twenty networks, 10.0.0.0/16 to 10.19.0.0/16; in each another mask of the source port, which is no prefix, and a rule for',
    '# each value of its bits. Everything else is dropped.',
    'priority=0,actions=drop',
    ...rules,
  ];
}

function whiteList(): string[] {
  return [
    '# The white list that the tuple space explosion attacks (bench/attack/tuple-space-explosion.ts), on port 1.',
    ...whiteListFlows(1, 2),
    'priority=1,in_port=2,actions=output:1',
  ];
}

/** The lines of each made file. */
export const MADE: Readonly<Record<string, () => string[]>> = {
  'l3l4-1m.flows': wide,
  'megaflow-each.flows': megaflowEach,
  'random-20-masks.flows': random20Masks,
  'white-list.flows': whiteList,
};

export const textOf = (lines: readonly string[]): string => `${lines.join('\n')}\n`;

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = dirname(fileURLToPath(import.meta.url));
  for (const [name, lines] of Object.entries(MADE)) writeFileSync(join(folder, name), textOf(lines()));
}
