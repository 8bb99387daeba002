import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { type DaemonSys, readPidfile } from '../base/daemon.ts';
import { ovsRundir } from '../base/dirs.ts';

/** Makes `--rundir DIR` the folder of everything: sockets, pidfiles, logs and the database. */
export function useRundir(dir: string | undefined): void {
  if (dir === undefined) return;
  const absolute = resolve(dir);
  process.env.OVS_RUNDIR = absolute;
  process.env.OVS_LOGDIR = absolute;
  process.env.OVS_DBDIR = absolute;
}

/** The pid of the switch that runs in OVS_RUNDIR, or 0. */
export function runningPid(sys: Pick<DaemonSys, 'lockHolder'>): number {
  const pidfile = `${ovsRundir()}/ovs-vswitchd.pid`;
  return existsSync(pidfile) ? readPidfile(pidfile, sys) : 0;
}

/** How to say on a command line that the clients shall use this rundir: nothing where it is their default. */
export function rundirPrefix(): string {
  return process.env.OVS_RUNDIR === undefined ? '' : `OVS_RUNDIR=${ovsRundir()} `;
}
