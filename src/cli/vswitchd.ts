import { availableParallelism } from 'node:os';
import { registerTimeCommands, WarpClock } from '../base/clock.ts';
import { coverage } from '../base/coverage.ts';
import { Daemon, FatalError } from '../base/daemon.ts';
import { UsageError } from '../base/getopt.ts';
import { programName, setProgramName, versionText } from '../base/program.ts';
import { UnixctlServer } from '../base/unixctl.ts';
import { vlog, vlogModule } from '../base/vlog.ts';
import { registerDpctlDevices } from '../dpif/dpctl-devices.ts';
import { enableDebugActions } from '../openflow/action-decode.ts';
import { createIdl, type IdlOptions } from '../ovsdb/idl.ts';
import { lockFile, lockHolder } from '../sys/file-lock.ts';
import { registerPmdCommands } from '../vswitchd/pmd-commands.ts';
import { registerQosCommands } from '../vswitchd/qos-commands.ts';
import { monitorColumns, VSWITCHD_LOCK, Vswitchd } from '../vswitchd/vswitchd.ts';
import { type DatapathParts, loadDatapathParts } from './datapath.ts';
import { registerDummyCommands } from './dummy-commands.ts';
import { discoverCores } from './numa.ts';
import { registerRouteCommands, registerTunnelCommands } from './route-commands.ts';
import { SwitchParts } from './switch-deps.ts';
import { parseVswitchdOptions, type VswitchdOptions, vswitchdUsage } from './vswitchd-options.ts';

/** `turnout vswitchd`, also known as ovs-vswitchd: the switch, configured by a database somewhere else. */

/** How long taking the switch down may last before the process ends all the same. */
const STOP_TIMEOUT_MS = 5000;

export async function main(argv: readonly string[]): Promise<number> {
  setProgramName('ovs-vswitchd');
  try {
    const daemon = new Daemon({ lockFile, lockHolder });
    const options = parseVswitchdOptions(argv, daemon);
    if (options.show) {
      process.stdout.write(options.show === 'help' ? vswitchdUsage() : versionText());
      return 0;
    }
    await daemon.detach();
    daemon.start();
    const running = await startVswitchd(options, () => daemon.complete());
    daemon.onTerminate(() => running.stop());
    await running.finished;
    return 0;
  } catch (e) {
    if (!(e instanceof UsageError || e instanceof FatalError)) throw e;
    process.stderr.write(`${programName()}: ${e.message}\n`);
    return 1;
  }
}

export interface RunningVswitchd {
  unixctl: UnixctlServer;
  vswitchd: Vswitchd;
  /** Takes everything down, within STOP_TIMEOUT_MS; `cleanup`: with the internal ports that the host sees. */
  stop(cleanup?: boolean): Promise<void>;
  /** Resolves after `stop`, or when `ovs-appctl exit` has ended it. */
  finished: Promise<void>;
}

/** Starts the switch in this process. `onReady` is called when the first configuration of the database is in force. */
export async function startVswitchd(
  options: VswitchdOptions,
  onReady: () => void,
  given: { idl?: Partial<IdlOptions>; datapath?: DatapathParts } = {},
): Promise<RunningVswitchd> {
  const clock = new WarpClock();
  const datapath = given.datapath ?? (await loadDatapathParts());
  const unixctl = new UnixctlServer(vlogModule('unixctl'));
  await unixctl.listen(options.unixctl).catch((e: Error) => {
    throw new FatalError(e.message);
  });
  if (options.dummy !== 'none') enableDebugActions();
  const cores = discoverCores(options.dummyNuma, availableParallelism());
  const parts: SwitchParts = new SwitchParts({
    dummy: options.dummy,
    disableSystem: options.disableSystem,
    disableSystemRoute: options.disableSystemRoute,
    clock,
    createDpif: (name, type, dummy) => datapath.createDpif(name, type, clock, { enabled: dummy, cores }),
    createBackend: datapath.createBackend,
    providers: datapath.createProviders(clock, () => parts.userspaceTso),
  });
  const idl = createIdl({
    remote: options.remote,
    monitor: monitorColumns(),
    lock: VSWITCHD_LOCK,
    tls: options.tls,
    log: (level, module, text) => vlog.module(module)[level](text),
    ...given.idl,
  });
  const vswitchd = new Vswitchd(idl, parts, clock, onReady);
  const finished = Promise.withResolvers<void>();
  let stopping: Promise<void> | undefined;
  const stop = (cleanup = false) => {
    stopping ??= shutDown(vswitchd, parts, unixctl, cleanup).finally(finished.resolve);
    return stopping;
  };
  registerAll(unixctl, parts, vswitchd, clock, stop);
  datapath.registerCommands(
    unixctl,
    () => parts.backends(),
    () => parts.ownDatapaths.values(),
  );
  vswitchd.start();
  return { unixctl, vswitchd, stop, finished: finished.promise };
}

function registerAll(
  unixctl: UnixctlServer,
  parts: SwitchParts,
  vswitchd: Vswitchd,
  clock: WarpClock,
  stop: (cleanup?: boolean) => Promise<void>,
): void {
  unixctl.register('exit', '[--cleanup]', 0, 1, ([option]) => {
    // The reply goes out first.
    setTimeout(() => void stop(option === '--cleanup'), 10);
    return '';
  });
  vlog.registerCommands(unixctl);
  coverage.registerCommands(unixctl);
  coverage.addSource(() => datapathDrops(parts));
  registerTimeCommands(unixctl, clock);
  registerPmdCommands(unixctl, () => parts.dpifs());
  registerQosCommands(unixctl, vswitchd.state);
  registerDummyCommands(unixctl, parts.dummies);
  registerRouteCommands(unixctl, parts.router);
  registerTunnelCommands(unixctl, parts.neighbours);
  registerDpctlDevices(unixctl, parts.ownDatapaths, {
    dpifs: () => parts.dpifs(),
    createDpif: (name, type) => parts.createDatapath(name, type),
    provider: (type) => parts.netdevProvider(type, 'dummy'),
    sockDir: parts.rundir,
  });
}

/** Named drops, over all datapaths. */
function datapathDrops(parts: SwitchParts): Map<string, number> {
  const all = new Map<string, number>();
  for (const dpif of parts.dpifs())
    for (const [name, n] of dpif.drops?.() ?? []) all.set(name, (all.get(name) ?? 0) + Number(n));
  return all;
}

async function shutDown(
  vswitchd: Vswitchd,
  parts: SwitchParts,
  unixctl: UnixctlServer,
  cleanup: boolean,
): Promise<void> {
  const timeout = new Promise<void>((resolve) => setTimeout(resolve, STOP_TIMEOUT_MS).unref());
  const work = async () => {
    await vswitchd.stop(cleanup);
    await parts.close();
  };
  await Promise.race([
    work().catch((e: unknown) => vlogModule('vswitchd').err(`shutting down: ${String(e)}`)),
    timeout,
  ]);
  unixctl.close();
}
