import { UnixctlError } from '../base/unixctl.ts';
import { allBridges, type Backends } from './appctl-bridges.ts';
import type { CommandRegistry } from './config.ts';
import type { OfprotoBackend } from './ofproto-backend.ts';

/** `upcall/…` and `revalidator/…` of ovs-appctl. */

function upcallShow({ udpif, dpif }: OfprotoBackend): string {
  const { nFlows, avgFlows, maxFlows, flowLimit, dumpDurationMs, ufid } = udpif;
  return (
    `${dpif.type}@${dpif.name}:\n` +
    `  flows         : (current ${nFlows}) (avg ${avgFlows}) (max ${maxFlows}) (limit ${flowLimit})\n` +
    `  dump duration : ${dumpDurationMs}ms\n` +
    `  ufid enabled : ${ufid}\n` +
    `\n  1: (keys ${nFlows})\n`
  );
}

function registerSwitches(registry: CommandRegistry, backends: Backends): void {
  for (const enable of [true, false]) {
    const word = enable ? 'enable' : 'disable';
    registry.register(`upcall/${word}-megaflows`, '', 0, 0, () => {
      for (const { udpif } of backends()) udpif.setMegaflows(enable);
      return `megaflows ${word}d\n`;
    });
    registry.register(`upcall/${word}-ufid`, '', 0, 0, () => {
      for (const { udpif } of backends()) udpif.ufid = enable;
      return `Datapath dumping tersely using UFID ${word}d${enable ? ' for supported datapaths' : ''}\n`;
    });
  }
}

function registerRevalidator(registry: CommandRegistry, backends: Backends): void {
  const commands: readonly [string, (backend: OfprotoBackend) => void][] = [
    ['wait', ({ udpif }) => udpif.revalidateAll()],
    ['purge', ({ udpif }) => udpif.purge()],
    ['pause', ({ udpif }) => udpif.setPaused(true)],
    ['resume', ({ udpif }) => udpif.setPaused(false)],
  ];
  for (const [name, run] of commands)
    registry.register(`revalidator/${name}`, '', 0, 0, () => {
      for (const backend of backends()) run(backend);
      return '';
    });
}

export function registerUpcall(registry: CommandRegistry, backends: Backends): void {
  registry.register('upcall/show', '', 0, 0, () => [...backends()].map(upcallShow).join(''));
  registry.register('upcall/set-flow-limit', 'flow-limit-number', 1, 1, ([text]) => {
    const limit = Number.parseInt(text ?? '', 10) || 0;
    if (limit < 0) throw new UnixctlError(`${text}: not a number of flows`);
    for (const backend of backends()) backend.setFlowLimit(limit);
    return `set flow_limit to ${limit}\n`;
  });
  registerSwitches(registry, backends);
  registerRevalidator(registry, backends);
  registry.register('ofproto/list', '', 0, 0, () =>
    allBridges(backends)
      .map((b) => `${b.name}\n`)
      .join(''),
  );
}
