/** Turnout's daemons, started as Open vSwitch's are. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BenchSwitch, type OtherConfig, type SwitchPrograms } from './bench-switch.ts';

const sbin = join(dirname(fileURLToPath(import.meta.url)), '../../compat/sbin');

export const TURNOUT: SwitchPrograms = {
  name: 'turnout',
  vswitchd: join(sbin, 'ovs-vswitchd'),
  ovsdbServer: join(sbin, 'ovsdb-server'),
};

export function startTurnout(otherConfig: OtherConfig, rulesetFile?: string): Promise<BenchSwitch> {
  return BenchSwitch.start(TURNOUT, otherConfig, rulesetFile);
}
