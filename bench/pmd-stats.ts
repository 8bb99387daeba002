/** The counters of `dpif-netdev/pmd-stats-show`, as numbers. */

/** Counter by its label, e.g. `emc hits`; sums over the threads. Averages are left out: they follow from the sums. */
export type PmdStats = Record<string, number>;

export function parsePmdStats(text: string): PmdStats {
  const stats: PmdStats = {};
  for (const [, label, value] of text.matchAll(/^ {2}([a-z][a-z0-9 ]*): (\d+)(?: \([\d.]+%\))?$/gm)) {
    stats[label!] = (stats[label!] ?? 0) + Number(value);
  }
  return stats;
}

/** Packets of each kind of hit divided by the packets that came in. */
export function shares(stats: PmdStats): Record<string, number> {
  const received = stats['packets received'] ?? 0;
  if (received === 0) return {};
  const kinds = ['simple match hits', 'emc hits', 'smc hits', 'megaflow hits', 'miss with success upcall'];
  return Object.fromEntries(kinds.map((kind) => [kind, (stats[kind] ?? 0) / received]));
}
