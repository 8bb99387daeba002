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

/** What takes memory, each kind counted. */
function memoryShow(backends: Backends): string {
  const usage = new Map<string, number>([
    ['handlers', 0],
    ['ports', 0],
    ['revalidators', 0],
    ['rules', 0],
  ]);
  const add = (kind: string, n: number) => n > 0 && usage.set(kind, (usage.get(kind) ?? 0) + n);
  for (const backend of backends()) {
    add('handlers', 1);
    add('revalidators', 1);
    add('udpif keys', backend.udpif.nFlows);
    for (const bridge of backend.bridges()) {
      add('ports', [...bridge.bridgePorts()].length);
      for (const table of bridge.tables) add('rules', table.cls.size);
    }
  }
  const list = [...usage].filter(([, n]) => n > 0).sort(([a], [b]) => (a < b ? -1 : 1));
  return list.map(([kind, n]) => `${kind}:${n}`).join(' ');
}

export function registerUpcall(registry: CommandRegistry, backends: Backends): void {
  registry.register('upcall/show', '', 0, 0, () => [...backends()].map(upcallShow).join(''));
  registry.register('upcall/set-flow-limit', 'flow-limit-number', 1, 1, ([text]) => {
    const limit = Number.parseInt(text ?? '', 10) || 0;
    if (limit < 0) throw new UnixctlError(`${text}: not a number of flows`);
    for (const backend of backends()) backend.setFlowLimit(limit);
    return `set flow_limit to ${limit}\n`;
  });
  registry.register('memory/show', '', 0, 0, () => memoryShow(backends));
  registerSwitches(registry, backends);
  registerRevalidator(registry, backends);
  registry.register('ofproto/list', '', 0, 0, () =>
    allBridges(backends)
      .map((b) => `${b.name}\n`)
      .join(''),
  );
}
