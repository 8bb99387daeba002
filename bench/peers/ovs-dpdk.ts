/** The real Open vSwitch with DPDK, and the settings that are tried to give it its best. */
import { BenchSwitch, type OtherConfig, type SwitchPrograms } from './bench-switch.ts';

export const OVS_DPDK: SwitchPrograms = {
  name: 'ovs-dpdk',
  vswitchd: '/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk',
  ovsdbServer: '/usr/sbin/ovsdb-server',
  vsctl: '/usr/bin/ovs-vsctl',
};

/** Each is measured once a row; the fastest stands for Open vSwitch in that row. */
export const OVS_VARIANTS: Record<string, OtherConfig> = {
  /** As shipped: EMC with one insertion in 100. */
  emc: {},
  /** Every miss goes into the EMC. */
  'emc-always': { 'emc-insert-inv-prob': '1' },
  smc: { 'emc-insert-inv-prob': '0', 'smc-enable': 'true' },
  'emc+smc': { 'smc-enable': 'true' },
};

/** For the idle row: a PMD that may sleep. Not used under load, where it costs. */
export const OVS_IDLE: OtherConfig = { 'pmd-maxsleep': '500' };

export function startOvsDpdk(otherConfig: OtherConfig, rulesetFile?: string): Promise<BenchSwitch> {
  return BenchSwitch.start(OVS_DPDK, otherConfig, rulesetFile);
}
