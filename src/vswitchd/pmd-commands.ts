import { UnixctlError, type UnixctlRegistry } from '../base/unixctl.ts';
import type { Dpif, DpThread } from '../dpif/dpif.ts';
import { registerPmdImplCommands } from './pmd-impl-commands.ts';
import { registerPerf } from './pmd-perf-commands.ts';

/** `dpif-netdev/pmd-…` of ovs-appctl, in the layout of Open vSwitch 3.1. Where it counts TSC cycles, nanoseconds are counted here. */

/** Usage is kept for this long. */
const MAX_SECS = 60;
const INTERVAL_SECS = 5;

interface PmdArguments {
  dpif: Dpif;
  core: number | undefined;
  secs: number;
}

/** Takes `[-pmd core] [-secs secs] [dp]`. */
function parseArguments(args: readonly string[], dpifs: readonly Dpif[]): PmdArguments {
  let dpif: Dpif | undefined;
  let core: number | undefined;
  let secs = MAX_SECS;
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '-pmd' && i + 1 < args.length) core = readUint(args[++i]!) ?? core;
    else if (args[i] === '-secs' && i + 1 < args.length) secs = readUint(args[++i]!) || MAX_SECS;
    else dpif = dpifs.find((d) => d.name === args[i]);
  }
  dpif ??= dpifs.length === 1 ? dpifs[0] : undefined;
  if (!dpif) throw new UnixctlError('please specify an existing datapath');
  return { dpif, core, secs: secs > MAX_SECS ? MAX_SECS : Math.ceil(secs / INTERVAL_SECS) * INTERVAL_SECS };
}

const readUint = (text: string): number | undefined => (/^\d+$/.test(text) ? Number(text) : undefined);

/** By core, the main thread last; a filter on a core leaves only that one. */
function selectThreads({ dpif, core }: PmdArguments): DpThread[] {
  const order = (t: DpThread) => (t.core < 0 ? Number.MAX_SAFE_INTEGER : t.core);
  const threads = dpif.threads().sort((a, b) => order(a) - order(b));
  return core === undefined ? threads : threads.filter((t) => t.core === core);
}

export function registerPmdCommands(unixctl: UnixctlRegistry, dpifs: () => Iterable<Dpif>): void {
  registerPmdImplCommands(unixctl, dpifs);
  registerPerf(unixctl, dpifs);
  const parse = (args: readonly string[]) => parseArguments(args, [...dpifs()]);
  unixctl.register('dpif-netdev/pmd-stats-show', '[-pmd core] [dp]', 0, 3, (args) =>
    selectThreads(parse(args)).map(showStats).join(''),
  );
  unixctl.register('dpif-netdev/pmd-stats-clear', '[-pmd core] [dp]', 0, 3, (args) => {
    parse(args).dpif.clearThreadStats();
    return '';
  });
  unixctl.register('dpif-netdev/pmd-rxq-show', '[-pmd core] [-secs secs] [dp]', 0, 5, (args) => {
    const parsed = parse(args);
    const threads = selectThreads(parsed);
    const head = threads.length === 0 ? '' : `Displaying last ${parsed.secs} seconds pmd usage %\n`;
    return head + threads.map(showRxqs).join('');
  });
  unixctl.register('dpif-netdev/pmd-rxq-rebalance', '[dp]', 0, 1, (args) => {
    parse(args).dpif.rebalance?.();
    return 'pmd rxq rebalance requested.\n';
  });
}

function threadName({ core, numa }: DpThread): string {
  return core < 0 ? 'main thread' : `pmd thread numa_id ${numa} core_id ${core}`;
}

function ratio(a: bigint | number, b: bigint, scale = 1): string {
  return (b === 0n ? 0 : (Number(a) / Number(b)) * scale).toFixed(2);
}

function showStats(thread: DpThread): string {
  const s = thread.stats;
  const packets = s.packetsReceived;
  const lines = [
    `${threadName(thread)}:`,
    `  packets received: ${packets}`,
    `  packet recirculations: ${s.recirculations}`,
    `  avg. datapath passes per packet: ${ratio(packets + s.recirculations, packets)}`,
    '  phwol hits: 0',
    '  mfex opt hits: 0',
    `  simple match hits: ${s.simpleHits}`,
    `  emc hits: ${s.emcHits}`,
    `  smc hits: ${s.smcHits}`,
    `  megaflow hits: ${s.megaflowHits}`,
    `  avg. subtable lookups per megaflow hit: ${ratio(s.megaflowLookups, s.megaflowHits)}`,
    `  miss with success upcall: ${s.missUpcalls}`,
    `  miss with failed upcall: ${s.lostUpcalls}`,
    `  avg. packets per output batch: ${ratio(packets, s.rxBatches)}`,
    ...showCycles(s.idleNs, s.busyNs, packets),
  ];
  return `${lines.join('\n')}\n`;
}

function showCycles(idle: bigint, busy: bigint, packets: bigint): string[] {
  const total = idle + busy;
  if (total === 0n) return [];
  const lines = [
    `  idle cycles: ${idle} (${ratio(idle, total, 100)}%)`,
    `  processing cycles: ${busy} (${ratio(busy, total, 100)}%)`,
  ];
  if (packets === 0n) return lines;
  return [
    ...lines,
    `  avg cycles per packet: ${ratio(total, packets)} (${total}/${packets})`,
    `  avg processing cycles per packet: ${ratio(busy, packets)} (${busy}/${packets})`,
  ];
}

function showRxqs(thread: DpThread): string {
  if (thread.core < 0) return '';
  const isolated = thread.isolated ?? false;
  const available = thread.stats.idleNs + thread.stats.busyNs > 0n;
  const percent = (n: number) => (available ? `${String(Math.trunc(n)).padStart(2)} %` : 'NOT AVAIL');
  const byPort = [...thread.rxqs].sort((a, b) => (a.port < b.port ? -1 : a.port > b.port ? 1 : a.queue - b.queue));
  const lines = byPort.map(
    (q) =>
      `  port: ${q.port.padEnd(16)}  queue-id: ${String(q.queue).padStart(2)} ${q.enabled ? '(enabled) ' : '(disabled)'}` +
      `  pmd usage: ${percent(q.usagePercent)}\n`,
  );
  const overhead = lines.length === 0 ? '' : `  overhead: ${percent(overheadPercent(thread))}\n`;
  return `${threadName(thread)}:\n  isolated : ${isolated}\n${lines.join('')}${overhead}`;
}

/** Busy time that is no rxq's. */
function overheadPercent({ rxqs, stats }: DpThread): number {
  const busy = Number((stats.busyNs * 10000n) / (stats.busyNs + stats.idleNs || 1n)) / 100;
  return Math.max(0, busy - rxqs.reduce((sum, q) => sum + q.usagePercent, 0));
}
