import type { MatchField } from '../../../protocols/fields.ts';
import type { FieldSet } from '../field.ts';
import type { TableActionFeatures, TableFeatures, TableInstructionFeatures, TableStats } from '../messages-table.ts';
import { fieldSetText } from './field-names.ts';
import { ofpactSetText } from './ofpact-names.ts';
import { hexOf } from './text.ts';

/** Features and statistics of tables; a table that is as the one before it is a "ditto". */

const INSTRUCTIONS = [
  [6, 'meter'],
  [4, 'apply_actions'],
  [5, 'clear_actions'],
  [3, 'write_actions'],
  [2, 'write_metadata'],
  [1, 'goto_table'],
] as const;

function sameSet<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): boolean {
  return a.size === b.size && [...a].every((x) => b.has(x));
}

const sameActions = (a: TableActionFeatures, b: TableActionFeatures): boolean =>
  sameSet(a.ofpacts, b.ofpacts) && sameSet(a.setFields, b.setFields);

const noActions = (a: TableActionFeatures): boolean => a.ofpacts.size === 0 && a.setFields.size === 0;

/** A table can't go to itself: that table t + 1 is only in the set of table t makes no difference. */
function sameNext(a: ReadonlySet<number>, aId: number, b: ReadonlySet<number>, bId: number): boolean {
  if (aId === bId + 1) return sameNext(b, bId, a, aId);
  if (bId !== aId + 1 || !a.has(bId) || b.has(bId)) return sameSet(a, b);
  return a.size === b.size + 1 && [...b].every((x) => a.has(x));
}

const sameInstructions = (
  a: TableInstructionFeatures,
  aId: number,
  b: TableInstructionFeatures,
  bId: number,
): boolean =>
  sameNext(a.next, aId, b.next, bId) &&
  sameSet(a.instructions, b.instructions) &&
  sameActions(a.write, b.write) &&
  sameActions(a.apply, b.apply);

const noInstructions = (a: TableInstructionFeatures): boolean =>
  a.next.size === 0 && a.instructions.size === 0 && noActions(a.write) && noActions(a.apply);

const sameFeatures = (a: TableFeatures, b: TableFeatures): boolean =>
  a.metadataMatch === b.metadataMatch &&
  a.metadataWrite === b.metadataWrite &&
  a.missConfig === b.missConfig &&
  a.supportsEviction === b.supportsEviction &&
  a.supportsVacancyEvents === b.supportsVacancyEvents &&
  a.maxEntries === b.maxEntries &&
  sameInstructions(a.nonmiss, a.tableId, b.nonmiss, b.tableId) &&
  sameInstructions(a.miss, a.tableId, b.miss, b.tableId) &&
  sameSet(a.match, b.match);

const noFeatures = (a: TableFeatures): boolean =>
  !a.metadataMatch &&
  !a.metadataWrite &&
  a.missConfig === 'default' &&
  a.supportsEviction === undefined &&
  a.supportsVacancyEvents === undefined &&
  !a.maxEntries &&
  noInstructions(a.nonmiss) &&
  noInstructions(a.miss) &&
  a.match.size === 0;

const sameStats = (a: TableStats, b: TableStats): boolean =>
  a.activeCount === b.activeCount && a.lookupCount === b.lookupCount && a.matchedCount === b.matchedCount;

/** `1-253`, `1,3-5`. */
function rangesText(numbers: ReadonlySet<number>): string {
  const sorted = [...numbers].sort((a, b) => a - b);
  const out: string[] = [];
  for (let i = 0; i < sorted.length; ) {
    let end = i;
    while (sorted[end + 1] === sorted[end] + 1) end++;
    out.push(end === i ? String(sorted[i]) : `${sorted[i]}-${sorted[end]}`);
    i = end + 1;
  }
  return out.join(',');
}

function actionFeatures(a: TableActionFeatures): string {
  const actions = a.ofpacts.size ? `        actions: ${ofpactSetText(a.ofpacts)}\n` : '';
  return `${actions}${a.setFields.size ? `        supported on Set-Field:${fieldSetText(a.setFields)}\n` : ''}`;
}

function instructionFeatures(f: TableInstructionFeatures, prev: TableInstructionFeatures | undefined): string {
  const out: string[] = [];
  if (f.next.size) out.push(`      next tables: ${rangesText(f.next)}\n`);
  if (f.instructions.size && prev && sameSet(f.instructions, prev.instructions))
    out.push('      (same instructions)\n');
  else if (f.instructions.size) {
    const names = INSTRUCTIONS.filter(([n]) => f.instructions.has(n)).map(([, name]) => name);
    out.push(`      instructions: ${names.join(' ')}\n`);
  }
  const unchanged = prev && sameActions(f.write, prev.write) && sameActions(f.apply, prev.apply);
  if (unchanged && f.write.setFields.size) out.push('      (same actions)\n');
  else if (!sameActions(f.write, f.apply)) {
    out.push('      Write-Actions features:\n', actionFeatures(f.write));
    out.push('      Apply-Actions features:\n', actionFeatures(f.apply));
  } else if (!noActions(f.write)) {
    out.push('      Write-Actions and Apply-Actions features:\n', actionFeatures(f.write));
  }
  return out.join('');
}

