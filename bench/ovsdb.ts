/**
 * Transactions a second of Turnout's database server and of Open vSwitch's, by the same load.
 *
 * The database is Open_vSwitch with a bridge of 500 ports. Each client keeps several transactions on the way. A monitor of all tables listens,
 * as the switch would. The load is composed beforehand and answers are only counted, so that the server is what is measured.
 */
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { VSWITCH_SCHEMA } from '../src/ovsdb/vswitch-schema.ts';
import { type PeerName, type Plan, type Runs, ratiosOf, spreadOf, spreadsOf } from './plan.ts';
import type { OvsdbRow } from './rows.ts';
import type { Spread } from './statistics.ts';

const SERVERS = {
  turnout: fileURLToPath(new URL('../compat/sbin/ovsdb-server', import.meta.url)),
  'ovs-dpdk': '/usr/sbin/ovsdb-server',
} as const;

const CLIENTS = 4;

interface Layout {
  readonly bridge: string;
  readonly ports: readonly { readonly port: string; readonly iface: string }[];
}

type Operation = Readonly<Record<string, unknown>>;

const uuid = (text: string) => ['uuid', text];
const byUuid = (text: string) => [['_uuid', '==', uuid(text)]];

/** What the switch writes: counters of an interface. */
function statistics({ ports }: Layout, i: number): Operation[] {
  const names = ['rx_bytes', 'rx_packets', 'tx_bytes', 'tx_packets', 'rx_errors', 'tx_errors'];
  const row = { statistics: ['map', names.map((name) => [name, i])], link_state: i % 2 ? 'up' : 'down' };
  return [{ op: 'update', table: 'Interface', where: byUuid(ports[i % ports.length]!.iface), row }];
}

/** What ovs-vsctl writes for `add-port` and, every other time, for `del-port`. */
function addPort({ bridge }: Layout, i: number): Operation[] {
  const name = `new${i >> 1}`;
  const target = { table: 'Bridge', where: byUuid(bridge) };
  if (i % 2) {
    return [
      { op: 'mutate', ...target, mutations: [['ports', 'delete', ['set', [uuid(newPort(i >> 1))]]]] },
      { op: 'comment', comment: `ovs-vsctl: ovs-vsctl del-port ${name}` },
    ];
  }
  return [
    { op: 'insert', table: 'Interface', 'uuid-name': 'iface', row: { name, type: 'internal' } },
    {
      op: 'insert',
      table: 'Port',
      uuid: newPort(i >> 1),
      'uuid-name': 'port',
      row: { name, interfaces: ['named-uuid', 'iface'] },
    },
    { op: 'mutate', ...target, mutations: [['ports', 'insert', ['set', [['named-uuid', 'port']]]]] },
    { op: 'comment', comment: `ovs-vsctl: ovs-vsctl add-port br0 ${name}` },
  ];
}

const newPort = (n: number) => `${n.toString(16).padStart(8, '0')}-0000-4000-8000-000000000000`;

/** A question by an indexed name. */
function select({ ports }: Layout, i: number): Operation[] {
  const where = [['name', '==', `p${i % ports.length}`]];
  return [{ op: 'select', table: 'Interface', where, columns: ['_uuid', 'name', 'type', 'ofport'] }];
}

export const LOAD_NAMES = ['statistics', 'add-port', 'select'] as const;
export type LoadName = (typeof LOAD_NAMES)[number];

const LOADS: Readonly<Record<LoadName, (layout: Layout, i: number) => Operation[]>> = {
  statistics,
  'add-port': addPort,
  select,
};

class Server {
  readonly #folder = mkdtempSync(join(tmpdir(), 'turnout-bench-db-'));
  readonly #pid: number;

