import { Command } from 'commander';
import { ovsRundir } from '../base/dirs.ts';
import { resolveTarget, unixctlCall } from '../base/unixctl-client.ts';
import { lockHolder } from '../sys/file-lock.ts';
import { runningPid, useRundir } from './rundir.ts';

/** `turnout down`: ends the switch that runs in a rundir, and waits until it has gone. */

const TIMEOUT_MS = 10_000;

export async function main(argv: readonly string[]): Promise<number> {
  const command = new Command('turnout down')
    .description('Stop the switch that runs in a folder.')
    .option('--rundir <dir>', "folder of its sockets (default: Open vSwitch's)");
  command.parse([...argv], { from: 'user' });
  useRundir(command.opts<{ rundir?: string }>().rundir);
  const pid = runningPid({ lockHolder });
  if (pid === 0) {
    process.stdout.write(`turnout: no switch runs in ${ovsRundir()}\n`);
    return 0;
  }
  await unixctlCall(resolveTarget('ovs-vswitchd'), 'exit', ['--cleanup']).catch(() => process.kill(pid, 'SIGTERM'));
  if (await hasGone()) {
    process.stdout.write(`turnout: stopped (pid ${pid})\n`);
    return 0;
  }
  process.stderr.write(`turnout: pid ${pid} has not ended within ${TIMEOUT_MS / 1000} s\n`);
  return 1;
}

async function hasGone(): Promise<boolean> {
  const end = Date.now() + TIMEOUT_MS;
  while (Date.now() < end) {
    if (runningPid({ lockHolder }) === 0) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}
