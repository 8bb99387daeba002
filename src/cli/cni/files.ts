import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Step } from '../attach/steps.ts';
import type { AttachmentId } from './attachment.ts';
import type { CniConfig } from './config.ts';
import { type CniResult, formatResult } from './result.ts';
import { SHORT_ID } from './socket.ts';

/** Files by which others learn of an attachment. */

/** Writes a whole file or none. */
export function fileStep(file: string, content: unknown): Step {
  let isOurs = false;
  return {
    what: `write ${file}`,
    apply: async () => {
      mkdirSync(dirname(file), { recursive: true });
      isOurs = true;
      try {
        writeFileSync(file, `${JSON.stringify(content, undefined, 2)}\n`, { flag: 'wx', mode: 0o644 });
      } catch (error) {
        isOurs = (error as NodeJS.ErrnoException).code !== 'EEXIST';
        if (!isOurs) return; // It is for whoever came first (device-info specification, 5.1.2).
        rmSync(file, { force: true });
        throw error;
      }
    },
    undo: async () => {
      if (isOurs) rmSync(file, { force: true });
    },
  };
}

/** Device Information Specification 1.1.0, 3.1.5. `podRole` is what it calls the mode. */
export function deviceInfo(podRole: 'server' | 'client', path: string) {
  return { type: 'vhost-user', version: '1.1.0', 'vhost-user': { mode: podRole, path } };
}

/** Where userspace-cni leaves its word to the application. */
export function configurationFile(folder: string, { containerId, ifname }: AttachmentId): string {
  return join(folder, `configData-${containerId.slice(0, SHORT_ID)}-${ifname}.json`);
}

/** userspace-cni's ConfigurationData, also the annotation `userspace/configuration-data`. */
export function configurationData(config: CniConfig, id: AttachmentId, socketFile: string, result: CniResult) {
  const container = config.userspace?.container ?? {};
  const vhost = { ...(container.vhost as object | undefined), mode: config.vhost.podRole, socketfile: socketFile };
  return {
    containerId: id.containerId,
    ifName: id.ifname,
    name: config.name,
    config: { engine: 'ovs-dpdk', iftype: 'vhostuser', netType: 'interface', ...container, vhost },
    ipResult: formatResult(result, config.cniVersion),
  };
}
