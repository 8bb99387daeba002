import { readFileSync, statfsSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';

/** Open_vSwitch.statistics, with other_config:enable-statistics: the host as it is now, in Open vSwitch's keys and units. */

/** Files of the host; a missing one is empty. */
export interface HostFiles {
  meminfo: string;
  mtab: string;
  /** Bytes of a file system, undefined when it can't be asked. */
  sizes(mountPoint: string): { total: number; used: number } | undefined;
}

/** Kilobytes: total, used, cache, swap total, swap used. */
export function memoryStatistics(meminfo: string): string | undefined {
  const kB = (key: string): number => Number(new RegExp(`^${key}: *(\\d+) kB$`, 'm').exec(meminfo)?.[1] ?? 0);
  const total = kB('MemTotal');
  if (!total) return undefined;
  const swap = kB('SwapTotal');
  const cache = kB('Buffers') + kB('Cached');
  return [total, total - kB('MemFree'), cache, swap, swap - kB('SwapFree')].join(',');
}

const UNESCAPED: Readonly<Record<string, string>> = { '\\040': ' ', '\\011': '\t', '\\134': '\\' };

/** `MOUNT,total,used` in kilobytes for each file system on a device that may be written. */
export function fileSystemStatistics(files: HostFiles): string | undefined {
  const mounts = files.mtab
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([device, point, , options]) => device?.startsWith('/dev') && point && options?.split(',').includes('rw'))
    .map(([, point]) => point!.replace(/\\\d{3}/g, (code) => UNESCAPED[code] ?? code));
  const texts = [...new Set(mounts)].flatMap((point) => {
    const size = files.sizes(point);
    return size
      ? `${point.replaceAll(/[ ,]/g, '_')},${Math.floor(size.total / 1024)},${Math.floor(size.used / 1024)}`
      : [];
  });
  return texts.length ? texts.join(' ') : undefined;
}

function readFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

const HOST: HostFiles = {
  get meminfo() {
    return readFile('/proc/meminfo');
  },
  get mtab() {
    return readFile('/etc/mtab');
  },
  sizes(mountPoint) {
    try {
      const { bsize, blocks, bfree } = statfsSync(mountPoint);
      return { total: bsize * blocks, used: bsize * (blocks - bfree) };
    } catch {
      return undefined;
    }
  },
};

export function systemStatistics(files: HostFiles = HOST): Map<string, string> {
  const all: [string, string | undefined][] = [
    ['cpu', `${availableParallelism()}`],
    [
      'load_average',
      loadavg()
        .map((load) => load.toFixed(2))
        .join(','),
    ],
    ['memory', memoryStatistics(files.meminfo)],
    ['file_systems', fileSystemStatistics(files)],
  ];
  return new Map(all.filter((pair): pair is [string, string] => pair[1] !== undefined));
}
