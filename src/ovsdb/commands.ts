import type { UnixctlRegistry } from '../base/unixctl.ts';
import { UnixctlError } from '../base/unixctl-registry.ts';
import type { BackupMode } from './backup-mode.ts';
import { ClusterLog } from './cluster-file.ts';
import { OvsdbError } from './error.ts';
import type { RemoteManager } from './remote-manager.ts';
import type { ServedDb } from './served-db.ts';
import type { OvsdbServer } from './server.ts';

/** What the `ovsdb-server/…` commands work on. */
export interface CommandTargets {
  readonly server: OvsdbServer;
  readonly remotes: RemoteManager;
  readonly backup?: BackupMode;
  /** Called after a database or a remote was added or removed. */
  readonly changed?: () => void;
}

function attempt(action: () => void): string {
  try {
    action();
    return '';
  } catch (error) {
    if (!(error instanceof OvsdbError)) throw error;
    throw new UnixctlError(error.toString());
  }
}

function lines(names: Iterable<string>): string {
  return [...names]
    .sort()
    .map((name) => `${name}\n`)
    .join('');
}

/** Registers the commands of ovsdb-server(1), section "Runtime Management Commands". */
export function registerOvsdbCommands(unixctl: UnixctlRegistry, targets: CommandTargets): void {
  const changed = targets.changed ?? (() => {});
  registerDatabases(unixctl, targets.server, changed);
  registerStorage(unixctl, targets.server);
  registerClusters(unixctl, targets.server);
  registerRemotes(unixctl, targets.remotes, changed);
  registerConnections(unixctl, targets.server);
  targets.backup?.registerCommands(unixctl);
  registerLogging(unixctl, targets.server);
  unixctl.register('memory/show', '', 0, 0, () => memoryUsage(targets.server));
  unixctl.register('ovsdb-server/perf-counters-show', '', 0, 0, () => '');
  unixctl.register('ovsdb-server/perf-counters-clear', '', 0, 0, () => '');
}

function removable(server: OvsdbServer, name: string): ServedDb {
  const served = server.dbs.get(name);
  if (!served) throw new UnixctlError('Failed to find the database.');
  if (name.startsWith('_')) throw new UnixctlError('Cannot remove reserved database.');
  return served;
}

function registerDatabases(unixctl: UnixctlRegistry, server: OvsdbServer, changed: () => void): void {
  unixctl.register('ovsdb-server/add-db', 'DB', 1, 1, ([path]) => {
    attempt(() => server.openFile(path!));
    changed();
    return '';
  });
  unixctl.register('ovsdb-server/remove-db', 'DB', 1, 1, ([name]) => {
    server.remove(removable(server, name!), `removing ${name} database by user request`);
    changed();
    return '';
  });
  unixctl.register('ovsdb-server/list-dbs', '', 0, 0, () => lines(server.dbs.keys()));
}

function registerStorage(unixctl: UnixctlRegistry, server: OvsdbServer): void {
  unixctl.register('ovsdb-server/compact', '', 0, 1, ([name]) => compact(server, name));
  unixctl.register('ovsdb-server/memory-trim-on-compaction', 'on|off', 1, 1, ([word]) => {
    // The garbage collector gives memory back by itself.
    if (word !== 'on' && word !== 'off') throw new UnixctlError('invalid argument');
    return '';
  });
  unixctl.register('ovsdb-server/get-db-storage-status', 'DB', 1, 1, ([name]) => {
    if (!server.dbs.has(name!)) throw new UnixctlError('Failed to find the database.');
    return 'status: ok';
  });
  if (!server.useColumnDiff) {
    unixctl.register('ovsdb/file/column-diff-enable', '', 0, 0, () => {
      server.useColumnDiff = true;
      for (const served of server.dbs.values()) served.useColumnDiff = true;
      return '';
    });
  }
}

function clusterLog(server: OvsdbServer, name: string): ClusterLog {
  const log = server.dbs.get(name)?.log;
  if (!(log instanceof ClusterLog)) throw new UnixctlError('unknown cluster');
  return log;
}

/** Of ovsdb-server(1)'s "Cluster Commands" those that concern a cluster of one. */
function registerClusters(unixctl: UnixctlRegistry, server: OvsdbServer): void {
  unixctl.register('cluster/cid', 'DB', 1, 1, ([name]) => clusterLog(server, name!).header.clusterId ?? '');
  unixctl.register('cluster/sid', 'DB', 1, 1, ([name]) => clusterLog(server, name!).header.serverId);
  unixctl.register('cluster/status', 'DB', 1, 1, ([name]) => clusterLog(server, name!).status());
}

