import { Command } from 'commander';
import { ovsRundir } from '../base/dirs.ts';
import { createIdl, type IdlRow, type IdlSnapshot } from '../ovsdb/idl.ts';
import { lockHolder } from '../sys/file-lock.ts';
import { runningPid, useRundir } from './rundir.ts';

/** `turnout status`: what the database says of the switch that runs in a rundir. */

const TIMEOUT_MS = 5000;

interface InterfaceStatus {
  name: string;
  type: string;
  ofport: number | null;
  link: string | null;
  error: string | null;
  statistics: Record<string, number | string>;
}

interface Status {
  running: boolean;
  pid: number;
  rundir: string;
  bridges: { name: string; datapathType: string; datapathId: string | null; interfaces: InterfaceStatus[] }[];
}

/** Exit code 3 when nothing runs, as service scripts have it (LSB). */
export async function main(argv: readonly string[]): Promise<number> {
  const command = new Command('turnout status')
    .description('Show what is running: bridges, ports, counters.')
    .option('--rundir <dir>', "folder of the switch's sockets (default: Open vSwitch's)")
    .option('--json', 'print JSON');
  command.parse([...argv], { from: 'user' });
  const { rundir, json } = command.opts<{ rundir?: string; json?: boolean }>();
  useRundir(rundir);
  const pid = runningPid({ lockHolder });
  const status: Status = { running: pid !== 0, pid, rundir: ovsRundir(), bridges: [] };
  if (status.running) status.bridges = readBridges(await readDatabase());
  process.stdout.write(json ? `${JSON.stringify(status, undefined, 2)}\n` : statusText(status));
  return status.running ? 0 : 3;
}

async function readDatabase(): Promise<IdlSnapshot> {
  const idl = createIdl({
    remote: `unix:${ovsRundir()}/db.sock`,
    monitor: {
      Bridge: ['name', 'ports', 'datapath_type', 'datapath_id'],
      Port: ['name', 'interfaces'],
      Interface: ['name', 'type', 'ofport', 'link_state', 'error', 'statistics'],
    },
  });
  const late = setTimeout(() => {
    process.stderr.write(`turnout: ${ovsRundir()}/db.sock does not answer\n`);
    process.exit(1);
  }, TIMEOUT_MS);
  idl.start();
  await idl.ready();
  clearTimeout(late);
  const snapshot = idl.snapshot();
  idl.stop();
  return snapshot;
}

function readBridges(snapshot: IdlSnapshot): Status['bridges'] {
  const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
  return [...snapshot.table('Bridge').values()]
    .map((bridge) => ({
      name: String(bridge.name),
      datapathType: String(bridge.datapath_type || 'system'),
      datapathId: orNull(bridge.datapath_id),
      interfaces: referenced(snapshot, bridge.ports, 'Port')
        .flatMap((port) => referenced(snapshot, port.interfaces, 'Interface'))
        .map(readInterface)
        .sort((a, b) => (a.ofport ?? Infinity) - (b.ofport ?? Infinity) || byName(a, b)),
    }))
    .sort(byName);
}

function referenced(snapshot: IdlSnapshot, uuids: IdlRow[string] | undefined, table: string): IdlRow[] {
  const list = Array.isArray(uuids) ? (uuids as readonly string[]) : typeof uuids === 'string' ? [uuids] : [];
  return list.map((uuid) => snapshot.get(table, uuid)).filter((row) => row !== undefined);
}

const orNull = (value: IdlRow[string] | undefined): string | null => (typeof value === 'string' ? value : null);

function readInterface(row: IdlRow): InterfaceStatus {
  const statistics = row.statistics instanceof Map ? [...row.statistics] : [];
  return {
    name: String(row.name),
    type: String(row.type || 'system'),
    ofport: typeof row.ofport === 'number' ? row.ofport : null,
    link: orNull(row.link_state),
    error: orNull(row.error),
    statistics: Object.fromEntries(statistics.map(([k, v]) => [String(k), typeof v === 'number' ? v : String(v)])),
  };
}

function statusText(status: Status): string {
  if (!status.running) return `turnout: no switch runs in ${status.rundir}\n`;
  const lines = [`turnout: running in ${status.rundir} (pid ${status.pid})`];
  for (const bridge of status.bridges) {
    lines.push(`bridge ${bridge.name}  datapath ${bridge.datapathType}  id ${bridge.datapathId ?? '-'}`);
    for (const i of bridge.interfaces) lines.push(interfaceLine(i));
  }
  return `${lines.join('\n')}\n`;
}

function interfaceLine(i: InterfaceStatus): string {
  const port = i.ofport === 65534 ? 'LOCAL' : String(i.ofport ?? '-');
  const head = `  ${port.padStart(5)}  ${i.name.padEnd(16)} ${i.type.padEnd(20)}`;
  if (i.error !== null) return `${head} error: ${i.error}`;
  const count = (key: string) => `${key.replace('_packets', '')} ${i.statistics[key] ?? 0}`;
  return `${head} ${(i.link ?? '-').padEnd(5)} ${count('rx_packets')} ${count('tx_packets')}`;
}
