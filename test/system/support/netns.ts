/** A network namespace for the time of a test. */
import { randomBytes } from 'node:crypto';
import type { TestContext } from 'node:test';
import { check, command } from '../../../bench/peers/process.ts';
import { defer } from './cleanup.ts';

export interface Netns {
  name: string;
  /** What stands before a command to run it inside. */
  prefix: string[];
}

export async function makeNetns(t: TestContext, label: string): Promise<Netns> {
  const name = `turnout-${label}-${randomBytes(3).toString('hex')}`;
  await check(['ip', 'netns', 'add', name]);
  defer(t, () => command(['ip', 'netns', 'delete', name]));
  await check(['ip', '-n', name, 'link', 'set', 'lo', 'up']);
  return { name, prefix: ['ip', 'netns', 'exec', name] };
}
