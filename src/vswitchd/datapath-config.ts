import { statSync } from 'node:fs';
import { vlogModule } from '../base/vlog.ts';
import type { DpConfig } from '../dpif/dpif.ts';
import type { StringMap, WantedConfig } from './config.ts';

/** What Open_vSwitch.other_config says to the datapath. Pure but for the folder that `vhostSockDir` looks for. */

const log = vlogModule('dpif_netdev');
const dpdkLog = vlogModule('dpdk');

const DEFAULT_EMC_INSERT_INV_PROB = 100;

/** Cores of a hexadecimal mask, lowest first; none for a text that is not one. */
export function parseCpuMask(mask: string | undefined): number[] {
  const digits = /^(?:0x)?([0-9a-f]+)$/i.exec(mask?.trim() ?? '')?.[1];
  if (digits === undefined) return [];
  const bits = BigInt(`0x${digits}`);
  return Array.from({ length: digits.length * 4 }, (_, i) => i).filter((i) => (bits >> BigInt(i)) & 1n);
}

/** `QUEUE:CORE,QUEUE:CORE…` of pmd-rxq-affinity, or undefined when it is malformed. */
export function parseRxqAffinity(text: string): Map<number, number> | undefined {
  const affinity = new Map<number, number>();
  for (const pair of text.split(/[, ]+/).filter((p) => p !== '')) {
    const match = /^(\d+):(\d+)$/.exec(pair);
    if (!match) return undefined;
    affinity.set(Number(match[1]), Number(match[2]));
  }
  return affinity;
}

export function datapathConfig(wanted: WantedConfig): DpConfig {
  const { otherConfig } = wanted;
  const rxqAffinity = new Map<string, Map<number, number>>();
  const portConfig = new Map<string, StringMap>();
  for (const bridge of wanted.bridges.values()) {
    for (const iface of [...bridge.ports.values()].flatMap((port) => port.interfaces)) {
      if (iface.otherConfig.size > 0) portConfig.set(iface.name, iface.otherConfig);
      const text = iface.otherConfig.get('pmd-rxq-affinity');
      const affinity = text === undefined ? undefined : parseRxqAffinity(text);
      if (affinity) rxqAffinity.set(iface.name, affinity);
      else if (text !== undefined) log.err(`${iface.name}: could not parse affinity list '${text}'`);
    }
  }
  return {
    pmdCpus: parseCpuMask(otherConfig.get('pmd-cpu-mask')),
    emcInsertInvProb: readUint(otherConfig, 'emc-insert-inv-prob', DEFAULT_EMC_INSERT_INV_PROB),
    smcEnable: readBool(otherConfig, 'smc-enable'),
    rxqAffinity,
    otherConfig,
    portConfig,
  };
}

/** Folder of vhost-user sockets: OVS_RUNDIR or a folder below it, in Open vSwitch's words where that is refused. */
export function vhostSockDir(otherConfig: StringMap, rundir: string): string {
  const below = otherConfig.get('vhost-sock-dir');
  if (below === undefined || below === '') return rundir;
  if (below.includes('..')) {
    dpdkLog.err(
      `vhost-user sock directory request '${rundir}/${below}' has invalid characters '..' - using ${rundir} instead.`,
    );
    return rundir;
  }
  const dir = `${rundir}/${below}`;
  if (!statSync(dir, { throwIfNoEntry: false })) dpdkLog.err(`vhost-user sock directory '${dir}' does not exist.`);
  return dir;
}

export function readUint(config: StringMap, key: string, fallback: number): number {
  const text = config.get(key);
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : fallback;
}

export function readBool(config: StringMap, key: string): boolean {
  return config.get(key)?.toLowerCase() === 'true';
}
