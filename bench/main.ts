/**
 * `turnout bench`: Turnout and the real OVS-DPDK on the same core, the same testpmd on the other, A B A B from fresh starts. Needs
 * root, two cores, 1024 huge pages of 2 MiB and Debian's openvswitch-switch-dpdk and dpdk. Writes bench/results/<date>-<row>.json.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  type ControlResult,
  compareControl,
  compareIdle,
  compareThroughput,
  type IdleResult,
  type PeerName,
  type Plan,
  type ThroughputResult,
} from './compare.ts';
import { describeMachine, describeVersions } from './machine.ts';
import { controlText, idleText, throughputTable, unprovenRows } from './report.ts';
import { ROWS, type Row } from './rows.ts';

const USAGE = `usage: turnout bench [OPTIONS]
  --rows NAME,…      ${ROWS.map((row) => row.name).join(', ')} (default: all)
  --pairs N          fresh starts of each switch a row (default 7)
  --warmup S         seconds before each measurement (default 3)
  --seconds S        seconds of each measurement (default 5)
  --silence S        seconds before a first packet (default 10)
  --peers NAME,…     turnout, ovs-dpdk (default: both)
  --out DIR          where the results go (default bench/results; - for nowhere)
  --json             print the results as JSON instead of the table
`;

const PEERS: readonly PeerName[] = ['turnout', 'ovs-dpdk'];
const here = dirname(fileURLToPath(import.meta.url));

type Result = ThroughputResult | IdleResult | ControlResult;

interface Options {
  rows: Row[];
  plan: Plan;
  out: string;
  json: boolean;
}

/** Throws an Error with one line for the user. */
export function parseOptions(argv: string[]): Options {
  const text = { type: 'string' } as const;
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
      json: { type: 'boolean' },
    },
  });
  const positive = (name: 'pairs' | 'warmup' | 'seconds' | 'silence', fallback: number) => {
    const value = Number(values[name] ?? fallback);
    if (!(value > 0)) throw new Error(`--${name} ${values[name]}: not a positive number`);
    return value;
  };
  return {
    rows: pick('row', values.rows, ROWS, (row) => row.name),
    out: values.out ?? join(here, 'results'),
    json: values.json ?? false,
    plan: {
      pairs: Math.ceil(positive('pairs', 7)),
      timing: { warmupS: positive('warmup', 3), measureS: positive('seconds', 5) },
      silenceS: positive('silence', 10),
      peers: pick('peer', values.peers, PEERS, (name) => name),
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

async function save(result: Result, argv: string[], out: string): Promise<void> {
  const date = new Date().toISOString();
  const record = {
    date,
    command: ['turnout', 'bench', ...argv].join(' '),
    machine: describeMachine(),
    versions: await describeVersions(),
    result,
  };
  mkdirSync(out, { recursive: true });
  const file = join(out, `${date.slice(0, 10)}-${result.row.name}.json`);
  writeFileSync(file, `${JSON.stringify(record, null, 1)}\n`);
  console.error(`written: ${relative(process.cwd(), file)}`);
}

const isIdle = (result: Result): result is IdleResult => result.row.kind === 'idle';
const isControl = (result: Result): result is ControlResult => result.row.kind === 'control';
const isThroughput = (result: Result): result is ThroughputResult => result.row.kind === 'throughput';

function print(results: readonly Result[], json: boolean): void {
  if (json) {
    console.log(JSON.stringify(results, null, 1));
    return;
  }
  const throughput = results.filter(isThroughput);
  if (throughput.length > 0) console.log(throughputTable(throughput));
  for (const title of unprovenRows(throughput))
    console.log(`the generator alone was no faster than the switches: ${title}`);
  for (const result of results.filter(isIdle)) console.log(idleText(result));
  for (const result of results.filter(isControl)) console.log(controlText(result));
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
  try {
    print(await compareAll(options, argv), options.json);
    return 0;
  } catch (error) {
    process.stderr.write(`turnout bench: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

function compareRow(row: Row, plan: Plan): Promise<Result> {
  if (row.kind === 'idle') return compareIdle(row, plan);
  return row.kind === 'control' ? compareControl(row, plan) : compareThroughput(row, plan);
}

async function compareAll(options: Options, argv: string[]): Promise<Result[]> {
  const results: Result[] = [];
  for (const row of options.rows) {
    const result = await compareRow(row, options.plan);
    results.push(result);
    if (options.out !== '-') await save(result, argv, options.out);
  }
  return results;
}
