import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { applySteps } from '../attach/steps.ts';
import type { CniConfig } from './config.ts';
import { folderSteps } from './socket.ts';

const dir = mkdtempSync(join(tmpdir(), 'turnout-cni-'));
after(() => rmSync(dir, { recursive: true }));

const planOf = (folder: string) => ({
  folder,
  socket: join(folder, 's'),
  address: join(folder, 's'),
  shortLink: undefined,
});
const config = { vhost: { mode: 0o640 } } as unknown as CniConfig;
const modeOf = (path: string) => statSync(path).mode & 0o777;

test("a pod's folder has the mode that is asked for, and may be searched", async () => {
  const folder = join(dir, 'a/b');
  await applySteps(folderSteps(planOf(folder), config, process.getgid!()));
  assert.equal(modeOf(folder), 0o750);
});

test("a link in the place of a pod's folder is not followed: what it names stays as it is", async () => {
  const target = join(dir, 'etc');
  mkdirSync(target, { mode: 0o700 });
  const folder = join(dir, 'link');
  symlinkSync(target, folder);
  await assert.rejects(applySteps(folderSteps(planOf(folder), config, process.getgid!())), /ELOOP|ENOTDIR/);
  assert.equal(modeOf(target), 0o700);
});
