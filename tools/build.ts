/**
 * Builds what runs as WebAssembly: every module of `MODULES` from AssemblyScript to `build/<name>.wasm`. Rebuilds a module only when
 * one of its sources, this file or the toolchain changed. `--force` rebuilds all;
 * `stages`, which only a benchmark needs, is built when it is named.
 */

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bin = (tool: string) => join(root, 'node_modules/.bin', tool);

/** One wasm module: its entry, the folder whose files it depends on, and how it is linked. */
interface Module {
  name: string;
  entry: string;
  sources: string[];
  /** Join with the accessors of a second memory (`src/fastpath/guest.wat`), imported as `guest.memory`; these exports stay. */
  guest?: readonly string[];
  /** Built only when it is named on the command line. */
  onlyByName?: true;
}

const MODULES: Module[] = [
  { name: 'datapath', entry: 'src/fastpath/datapath.ts', sources: ['src/fastpath'] },
  {
    name: 'vring',
    entry: 'src/fastpath/vring.ts',
    sources: ['src/fastpath'],
    guest: ['rx', 'tx', 'pull', 'release', 'pending', 'setNotify', 'startRing'],
  },
  { name: 'stages', entry: 'src/fastpath/stages.ts', sources: ['src/fastpath'], onlyByName: true },
  {
    name: 'tpacket',
    entry: 'src/fastpath/tpacket.ts',
    sources: ['src/fastpath'],
    guest: ['rx', 'tx', 'pending', 'setNotify', 'startRing'],
  },
  {
    name: 'xsk',
    entry: 'src/fastpath/xsk.ts',
    sources: ['src/fastpath'],
    guest: ['rx', 'tx', 'pending', 'setNotify', 'startRing'],
  },
  { name: 'virtio-user', entry: 'src/virtio-user/kernel/main.ts', sources: ['src/virtio-user/kernel'] },
];

/** Every feature by name: with all of them on, binaryen emits what Node refuses. */
const FEATURES = [
  'threads',
  'simd',
  'bulk-memory',
  'multimemory',
  'sign-ext',
  'nontrapping-float-to-int',
  'mutable-globals',
].map((f) => `--enable-${f}`);

const ASC = [
  '--runtime',
  'stub',
  '--use',
  'abort=',
  '--importMemory',
  '--sharedMemory',
  '--enable',
  'simd,threads,bulk-memory',
];
const MEMORY_PAGES = ['--initialMemory', '1', '--maximumMemory', '65536'];

function sourcesHash(module: Module): string {
  const hash = createHash('sha256');
  const add = (file: string) => hash.update(file).update(readFileSync(join(root, file)));
  add('tools/build.ts');
  add('package-lock.json');
  for (const dir of module.sources) {
    const files = readdirSync(join(root, dir), { recursive: true, encoding: 'utf8' }).sort();
    for (const f of files) if (/\.(ts|wat)$/.test(f)) add(join(dir, f));
  }
  return hash.digest('hex');
}

function run(tool: string, args: string[]): void {
  execFileSync(bin(tool), args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
}

/** Drops every export but `keep`, so that the inlined accessors go. */
function keepExports(wasm: string, out: string, keep: readonly string[]): void {
  const graph = keep.map((name) => ({ name: `export_${name}`, root: true, export: name }));
  writeFileSync(`${out}.json`, JSON.stringify(graph));
  execFileSync(bin('wasm-metadce'), [...FEATURES, '--graph-file', `${out}.json`, wasm, '-o', out], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

const ASC_OUTPUT = ['--importTable', '-O3', '--noAssert', '--disableWarning', '-o'];

/** Compiles in a folder of its own and moves the result into place, so that two builds at once do no harm. */
function compile(module: Module, out: string): void {
  const work = mkdtempSync(join(root, 'build/work-'));
  const file = (name: string) => join(work, `${name}.wasm`);
  try {
    run('asc', [module.entry, ...ASC, ...MEMORY_PAGES, ...ASC_OUTPUT, file('app')]);
    let input = file('app');
    if (module.guest) {
      run('wasm-as', [...FEATURES, 'src/fastpath/guest.wat', '-o', file('guest')]);
      run('wasm-merge', [...FEATURES, file('app'), 'app', file('guest'), 'g', '-o', file('merged')]);
      keepExports(file('merged'), file('kept'), module.guest);
      input = file('kept');
    }
    run('wasm-opt', [...FEATURES, '-O3', '--inline-functions-with-loops', input, '-o', file('out')]);
    renameSync(file('out'), join(root, out));
  } finally {
    rmSync(work, { recursive: true });
  }
}

function buildModule(module: Module, force: boolean): void {
  if (!existsSync(join(root, module.entry))) return;
  const out = `build/${module.name}.wasm`;
  const stamp = join(root, `build/${module.name}.hash`);
  const hash = sourcesHash(module);
  const current = existsSync(stamp) && existsSync(join(root, out)) && readFileSync(stamp, 'utf8') === hash;
  if (current && !force) return;
  process.stderr.write(`turnout: building ${out}\n`);
  compile(module, out);
  writeFileSync(stamp, hash);
}

mkdirSync(join(root, 'build'), { recursive: true });
const isWanted = (m: Module) => !m.onlyByName || process.argv.includes(m.name);
for (const module of MODULES) if (isWanted(module)) buildModule(module, process.argv.includes('--force'));
