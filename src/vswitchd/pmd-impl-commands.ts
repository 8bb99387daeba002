import { UnixctlError, type UnixctlRegistry } from '../base/unixctl-registry.ts';
import { vlogModule } from '../base/vlog.ts';
import type { Dpif, DpThread } from '../dpif/dpif.ts';

/** `dpif-netdev/…` about how packets are looked up: names and priorities of implementations, of which there is one of each kind here; bonds; performance. */

const log = vlogModule('dpif_netdev');
const perfLog = vlogModule('pmd_perf');
const HISTORY_LEN = 1000;

const pmdsOf = (dpifs: readonly Dpif[]): number[] =>
  dpifs.flatMap((d) => d.threads().map((t) => t.core)).filter((core) => core >= 0);

const listOf = (cores: readonly number[]): string => cores.join() || 'none';

function fail(text: string): never {
  log.err(text);
  throw new UnixctlError(text);
}

function registerDpifImpl(unixctl: UnixctlRegistry, dpifs: () => Dpif[]): void {
  unixctl.register(
    'dpif-netdev/dpif-impl-get',
    '',
    0,
    0,
    () => `Available DPIF implementations:\n  dpif_scalar (pmds: ${listOf(pmdsOf(dpifs()))})\n`,
  );
  unixctl.register('dpif-netdev/dpif-impl-set', 'dpif_implementation_name', 1, 1, ([name]) => {
    if (name !== 'dpif_scalar') fail(`DPIF implementation not available: Unknown DPIF implementation ${name}.\n`);
    const text = `DPIF implementation set to ${name}.\n`;
    log.info(text);
    return text;
  });
}

function registerMiniflow(unixctl: UnixctlRegistry, dpifs: () => Dpif[]): void {
  unixctl.register(
    'dpif-netdev/miniflow-parser-get',
    '',
    0,
    0,
    () => `Available MFEX implementations:\n  scalar (available: True pmds: ${listOf(pmdsOf(dpifs()))})\n`,
  );
  const usage = '[-pmd core] miniflow_implementation_name [study_pkt_cnt]';
  unixctl.register('dpif-netdev/miniflow-parser-set', usage, 1, 5, (args) => {
    const words = [...args];
    let core: number | undefined;
    if (words[0] === '-pmd') {
      if (words.length < 2) fail('Error: -pmd option requires a thread id argument.\n');
      if (!/^\d+$/.test(words[1]!))
        fail(
          `Error: miniflow extract parser not changed, PMD thread passed is not valid: '${words[1]}'. Pass a valid pmd thread ID.\n`,
        );
      core = Number(words[1]);
      words.splice(0, 2);
    }
    const [name, extra] = words;
    if (name === undefined)
      fail('Error: no miniflow extract name provided. Output of miniflow-parser-get shows implementation list.\n');
    if (extra !== undefined) fail(`Error: unknown argument ${extra}.\n`);
    if (name !== 'scalar') fail(`Error: unknown miniflow extract implementation ${name}.`);
    if (core !== undefined && !pmdsOf(dpifs()).includes(core))
      fail(`Error: miniflow extract parser not changed, PMD thread ${core} not in use, pass a valid pmd thread ID.\n`);
    const text = `Miniflow extract implementation set to ${name}${core === undefined ? '' : `, on pmd thread ${core}`}.\n`;
    log.info(text);
    return text;
  });
}

/** The classifier has one way to look up; priorities are kept, and the one with the highest is the one in use. */
function registerLookup(unixctl: UnixctlRegistry, dpifs: () => Dpif[]): void {
  const priorities = new Map([
    ['autovalidator', 0],
    ['generic', 1],
  ]);
  unixctl.register('dpif-netdev/subtable-lookup-info-get', '', 0, 0, () => {
    const masks = dpifs().reduce((sum, d) => sum + d.stats().masks, 0);
    const lines = [...priorities].map(
      ([name, priority]) => `  ${name} (Use count: ${name === 'generic' ? masks : 0}, Priority: ${priority})\n`,
    );
    return `Available dpcls implementations:\n${lines.join('')}`;
  });
  unixctl.register('dpif-netdev/subtable-lookup-prio-set', '[lookup_func] [prio]', 2, 2, ([name, text]) => {
    const priority = /^\d+$/.test(text!) ? Number(text) : Number.NaN;
    if (!(priority <= 255)) throw new UnixctlError('error converting priority, use integer in range 0-255\n');
    if (!priorities.has(name!)) throw new UnixctlError('error, subtable lookup function not found\n');
    priorities.set(name!, priority);
    const reply = 'Lookup priority change affected 0 dpcls ports and 0 subtables.\n';
    log.info(reply);
    return reply;
  });
}

