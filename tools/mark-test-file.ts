/** Loaded into every test file's process before the file: what the file starts can be told by it. See orphans.ts. */
import { TEST_FILE_PID } from './orphans.ts';

process.env[TEST_FILE_PID] ??= String(process.pid);
