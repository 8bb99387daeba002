import type { FieldSet } from '../field.ts';

/** Lists of fields, made short: `eth_{src,dst}`, `reg0...reg15`. */

/** Length of the longest common start of two names that ends in `_`. */
function commonPrefix(a: string, b: string): number {
  let length = 0;
  for (let i = 0; i < a.length && a[i] === b[i]; i++) if (a[i] === '_') length = i + 1;
  return length;
}

/** True when `b` is `a` with its final number one higher: `reg1`, `reg2`. */
function areSequential(a: string, b: string): boolean {
  const [, stem, digits] = /^(.*?)(\d*)$/.exec(a)!;
  return digits !== '' && b === `${stem}${Number(digits) + 1}`;
}

/** How many names at the beginning count upwards; two are not worth it. */
function sequentialRun(names: readonly string[]): number {
  let n = 1;
  while (n < names.length && areSequential(names[n - 1], names[n])) n++;
  return n === 2 ? 1 : n;
}

/** How many names at the beginning share more than their first `skip` characters, and how much more the first two do. */
function prefixRun(names: readonly string[], skip: number): { run: number; extra: number } {
  if (names.length < 2) return { run: names.length, extra: 0 };
  const first = names[0].slice(skip);
  const extra = commonPrefix(first, names[1].slice(skip));
  if (!extra) return { run: 1, extra: 0 };
  let run = 2;
  while (run < names.length && commonPrefix(first, names[run].slice(skip))) run++;
  return { run, extra };
}

function shorten(names: readonly string[], skip: number): string {
  const out: string[] = [];
  for (let rest = names; rest.length > 0; ) {
    const { run: shared, extra } = prefixRun(rest, skip);
    const counted = sequentialRun(rest);
    const run = Math.max(shared, counted);
    const first = rest[0].slice(skip);
    if (counted >= shared) out.push(run > 1 ? `${first}...${rest[run - 1].slice(skip)}` : first);
    else out.push(`${first.slice(0, extra)}{${shorten(rest.slice(0, run), skip + extra)}}`);
    rest = rest.slice(run);
  }
  return out.join(skip ? ',' : ' ');
}

/** The fields of a set by their numbers, each group preceded by a space. */
export function fieldSetText(set: FieldSet): string {
  const names = [...set].sort((a, b) => a.id - b.id).map((f) => f.name);
  return names.length ? ` ${shorten(names, 0)}` : '';
}
