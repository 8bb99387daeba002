import { resolve } from 'node:path';

/** Where things are, as Open vSwitch's environment variables say, with Debian's defaults. Read at each call. */
const dir = (name: string, fallback: string) => (): string => process.env[name] || fallback;

export const ovsRundir = dir('OVS_RUNDIR', '/var/run/openvswitch');
export const ovsLogdir = dir('OVS_LOGDIR', '/var/log/openvswitch');
export const ovsSysconfdir = dir('OVS_SYSCONFDIR', '/etc');
export const ovsPkgdatadir = dir('OVS_PKGDATADIR', '/usr/share/openvswitch');

/** OVS_DBDIR, else `openvswitch` in OVS_SYSCONFDIR. */
export function ovsDbdir(): string {
  return process.env.OVS_DBDIR || `${ovsSysconfdir()}/openvswitch`;
}

/** Makes `file` absolute, a relative one from `base`. */
export function absFileName(base: string, file: string): string {
  return resolve(base, file);
}
