/** Turnout's daemons, started as Open vSwitch's are. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BenchSwitch, type OtherConfig, type SwitchPrograms } from './bench-switch.ts';

const compat = join(dirname(fileURLToPath(import.meta.url)), '../../compat');

export const TURNOUT: SwitchPrograms = {
  name: 'turnout',
  vswitchd: join(compat, 'sbin/ovs-vswitchd'),
  ovsdbServer: join(compat, 'sbin/ovsdb-server'),
  vsctl: join(compat, 'bin/ovs-vsctl'),
};

export function startTurnout(otherConfig: OtherConfig, rulesetFile?: string, lockMemory = true): Promise<BenchSwitch> {
  return BenchSwitch.start(TURNOUT, otherConfig, rulesetFile, lockMemory);
}
