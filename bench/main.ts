/**
 * `turnout bench`: Turnout and the real OVS-DPDK on the same core, the same generator on the other, A B A B from fresh starts. Needs
 * root, two cores, huge pages of 2 MiB and Debian's openvswitch-switch-dpdk and dpdk-dev. Writes bench/results/<date>-<row>.json.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { compareControl, compareIdle, compareThroughput } from './compare.ts';
import { compareContainers } from './containers.ts';
import { RESULTS, type Record, writeDocs } from './docs.ts';
import { compareExplosion } from './explosion.ts';
import type { Result } from './figures.ts';
import { compareLatency } from './latency.ts';
import { describeMachine, describeVersions } from './machine.ts';
import { compareMemory } from './memory.ts';
import { compareOverlay } from './overlay.ts';
import { compareOvsdb } from './ovsdb.ts';
import type { PeerName, Plan } from './plan.ts';
import { missing, noise, surroundings } from './preflight.ts';
import { detailTable, figureTable, reservations } from './report.ts';
import { ROWS, type Row } from './rows.ts';
import { compareScaling } from './scaling.ts';
import { compareSegments } from './segments.ts';

const USAGE = `usage: turnout bench [OPTIONS]
  --rows NAME,…      ${ROWS.map((row) => row.name).join(', ')} (default: all)
  --pairs N          fresh starts of each switch a row (default 7)
  --warmup S         seconds before each measurement (default 3)
  --seconds S        seconds of each measurement (default 5)
  --silence S        seconds before a first packet (default 10)
  --quick            a look: one pair, a second each, Open vSwitch as shipped; options behind it change that
  --peers NAME,…     turnout, ovs-dpdk (default: both)
  --out DIR          where the results go (default bench/results; - for nowhere)
  --json             print the results as JSON instead of the table
  --docs             measure nothing: write the newest results into docs/performance.md and its pictures
`;

const PEERS: readonly PeerName[] = ['turnout', 'ovs-dpdk'];

interface Options {
  rows: Row[];
  plan: Plan;
  out: string;
  json: boolean;
  docs: boolean;
}

const DEFAULTS = { pairs: 7, warmup: 3, seconds: 5, silence: 10 };
const QUICK = { pairs: 1, warmup: 1, seconds: 1, silence: 1 };

/** Throws an Error with one line for the user. */
export function parseOptions(argv: string[]): Options {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  const { values } = parseArgs({
    args: argv,
    options: {
      rows: text,
      pairs: text,
      warmup: text,
      seconds: text,
      silence: text,
      peers: text,
      out: text,
      json: flag,
      quick: flag,
      docs: flag,
    },
  });
  const defaults = values.quick ? QUICK : DEFAULTS;
  const positive = (name: keyof typeof DEFAULTS) => {
    const value = Number(values[name] ?? defaults[name]);
    if (!(value > 0)) throw new Error(`--${name} ${values[name]}: not a positive number`);
    return value;
  };
  return {
    rows: pick('row', values.rows, ROWS, (row) => row.name),
    out: values.out ?? RESULTS,
    json: values.json ?? false,
    docs: values.docs ?? false,
    plan: {
      pairs: Math.ceil(positive('pairs')),
      timing: { warmupS: positive('warmup'), measureS: positive('seconds') },
      silenceS: positive('silence'),
      peers: pick('peer', values.peers, PEERS, (name) => name),
      tryVariants: !values.quick,
      progress: (line) => console.error(line),
    },
  };
}

function pick<T>(what: string, names: string | undefined, all: readonly T[], nameOf: (item: T) => string): T[] {
  if (names === undefined) return [...all];
  return names.split(',').map((name) => {
    const item = all.find((candidate) => nameOf(candidate) === name);
    if (item === undefined) throw new Error(`no ${what} ${name}; there are ${all.map(nameOf).join(', ')}`);
    return item;
  });
}

async function save(result: Result, argv: string[], out: string, loud: string | undefined): Promise<void> {
  const date = new Date().toISOString();
  const record: Record = {
    date,
    command: ['turnout', 'bench', ...argv].join(' '),
    machine: describeMachine(),
    versions: await describeVersions(),
    ...(loud === undefined ? {} : { noise: loud }),
    result,
  };
  mkdirSync(out, { recursive: true });
  const file = join(out, `${date.slice(0, 10)}-${result.row.name}.json`);
  writeFileSync(file, `${JSON.stringify(record, null, 1)}\n`);
  console.error(`written: ${relative(process.cwd(), file)}`);
}

function print(results: readonly Result[], json: boolean): void {
  if (json) {
    console.log(JSON.stringify(results, null, 1));
    return;
  }
  console.log(figureTable(results));
  if (results.some((result) => result.row.kind === 'throughput')) console.log(`\n${detailTable(results)}`);
  for (const line of reservations(results)) console.log(line);
}

function compareRow(row: Row, plan: Plan): Promise<Result> {
  switch (row.kind) {
    case 'throughput':
      return compareThroughput(row, plan);
    case 'explosion':
      return compareExplosion(row, plan);
    case 'scaling':
      return compareScaling(row, plan);
    case 'latency':
      return compareLatency(row, plan);
    case 'memory':
      return compareMemory(row, plan);
    case 'idle':
      return compareIdle(row, plan);
    case 'overlay':
      return compareOverlay(row, plan);
    case 'containers':
      return compareContainers(row, plan);
    case 'segments':
      return compareSegments(row, plan);
    case 'control':
      return compareControl(row, plan);
    case 'ovsdb':
      return compareOvsdb(row, plan);
  }
}

/** Measures the rows; one that fails is told, and the others go on. False when some failed. */
async function compareAll(options: Options, argv: string[]): Promise<boolean> {
  const results: Result[] = [];
  let complete = true;
  for (const row of options.rows) {
    const loud = noise(surroundings());
    try {
      const result = await compareRow(row, options.plan);
      results.push(result);
      if (options.out !== '-') await save(result, argv, options.out, results.length === 1 ? loud : undefined);
    } catch (error) {
      complain(`${row.name}: ${error instanceof Error ? error.message : String(error)}`);
      complete = false;
    }
  }
  if (results.length > 0) print(results, options.json);
  return complete;
}

const complain = (text: string) => process.stderr.write(`turnout bench: ${text}\n`);

/** Says what is missing, or that the machine is not quiet; false: nothing can be measured. */
function machineServes(peers: readonly PeerName[]): boolean {
  const at = surroundings();
  const lines = missing(at, peers);
  for (const line of lines) complain(line);
  const loud = noise(at);
  if (lines.length === 0 && loud !== undefined) complain(loud);
  return lines.length === 0;
}

export async function main(argv: string[]): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) {
    process.stdout.write(USAGE);
    return 0;
  }
  let options: Options;
  try {
    options = parseOptions(argv);
  } catch (error) {
    process.stderr.write(`turnout bench: ${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
    return 2;
  }
  if (options.docs) {
    for (const file of writeDocs()) console.log(`written: ${relative(process.cwd(), file)}`);
    return 0;
  }
  if (!machineServes(options.plan.peers)) return 1;
  return (await compareAll(options, argv)) ? 0 : 1;
}