  constructor(name: PeerName) {
    const env = { ...process.env, OVS_RUNDIR: this.#folder, OVS_DBDIR: this.#folder, OVS_LOGDIR: this.#folder };
    const run = (program: string, ...args: string[]) => {
      const { status, stderr } = spawnSync(program, args, { cwd: this.#folder, env, encoding: 'utf8' });
      if (status !== 0) throw new Error(`${program}: ${stderr}`);
    };
    const tool = fileURLToPath(new URL('../compat/bin/ovsdb-tool', import.meta.url));
    spawnSync('tee', [join(this.#folder, 'schema')], { input: JSON.stringify(VSWITCH_SCHEMA) });
    run(tool, 'create', 'conf.db', 'schema');
    run(SERVERS[name], '--remote=punix:db.sock', '--detach', '--no-chdir', '--pidfile', '-vconsole:off', 'conf.db');
    this.#pid = Number(readFileSync(join(this.#folder, 'ovsdb-server.pid'), 'utf8'));
  }

  connect(): net.Socket {
    return net.connect(join(this.#folder, 'db.sock'));
  }

  stop(): void {
    process.kill(this.#pid, 'SIGKILL');
    rmSync(this.#folder, { recursive: true });
  }
}

/** Each answer has one; no string in it can look like it. */
const ANSWER = Buffer.from('"error":null');

/** Counts answers in a stream of bytes, one of which may be cut in two. */
class AnswerCounter {
  #tail = Buffer.alloc(0);

  count(chunk: Buffer): number {
    const bytes = Buffer.concat([this.#tail, chunk]);
    let n = 0;
    let end = 0;
    for (let at = bytes.indexOf(ANSWER); at >= 0; at = bytes.indexOf(ANSWER, end)) {
      n++;
      end = at + ANSWER.length;
    }
    this.#tail = bytes.subarray(Math.max(end, bytes.length - ANSWER.length + 1));
    return n;
  }
}

function request(method: string, params: unknown, id: number): string {
  return JSON.stringify({ method, params, id });
}

/** Resolves with the answer to one request on a connection of its own. */
function ask(server: Server, method: string, params: unknown): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = server.connect();
    let text = '';
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      text += chunk;
      if (!text.endsWith('}')) return;
      socket.destroy();
      resolve(text);
    });
    socket.write(request(method, params, 0));
  });
}

async function fill(server: Server, nPorts: number): Promise<Layout> {
  const bridge = randomUUID();
  const ports = Array.from({ length: nPorts }, () => ({ port: randomUUID(), iface: randomUUID() }));
  const named = (i: number, kind: string) => ['named-uuid', `${kind}${i}`];
  const operations: Operation[] = ports.flatMap(({ port, iface }, i) => [
    { op: 'insert', table: 'Interface', uuid: iface, 'uuid-name': `iface${i}`, row: { name: `p${i}` } },
    {
      op: 'insert',
      table: 'Port',
      uuid: port,
      'uuid-name': `port${i}`,
      row: { name: `p${i}`, interfaces: named(i, 'iface') },
    },
  ]);
  const refs = ['set', ports.map((_, i) => named(i, 'port'))];
  operations.push(
    { op: 'insert', table: 'Bridge', uuid: bridge, 'uuid-name': 'bridge', row: { name: 'br0', ports: refs } },
    { op: 'insert', table: 'Open_vSwitch', row: { bridges: ['named-uuid', 'bridge'] } },
  );
  const answer = await ask(server, 'transact', ['Open_vSwitch', ...operations]);
  if (answer.includes('"details"')) throw new Error(answer.slice(0, 400));
  return { bridge, ports };
}

function monitor(server: Server): net.Socket {
  const socket = server.connect();
  const tables = Object.keys(VSWITCH_SCHEMA.tables as object).map((table) => [table, [{}]]);
  socket.on('data', () => {});
  socket.write(request('monitor_cond', ['Open_vSwitch', null, Object.fromEntries(tables)], 0));
  return socket;
}

interface Load {
  readonly nPorts: number;
  readonly seconds: number;
  /** Of each client. */
  readonly nInFlight: number;
}

/** Transactions a second under a load. */
async function measure(name: PeerName, load: LoadName, { nPorts, seconds, nInFlight }: Load): Promise<number> {
  const server = new Server(name);
  try {
    const layout = await fill(server, nPorts);
    const listener = monitor(server);
    let next = 0;
    const compose = LOADS[load];
    const one = () => request('transact', ['Open_vSwitch', ...compose(layout, next)], next++);
    let done = 0;
    let isOver = false;
    // One client keeps the order of add-port and del-port.
    const clients = Array.from({ length: load === 'add-port' ? 1 : CLIENTS }, () => {
      const socket = server.connect();
      const counter = new AnswerCounter();
      socket.on('data', (chunk: Buffer) => {
        const n = counter.count(chunk);
        done += n;
        if (!isOver && n > 0) socket.write(Array.from({ length: n }, one).join(''));
      });
      socket.write(Array.from({ length: nInFlight }, one).join(''));
      return socket;
    });
    await pause(1);
    const [before, start] = [done, performance.now()];
    await pause(seconds);
    const rate = (done - before) / ((performance.now() - start) / 1000);
    isOver = true;
    for (const socket of [listener, ...clients]) socket.destroy();
    return rate;
  } finally {
    server.stop();
  }
}

const pause = (seconds: number) => new Promise<void>((resolve) => setTimeout(resolve, seconds * 1000));

export type OvsdbRates = Record<LoadName, number>;

export interface OvsdbResult {
  row: OvsdbRow;
  nPorts: number;
  /** Transactions a second of each load. */
  runs: Runs<OvsdbRates>;
  rates: Record<LoadName, Partial<Record<PeerName, Spread>>>;
  /** Turnout's divided by Open vSwitch's, of the pairs. */
  ratios: Partial<Record<LoadName, Spread>>;
}

const N_PORTS = 500;
const N_IN_FLIGHT = 8;

async function measureAll(name: PeerName, seconds: number): Promise<OvsdbRates> {
  const rates: Partial<OvsdbRates> = {};
  for (const load of LOAD_NAMES)
    rates[load] = await measure(name, load, { nPorts: N_PORTS, seconds, nInFlight: N_IN_FLIGHT });
  return rates as OvsdbRates;
}

/** Fresh starts for every load, A B A B. */
export async function compareOvsdb(row: OvsdbRow, plan: Plan): Promise<OvsdbResult> {
  const runs: Runs<OvsdbRates> = {};
  for (let pair = 0; pair < plan.pairs; pair += 1) {
    for (const peer of plan.peers) {
      const run = await measureAll(peer, plan.timing.measureS);
      const told = LOAD_NAMES.map((load) => `${load} ${run[load].toFixed(0)}/s`).join(', ');
      plan.progress(`${row.name}: pair ${pair + 1} of ${plan.pairs}: ${peer}: ${told}`);
      runs[peer] = [...(runs[peer] ?? []), run];
    }
  }
  const rates: Partial<OvsdbResult['rates']> = {};
  const ratios: OvsdbResult['ratios'] = {};
  for (const load of LOAD_NAMES) {
    rates[load] = spreadsOf(runs, (run) => run[load]);
    const { ratio } = spreadOf(ratiosOf(runs, (run) => run[load]));
    if (ratio !== undefined) ratios[load] = ratio;
  }
  return { row, nPorts: N_PORTS, runs, rates: rates as OvsdbResult['rates'], ratios };
}
