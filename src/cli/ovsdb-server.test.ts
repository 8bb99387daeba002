import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { unixctlCall } from '../base/unixctl-client.ts';
import { createDatabaseFile } from '../ovsdb/file.ts';
import { createIdl } from '../ovsdb/idl.ts';
import { schemaFromJson } from '../ovsdb/schema.ts';
import { VSWITCH_SCHEMA } from '../ovsdb/vswitch-schema.ts';

const PROGRAM = fileURLToPath(new URL('../../compat/sbin/ovsdb-server', import.meta.url));

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'turnout-ovsdb-server-'));
});

afterEach(() => rmSync(folder, { recursive: true }));

function environment(): NodeJS.ProcessEnv {
  return { ...process.env, OVS_RUNDIR: folder, OVS_DBDIR: folder, OVS_LOGDIR: folder };
}

function run(...args: string[]) {
  return spawnSync(PROGRAM, args, { cwd: folder, env: environment(), encoding: 'utf8', timeout: 60_000 });
}

test('version, help, and what cannot be started', () => {
  assert.match(run('--version').stdout, /^ovsdb-server \(Open vSwitch\) 3\.1\.0\n/);
  assert.match(run('--help').stdout, /^ovsdb-server: Open vSwitch database server\nusage: ovsdb-server \[OPTIONS\]/);
  const cases: [string[], RegExp][] = [
    [['--nonsense'], /ovsdb-server: unrecognized option '--nonsense'/],
    [['missing.db'], /ovsdb-server: I\/O error: missing\.db: open failed \(No such file or directory\)/],
    [['--remote=db:Open_vSwitch,Nope,x', 'conf.db'], /"db:Open_vSwitch,Nope,x": no table named Nope/],
    [['--run=exit 3', 'conf.db'], /exit 3: child exited, exit status 3/],
  ];
  createDatabaseFile(join(folder, 'conf.db'), schemaFromJson(VSWITCH_SCHEMA));
  for (const [args, message] of cases) {
    const { status, stderr } = run(...args);
    assert.equal(status, 1, args.join(' '));
    assert.match(stderr, message);
  }
  assert.equal(run('--run=test -S s', '--remote=punix:s').stderr, '');
});

test('a daemon: pidfile, control socket, clients, and a clean end', async (t) => {
  createDatabaseFile(join(folder, 'conf.db'), schemaFromJson(VSWITCH_SCHEMA));
  const started = run('--detach', '--pidfile', '--log-file', '--no-chdir', '--remote=punix:db.sock', '--unixctl=ctl');
  assert.equal(started.status, 0, started.stderr);
  const pid = Number(readFileSync(join(folder, 'ovsdb-server.pid'), 'utf8'));
  t.after(() => existsSync(`/proc/${pid}/cwd`) && process.kill(pid, 'SIGKILL'));
  const control = async (name: string, ...args: string[]) => {
    const { result, error } = await unixctlCall(join(folder, 'ctl'), name, args);
    return result ?? error ?? '';
  };
  assert.match(await control('list-commands'), /ovsdb-server\/add-remote\s+REMOTE/);
  assert.equal(await control('ovsdb-server/list-remotes'), 'punix:db.sock\n');
  assert.equal(await control('ovsdb-server/add-remote', `punix:${folder}/two.sock`), '');
  const idl = createIdl({ remote: `unix:${folder}/two.sock`, monitor: { Open_vSwitch: true } });
  idl.start();
  await idl.ready();
  const txn = idl.txn();
  txn.insert('Open_vSwitch', {});
  assert.equal((await txn.commit({ durable: true })).status, 'success');
  assert.match(await control('memory/show'), /atoms:\d+ cells:\d+ monitors:1 sessions:1\n/);
  assert.match(await control('ovsdb-server/remove-remote', 'nope'), /no such remote/);
  assert.equal(await control('ovsdb-server/sync-status'), 'state: active\n');
  idl.stop();
  await control('exit');
  while (existsSync(`/proc/${pid}/cwd`)) await new Promise((resolve) => setTimeout(resolve, 10));
  for (const left of ['db.sock', 'two.sock', 'ctl', 'ovsdb-server.pid'])
    assert.equal(existsSync(join(folder, left)), false, left);
  assert.doesNotMatch(readFileSync(join(folder, 'ovsdb-server.log'), 'utf8'), /\|(WARN|ERR|EMER)\|/);
});

test('a database in use is not opened by another server, and SIGTERM ends in order', async () => {
  createDatabaseFile(join(folder, 'conf.db'), schemaFromJson(VSWITCH_SCHEMA));
  const first = spawn(PROGRAM, ['--remote=punix:db.sock', 'conf.db'], {
    cwd: folder,
    env: environment(),
    stdio: 'ignore',
  });
  const ended = new Promise<number | null>((resolve) => first.on('exit', (code) => resolve(code)));
  while (!existsSync(join(folder, 'db.sock'))) await new Promise((resolve) => setTimeout(resolve, 10));
  const second = run('conf.db', '--run=true');
  assert.equal(second.status, 1);
  assert.match(second.stderr, /conf\.db: failed to lock lockfile \(Resource temporarily unavailable\)/);
  first.kill('SIGTERM');
  assert.equal(await ended, 128 + 15);
  assert.equal(existsSync(join(folder, 'db.sock')), false);
  writeFileSync(join(folder, 'conf.db'), 'no database\n');
  assert.match(run('conf.db', '--run=true').stderr, /conf\.db: unexpected file format/);
});
