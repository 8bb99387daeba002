import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

// Halves the time to start: types are stripped and code is compiled once. Without a writable build/ it just isn't kept.
enableCompileCache(fileURLToPath(new URL('../build/node-cache', import.meta.url)));

const { main } = await import('../src/cli/main.ts');
process.exit(await main(process.argv.slice(2)));
