/**
 * Builds what runs as WebAssembly: every module of `MODULES` from AssemblyScript to `build/<name>.wasm`. Rebuilds a module only when
 * one of its sources, this file or the toolchain changed. `--force` rebuilds all.
 */

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
}

const MODULES: Module[] = [
  { name: 'datapath', entry: 'src/fastpath/datapath.ts', sources: ['src/fastpath'] },
  {
    name: 'vring',
    entry: 'src/fastpath/vring.ts',
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
  writeFileSync(join(root, `${out}.graph.json`), JSON.stringify(graph));
  execFileSync(bin('wasm-metadce'), [...FEATURES, '--graph-file', `${out}.graph.json`, wasm, '-o', `${out}.dce.wasm`], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

function compile(module: Module, out: string): void {
  const app = `${out}.app.wasm`;
  const temporary = [app];
  run('asc', [
    module.entry,
    ...ASC,
    ...MEMORY_PAGES,
    '--importTable',
    '-O3',
    '--noAssert',
    '--disableWarning',
    '-o',
    app,
  ]);
  let input = app;
  if (module.guest) {
    const guest = `${out}.guest.wasm`;
    const merged = `${out}.merged.wasm`;
    run('wasm-as', [...FEATURES, 'src/fastpath/guest.wat', '-o', guest]);
    run('wasm-merge', [...FEATURES, app, 'app', guest, 'g', '-o', merged]);
    keepExports(merged, out, module.guest);
    input = `${out}.dce.wasm`;
    temporary.push(guest, merged, input, `${out}.graph.json`);
  }
  run('wasm-opt', [...FEATURES, '-O3', '--inline-functions-with-loops', input, '-o', out]);
  for (const file of temporary) rmSync(join(root, file));
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
for (const module of MODULES) buildModule(module, process.argv.includes('--force'));
