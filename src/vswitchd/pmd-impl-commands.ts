import { UnixctlError, type UnixctlRegistry } from '../base/unixctl-registry.ts';
import { vlogModule } from '../base/vlog.ts';
import type { Dpif } from '../dpif/dpif.ts';

/** `dpif-netdev/…` about how packets are looked up: names and priorities of implementations, of which there is one of each kind here; bonds. */

const log = vlogModule('dpif_netdev');

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

/** The datapath of that name, or without a name the only one. Throws UnixctlError. */
export function findDpif(dpifs: readonly Dpif[], name: string | undefined): Dpif {
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

export function registerPmdImplCommands(unixctl: UnixctlRegistry, dpifs: () => Iterable<Dpif>): void {
  const all = () => [...dpifs()];
  registerDpifImpl(unixctl, all);
  registerMiniflow(unixctl, all);
  registerLookup(unixctl, all);
  registerBonds(unixctl, all);
}
