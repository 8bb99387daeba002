/** `dpif-netdev/pmd-perf-…`: what each PMD does with its time. A "cycle" is a nanosecond: JavaScript has no other clock. */
import { UnixctlError, type UnixctlRegistry } from '../base/unixctl-registry.ts';
import { vlogModule } from '../base/vlog.ts';
import type { Dpif, DpPerf, DpThread } from '../dpif/dpif.ts';
import { findDpif } from './pmd-impl-commands.ts';

const perfLog = vlogModule('pmd_perf');
const HISTORY_LEN = 1000;

const row = (name: string, n: bigint, note = ''): string => `  ${name.padEnd(20)}${String(n).padStart(12)}${note}\n`;

/** A quotient of counters as a number; 0 without a divisor. */
const per = (n: bigint, of: bigint): number => (of === 0n ? 0 : Number(n) / Number(of));
const percent = (n: bigint, of: bigint): string => (per(n, of) * 100).toFixed(1).padStart(5);

/** Iterations and time: Open vSwitch's first six lines. */
function iterationsText(s: DpThread['stats'], perf: DpPerf): string {
  const used = s.busyNs + s.idleNs;
  const idle = perf.iterations - perf.busyIterations;
  const measured = BigInt(Math.round(perf.seconds * 1e9));
  return (
    row('Iterations:', perf.iterations, `  (${(per(used, perf.iterations) / 1000).toFixed(2)} us/it)`) +
    row('- Used TSC cycles:', used, `  (${percent(used, measured)} % of total cycles)`) +
    row('- idle iterations:', idle, `  (${percent(s.idleNs, used)} % of used cycles)`) +
    row('- busy iterations:', perf.busyIterations, `  (${percent(s.busyNs, used)} % of used cycles)`) +
    row('- sleep iterations:', perf.sleeps, `  (${percent(perf.sleeps, perf.iterations)} % of iterations)`) +
    row(
      'Sleep time (us):',
      perf.sleepNs / 1000n,
      `  (${(per(perf.sleepNs, perf.sleeps) / 1000).toFixed(0).padStart(3)} us/iteration avg.)`,
    )
  );
}

function packetsText(s: DpThread['stats'], seconds: number): string {
  if (s.packetsReceived === 0n) return row('Rx packets:', 0n);
  const passes = s.packetsReceived + s.recirculations;
  const share = (n: bigint, more = '') => `  (${percent(n, passes)} %${more})`;
  const lookups = `, ${per(s.megaflowLookups, s.megaflowHits).toFixed(2)} subtbl lookups/hit`;
  const rate = (Number(s.packetsReceived) / seconds / 1000).toFixed(0);
  return (
    row(
      'Rx packets:',
      s.packetsReceived,
      `  (${rate} Kpps, ${per(s.busyNs, s.packetsReceived).toFixed(0)} cycles/pkt)`,
    ) +
    row('Datapath passes:', passes, `  (${per(passes, s.packetsReceived).toFixed(2)} passes/pkt)`) +
    row('- PHWOL hits:', 0n, share(0n)) +
    row('- MFEX Opt hits:', 0n, share(0n)) +
    row('- Simple Match hits:', s.simpleHits, share(s.simpleHits)) +
    row('- EMC hits:', s.emcHits, share(s.emcHits)) +
    row('- SMC hits:', s.smcHits, share(s.smcHits)) +
    row('- Megaflow hits:', s.megaflowHits, share(s.megaflowHits, lookups)) +
    // The control thread translates, so that an upcall costs the PMD no more than a record in its queue: it is not timed.
    row('- Upcalls:', s.missUpcalls, share(s.missUpcalls, ', 0.0 us/upcall')) +
    row('- Lost upcalls:', s.lostUpcalls, share(s.lostUpcalls))
  );
}

function sentText({ txPackets, txBatches, seconds }: DpPerf): string {
  if (txPackets === 0n) return `${row('Tx packets:', 0n)}\n`;
  return (
    row('Tx packets:', txPackets, `  (${(Number(txPackets) / seconds / 1000).toFixed(0)} Kpps)`) +
    row('Tx batches:', txBatches, `  (${per(txPackets, txBatches).toFixed(2)} pkts/batch)`)
  );
}