function instructionsText(f: TableFeatures, prev: TableFeatures | undefined): string {
  const id = f.tableId;
  const same =
    prev &&
    sameInstructions(f.nonmiss, id, prev.nonmiss, prev.tableId) &&
    sameInstructions(f.miss, id, prev.miss, prev.tableId);
  if (same) return noInstructions(f.nonmiss) ? '' : '    (same instructions)\n';
  if (!sameInstructions(f.nonmiss, id, f.miss, id)) {
    return [
      '    instructions (other than table miss):\n',
      instructionFeatures(f.nonmiss, prev?.nonmiss),
      '    instructions (table miss):\n',
      instructionFeatures(f.miss, prev?.miss),
    ].join('');
  }
  if (noInstructions(f.nonmiss)) return '';
  return `    instructions (table miss and others):\n${instructionFeatures(f.nonmiss, prev?.nonmiss)}`;
}

function matchText(f: TableFeatures, prev: TableFeatures | undefined): string {
  if (!f.match.size) return '';
  if (prev && sameSet(f.match, prev.match)) return '    (same matching)\n';
  const line = (title: string, take: (field: MatchField) => boolean) => {
    const set: FieldSet = new Set([...f.match].filter(take));
    return set.size ? `      ${title}:${fieldSetText(set)}\n` : '';
  };
  return [
    '    matching:\n',
    line('arbitrary mask', (field) => f.mask.has(field) && f.wildcard.has(field)),
    line('exact match or wildcard', (field) => !f.mask.has(field) && f.wildcard.has(field)),
    line('must exact match', (field) => !f.mask.has(field) && !f.wildcard.has(field)),
  ].join('');
}

function featuresText(f: TableFeatures, prev: TableFeatures | undefined): string {
  const out: string[] = [];
  const supported = (title: string, is: boolean | undefined) => {
    if (is !== undefined) out.push(`    ${title}: ${is ? '' : 'not '}supported\n`);
  };
  if (f.metadataMatch || f.metadataWrite)
    out.push(`    metadata: match=${hexOf(f.metadataMatch)} write=${hexOf(f.metadataWrite)}\n`);
  if (f.missConfig !== 'default') out.push(`    config=${f.missConfig}\n`);
  supported('eviction', f.supportsEviction);
  supported('vacancy events', f.supportsVacancyEvents);
  if (f.maxEntries) out.push(`    max_entries=${f.maxEntries}\n`);
  return out.join('') + instructionsText(f, prev) + matchText(f, prev);
}

/** Writes tables one after the other; what a series of messages brings may be given to one of these. */
export class TableFeaturesText {
  #out = '';
  #prev: TableFeatures | undefined;
  #prevStats: TableStats | undefined;
  #firstDitto = -1;
  #lastDitto = -1;

  add(f: TableFeatures, stats?: TableStats): void {
    const prev = this.#prev;
    if (!prev && f.command !== undefined && f.command !== 'replace') this.#out += `\n  command: ${f.command}`;
    const same = {
      stats: !stats || (this.#prevStats !== undefined && sameStats(stats, this.#prevStats)),
      features: prev !== undefined && sameFeatures(f, prev),
    };
    this.#prev = f;
    this.#prevStats = stats;
    if (same.stats && same.features && f.name === '') {
      if (this.#firstDitto < 0) this.#firstDitto = f.tableId;
      this.#lastDitto = f.tableId;
      return;
    }
    this.#flushDittos();
    this.#out += `\n  table ${f.tableId}${f.name === '' ? '' : ` ("${f.name}")`}:`;
    this.#out += same.stats && same.features ? ' ditto' : this.#body(f, prev, stats, same.features);
  }

  #body(f: TableFeatures, prev: TableFeatures | undefined, stats: TableStats | undefined, same: boolean): string {
    const counters = stats
      ? `    active=${stats.activeCount}, lookup=${stats.lookupCount}, matched=${stats.matchedCount}\n`
      : '';
    if (!same) return `\n${counters}${featuresText(f, prev)}`;
    return `\n${counters}${noFeatures(f) ? '' : '    (same features)\n'}`;
  }

  #flushDittos(): void {
    if (this.#firstDitto < 0) return;
    const one = this.#firstDitto === this.#lastDitto;
    this.#out += `\n  ${one ? `table ${this.#firstDitto}` : `tables ${this.#firstDitto}...${this.#lastDitto}`}: ditto\n`;
    this.#firstDitto = -1;
  }

  /** All that was added. */
  finish(): string {
    this.#flushDittos();
    return this.#out;
  }
}
