import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * `node tools/bundle.ts [--force]` builds one file for each client, of all modules that it may load: half of a client's time to start goes into
 * finding and linking modules. It is `build/<name>.cjs`, which bin/turnout prefers. It carries the size and time of its sources, and when one
 * has changed since it runs the sources instead, so it is never older than what it stands for.
 */

const root = join(fileURLToPath(import.meta.url), '../..');

export const CLIENTS: Readonly<Record<string, string>> = {
  vsctl: 'src/cli/vsctl/main.ts',
  appctl: 'src/cli/appctl.ts',
  ofctl: 'src/cli/ofctl/main.ts',
  dpctl: 'src/cli/dpctl/main.ts',
  'ovsdb-client': 'src/cli/ovsdb-client/main.ts',
};

/** A source's place in the repository, its size and the time of its last change. */
type Stamp = readonly [file: string, size: number, mtimeMs: number];

const stampOf = (file: string): Stamp => {
  const { size, mtimeMs } = statSync(join(root, file));
  return [file, size, mtimeMs];
};

/** Whether the bundle is there and its sources, and this file, are as they were. */
export function isCurrent(name: string): boolean {
  try {
    const text = readFileSync(join(root, `build/${name}.cjs`), 'utf8');
    const stamps = JSON.parse(/^const \$stamps = (.*);$/m.exec(text)![1]) as Stamp[];
    return stamps.every((stamp) => String(stampOf(stamp[0])) === String(stamp));
  } catch {
    return false;
  }
}

/** Modules by their place in the repository, each as the body of a function of `exports` and `require`; the entry first. */
async function modulesOf(entry: string): Promise<Map<string, string>> {
  // Only a build needs the compiler.
  const { default: ts } = await import('typescript');
  const options = {
    module: ts.ModuleKind.CommonJS,
    target: ts.ScriptTarget.ESNext,
    esModuleInterop: true,
    isolatedModules: true,
    removeComments: true,
  };
  const modules = new Map<string, string>();
  const waiting = [entry];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (modules.has(file)) continue;
    const folder = posix.dirname(file);
    const { outputText } = ts.transpileModule(readFileSync(join(root, file), 'utf8'), { compilerOptions: options });
    const place = JSON.stringify(file);
    const body = outputText
      .replace(/\brequire\((["'])(\.[^"']+)\1\)/g, (_, __, path: string) => {
        const target = posix.join(folder, path);
        waiting.push(target);
        return `$load(${JSON.stringify(target)})`;
      })
      .replace(/^(const \w+) = require\((["']node:[^"']+["'])\);$/gm, '$1 = $$builtin($2);')
      .replaceAll('import.meta.url', `$urlOf(${place})`);
    modules.set(file, body);
  }
  return modules;
}

/** Writes the bundle of a client. Into place by one step, so that who starts it meanwhile gets the old one or the new one. */
export async function bundle(name: string): Promise<void> {
  const entry = CLIENTS[name];
  const modules = await modulesOf(entry);
  const stamps = JSON.stringify([...modules.keys(), 'tools/bundle.ts'].map(stampOf));
  const functions = [...modules].map(([file, body]) => `${JSON.stringify(file)}(exports) {\n${body}\n}`);
  // What modules can see besides their own names begins with a dollar.
  const text = `'use strict';
const $stamps = ${stamps};
const $root = require('node:path').join(__dirname, '..');
const $urlOf = (file) => require('node:url').pathToFileURL(\`\${$root}/\${file}\`).href;
// A module of Node's is loaded when something of it is used: crypto alone takes as long as all of a client's own.
const $builtin = (name) => new Proxy({}, { get: (_, key) => require(name)[key] });
const $loaded = new Map();
function $load(file) {
  let exports = $loaded.get(file);
  if (exports) return exports;
  exports = {};
  $loaded.set(file, exports);
  $modules[file](exports);
  return exports;
}
function $isCurrent([file, size, mtimeMs]) {
  const stat = require('node:fs').statSync(\`\${$root}/\${file}\`, { throwIfNoEntry: false });
  return stat?.size === size && stat.mtimeMs === mtimeMs;
}
const $modules = {
${functions.join(',\n')}
};
if ($stamps.every($isCurrent)) $load(${JSON.stringify(entry)}).main(process.argv.slice(2)).then((code) => process.exit(code));
else {
  // As bin/turnout would have started it, for a daemon starts itself anew by these words.
  process.argv.splice(1, 1, require('node:path').join($root, 'bin/turnout.ts'), ${JSON.stringify(name)});
  import($urlOf('bin/turnout.ts'));
}
`;
  const out = join(root, `build/${name}.cjs`);
  writeFileSync(`${out}.${process.pid}`, text);
  renameSync(`${out}.${process.pid}`, out);
}

if (import.meta.main)
  for (const name of Object.keys(CLIENTS)) if (process.argv.includes('--force') || !isCurrent(name)) await bundle(name);