function compact(server: OvsdbServer, name: string | undefined): string {
  if (name?.startsWith('_')) throw new UnixctlError('cannot compact built-in databases');
  const chosen = [...server.dbs.values()].filter((db) =>
    name === undefined ? !db.name.startsWith('_') : db.name === name,
  );
  if (chosen.length === 0) throw new UnixctlError('no database by that name');
  for (const served of chosen) {
    server.log('info', 'ovsdb_server', `compacting ${served.name} database by user request`);
    attempt(() => served.compact());
  }
  return '';
}

function registerRemotes(unixctl: UnixctlRegistry, remotes: RemoteManager, changed: () => void): void {
  unixctl.register('ovsdb-server/add-remote', 'REMOTE', 1, 1, async ([remote]) => {
    const problem = await remotes.add(remote!);
    if (problem !== undefined) throw new UnixctlError(problem);
    changed();
    return '';
  });
  unixctl.register('ovsdb-server/remove-remote', 'REMOTE', 1, 1, async ([remote]) => {
    if (!(await remotes.remove(remote!))) throw new UnixctlError('no such remote');
    changed();
    return '';
  });
  unixctl.register('ovsdb-server/list-remotes', '', 0, 0, () => lines(remotes.configured));
}

function registerConnections(unixctl: UnixctlRegistry, server: OvsdbServer): void {
  unixctl.register('ovsdb-server/reconnect', '', 0, 0, () => {
    server.disconnectAll('user ran ovsdb-server/reconnect');
    return '';
  });
  // Hidden in Open vSwitch too: it is for tests of clients.
  unixctl.register('ovsdb-server/disable-monitor-cond', undefined, 0, 0, () => {
    server.hasMonitorCond = false;
    server.disconnectAll('user ran ovsdb-server/disable-monitor-cond');
    return '';
  });
}

function registerLogging(unixctl: UnixctlRegistry, server: OvsdbServer): void {
  unixctl.register('ovsdb-server/tlog-set', 'DB:TABLE on|off', 2, 2, ([name, word]) =>
    setLogging(server, name!, word!),
  );
  unixctl.register('ovsdb-server/tlog-list', '', 0, 0, () => listLogging(server));
}

function setLogging(server: OvsdbServer, name: string, word: string): string {
  const isLogged = word.toLowerCase() === 'on';
  if (!isLogged && word.toLowerCase() !== 'off') throw new UnixctlError('invalid command argument');
  const [dbName, tableName, more] = name.split(':');
  if (!dbName || !tableName || more !== undefined) throw new UnixctlError('invalid DB:TABLE argument');
  const served = server.dbs.get(dbName);
  if (!served) throw new UnixctlError('no such database');
  const table = served.db.tables.get(tableName);
  if (!table) throw new UnixctlError('no such table');
  table.isLogged = isLogged;
  return '';
}

function listLogging(server: OvsdbServer): string {
  let text =
    'database        table                       logging\n--------        -----                       -------\n';
  for (const name of [...server.dbs.keys()].sort()) {
    text += `${name.padEnd(16)} \n`;
    const { tables } = server.dbs.get(name)!.db;
    for (const tableName of [...tables.keys()].sort()) {
      text += `${' '.repeat(16)}${tableName.padEnd(27)} ${tables.get(tableName)!.isLogged ? 'ON' : 'OFF'}\n`;
    }
  }
  return text;
}

function memoryUsage(server: OvsdbServer): string {
  let [atoms, cells, monitors, triggers, transactions, transactionAtoms] = [0, 0, 0, 0, 0, 0];
  for (const { db, history } of server.dbs.values()) {
    atoms += db.nAtoms;
    transactions += history?.length ?? 0;
    transactionAtoms += history?.nAtoms ?? 0;
    for (const { rows, schema } of db.tables.values()) cells += rows.size * schema.columns.length;
  }
  for (const session of server.sessions) {
    monitors += session.nMonitors;
    triggers += session.nPending;
  }
  const usage = {
    atoms,
    cells,
    monitors,
    sessions: server.sessions.size,
    triggers,
    'txn-history': transactions,
    'txn-history-atoms': transactionAtoms,
  };
  const shown = Object.entries(usage).filter(([, n]) => n > 0);
  return `${shown.map(([name, n]) => `${name}:${n}`).join(' ')}\n`;
}