function findDpif(dpifs: readonly Dpif[], name: string | undefined): Dpif {
  const dpif = name === undefined ? (dpifs.length === 1 ? dpifs[0] : undefined) : dpifs.find((d) => d.name === name);
  if (!dpif) throw new UnixctlError('please specify an existing datapath');
  return dpif;
}

function registerBonds(unixctl: UnixctlRegistry, dpifs: () => Dpif[]): void {
  unixctl.register('dpif-netdev/bond-show', '[dp]', 0, 1, ([name]) => {
    const bonds = [...(findDpif(dpifs(), name).bonds?.() ?? [])];
    if (bonds.length === 0) return '';
    const one = ([id, members]: (typeof bonds)[number]) =>
      `  bond-id ${id}:\n${members.map((m, i) => `    bucket ${i} - member ${m ?? 0xffffffff}\n`).join('')}`;
    return `Bonds:\n${bonds.map(one).join('')}`;
  });
}

const row = (name: string, n: bigint, note = ''): string => `  ${name.padEnd(19)} ${String(n).padStart(12)}${note}\n`;

function perfOf(t: DpThread, seconds: number): string {
  const s = t.stats;
  const passes = s.packetsReceived + s.recirculations;
  const percent = (n: bigint) => `  (${(passes ? (100 * Number(n)) / Number(passes) : 0).toFixed(1).padStart(5)} %)`;
  if (s.packetsReceived === 0n) return row('Rx packets:', 0n);
  const rate = (Number(s.packetsReceived) / seconds / 1000).toFixed(0);
  const perPacket = (Number(s.busyNs) / Number(s.packetsReceived)).toFixed(0);
  return (
    row('Rx packets:', s.packetsReceived, `  (${rate} Kpps, ${perPacket} cycles/pkt)`) +
    row('Datapath passes:', passes, `  (${(Number(passes) / Number(s.packetsReceived)).toFixed(2)} passes/pkt)`) +
    row('- PHWOL hits:', 0n, percent(0n)) +
    row('- MFEX Opt hits:', 0n, percent(0n)) +
    row('- Simple Match hits:', s.simpleHits, percent(s.simpleHits)) +
    row('- EMC hits:', s.emcHits, percent(s.emcHits)) +
    row('- SMC hits:', s.smcHits, percent(s.smcHits)) +
    row('- Megaflow hits:', s.megaflowHits, percent(s.megaflowHits)) +
    row('- Upcalls:', s.missUpcalls, percent(s.missUpcalls)) +
    row('- Lost upcalls:', s.lostUpcalls, percent(s.lostUpcalls))
  );
}

function registerPerf(unixctl: UnixctlRegistry, dpifs: () => Dpif[]): void {
  const usage = '[-nh] [-it iter-history-len] [-ms ms-history-len] [-pmd core] [dp]';
  unixctl.register('dpif-netdev/pmd-perf-show', usage, 0, 8, (args) => {
    const words = [...args];
    let core: number | undefined;
    while (words[0]?.startsWith('-')) {
      const option = words.shift()!;
      if (option === '-nh') continue;
      const value = words.shift();
      if (option === '-pmd' && value !== undefined) core = Number(value);
    }
    const seconds = Math.max(0.001, process.uptime());
    const threads = findDpif(dpifs(), words[0]).threads();
    return threads
      .filter((t) => t.core >= 0 && (core === undefined || t.core === core))
      .map(
        (t) =>
          `\nTime: ${new Date().toISOString().slice(11, 23)}\nMeasurement duration: ${seconds.toFixed(3)} s\n\n` +
          `pmd thread numa_id ${t.numa} core_id ${t.core}:\n\n${perfOf(t, seconds)}`,
      )
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

/** Iterations are not kept here, so that there is nothing suspicious to log; the settings are taken all the same. */
function registerPerfLog(unixctl: UnixctlRegistry): void {
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

export function registerPmdImplCommands(unixctl: UnixctlRegistry, dpifs: () => Iterable<Dpif>): void {
  const all = () => [...dpifs()];
  registerDpifImpl(unixctl, all);
  registerMiniflow(unixctl, all);
  registerLookup(unixctl, all);
  registerBonds(unixctl, all);
  registerPerf(unixctl, all);
}
