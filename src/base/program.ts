import { basename } from 'node:path';

/** Open vSwitch's release whose behaviour Turnout follows; scripts parse it out of `--version` and the database. */
export const OVS_VERSION = '3.1.0';
export const TURNOUT_VERSION = '0.1.0';

let name = basename(process.argv[1] ?? 'turnout', '.ts');

/** The name in log lines, control sockets and messages: `ovs-vswitchd`, `ovsdb-server`, … */
export const programName = (): string => name;

/** Set by the composition root before anything else. The process takes the name too: ovs-ctl compares /proc/PID/comm with it. */
export function setProgramName(program: string): void {
  name = program;
  process.title = program;
}

/** The line that scripts parse. */
export const programVersion = (): string => `${name} (Open vSwitch) ${OVS_VERSION}`;

/** What `--version` prints. */
export const versionText = (): string => `${programVersion()}\nTurnout ${TURNOUT_VERSION}\n`;
