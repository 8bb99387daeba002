import { check, libc } from './libc.ts';

/** Which CPUs a thread runs on. Pid 0 is the calling thread: other threads are left alone (measured). */

const cSet = libc<(pid: number, size: number, mask: Uint8Array) => number>(
  'int sched_setaffinity(int pid, size_t size, const void* mask)',
);
const cGet = libc<(pid: number, size: number, mask: Uint8Array) => number>(
  'int sched_getaffinity(int pid, size_t size, void* mask)',
);
const cGettid = libc<() => number>('int gettid()');

/** sizeof(cpu_set_t): CPUs 0 to 1023. */
const MASK_SIZE = 128;

/** Pins the thread `tid` (default: the calling one) to `cpus`. EINVAL when none of them is online. */
export function setAffinity(cpus: readonly number[], tid = 0): void {
  const mask = new Uint8Array(MASK_SIZE);
  for (const cpu of cpus) mask[cpu >> 3]! |= 1 << (cpu & 7);
  check(cSet(tid, MASK_SIZE, mask), 'sched_setaffinity', cpus.join(','));
}

/** The CPUs that the thread may run on, ascending. */
export function getAffinity(tid = 0): number[] {
  const mask = new Uint8Array(MASK_SIZE);
  check(cGet(tid, MASK_SIZE, mask), 'sched_getaffinity');
  const cpus: number[] = [];
  for (let cpu = 0; cpu < MASK_SIZE * 8; cpu++) if (mask[cpu >> 3]! & (1 << (cpu & 7))) cpus.push(cpu);
  return cpus;
}

/** The calling thread's id; of the main thread, the process's. */
export function gettid(): number {
  return cGettid();
}
