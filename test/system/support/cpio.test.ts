import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { requirePeer } from '../../support/require.ts';
import { cpioArchive, S_IFDIR, S_IFREG } from './cpio.ts';

const FILES = [
  { name: 'bin', mode: S_IFDIR | 0o755 },
  { name: 'bin/hello', mode: S_IFREG | 0o644, content: 'hello' },
];

test('every entry and its content begin at a multiple of 4', () => {
  const archive = cpioArchive(FILES);
  assert.equal(archive.length % 4, 0);
  for (let at = archive.indexOf('070701'); at >= 0; at = archive.indexOf('070701', at + 1)) assert.equal(at % 4, 0);
  assert.equal(archive.toString('latin1').match(/070701/g)?.length, 3);
});

test('busybox reads the archive', (t) => {
  if (!requirePeer(t, 'busybox')) return;
  const list = execFileSync('busybox', ['cpio', '-tv'], { input: cpioArchive(FILES), encoding: 'utf8' });
  assert.match(list, /^drwxr-xr-x .* bin$/m);
  assert.match(list, /^-rw-r--r-- .* 5 .* bin\/hello$/m);
});