function threadText(t: DpThread, perf: DpPerf): string {
  return (
    `\nTime: ${new Date().toISOString().slice(11, 23)}\nMeasurement duration: ${perf.seconds.toFixed(3)} s\n\n` +
    `pmd thread numa_id ${t.numa} core_id ${t.core}:\n\n` +
    iterationsText(t.stats, perf) +
    packetsText(t.stats, perf.seconds) +
    sentText(perf)
  );
}

interface ShowOptions {
  core?: number;
  dp?: string;
}

/** Options come before the datapath. `-nh`, `-it` and `-ms` are about histograms and the history, which come with pmd-perf-metrics alone. */
function parseShow(args: readonly string[]): ShowOptions {
  const words = [...args];
  const options: ShowOptions = {};
  while (words[0]?.startsWith('-')) {
    const option = words.shift()!;
    if (option === '-nh') continue;
    const value = words.shift();
    if (option === '-pmd' && /^\d+$/.test(value ?? '')) options.core = Number(value);
  }
  if (words[0] !== undefined) options.dp = words[0];
  return options;
}

const NOTHING = { iterations: 0n, busyIterations: 0n, sleeps: 0n, sleepNs: 0n, txPackets: 0n, txBatches: 0n };

export function registerPerf(unixctl: UnixctlRegistry, dpifs: () => Iterable<Dpif>): void {
  const usage = '[-nh] [-it iter-history-len] [-ms ms-history-len] [-pmd core] [dp]';
  unixctl.register('dpif-netdev/pmd-perf-show', usage, 0, 8, (args) => {
    const { core, dp } = parseShow(args);
    return findDpif([...dpifs()], dp)
      .threads()
      .filter((t) => t.core >= 0 && (core === undefined || t.core === core))
      .map((t) => threadText(t, t.perf ?? { seconds: Math.max(0.001, process.uptime()), ...NOTHING }))
      .join('');
  });
  registerPerfLog(unixctl);
}

interface PerfLog {
  on: boolean;
  extend: boolean;
  before: number;
  after: number;
  us: number;
  q: number;
}

/** Takes the words of the command; undefined when they are wrong. */
function parsePerfLog(words: readonly string[], now: PerfLog): PerfLog | undefined {
  const next = { ...now };
  const numbers = { '-a': 'after', '-b': 'before', '-q': 'q', '-us': 'us' } as const;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    const key = numbers[word as keyof typeof numbers];
    if (word === 'on' || word === 'off') next.on = word === 'on';
    else if (word === '-e' || word === '-ne') next.extend = word === '-e';
    else if (key && /^\d+$/.test(words[i + 1] ?? '')) next[key] = Number(words[++i]);
    else return undefined;
  }
  next.before = Math.min(next.before, HISTORY_LEN - 2);
  next.after = Math.min(next.after, HISTORY_LEN - 2 - next.before);
  return next;
}

/** Single iterations are not kept, so that there is nothing suspicious to log; the settings are taken all the same. */
export function registerPerfLog(unixctl: UnixctlRegistry): void {
  let state: PerfLog = { on: false, extend: false, before: 5, after: 5, us: 1000, q: 50 };
  const usage = 'on|off [-b before] [-a after] [-e|-ne] [-us usec] [-q qlen]';
  unixctl.register('dpif-netdev/pmd-perf-log-set', usage, 0, 10, (args) => {
    const next = parsePerfLog(args, state);
    if (!next)
      throw new UnixctlError(
        'Usage: ovs-appctl dpif-netdev/pmd-perf-log-set [on|off] [-b before] [-a after] [-e|-ne] [-us usec] [-q qlen]',
      );
    state = next;
    perfLog.info(
      `pmd-perf-log-set: ${state.on ? 'on' : 'off'}, before=${state.before}, after=${state.after}, extend=${state.extend}, ` +
        `us_thr=${state.us}, q_thr=${state.q}\n`,
    );
    return '';
  });
}
