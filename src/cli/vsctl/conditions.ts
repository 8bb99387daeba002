import type { Datum } from '../../ovsdb/datum.ts';
import { compareDatums, datumExcludesAll, datumGet, datumIncludesAll } from '../../ovsdb/datum.ts';
import { atomFromString, datumFromString } from '../../ovsdb/text-format.ts';
import type { CtlContext } from './command.ts';
import { CtlError } from './errors.ts';
import type { Row } from './model.ts';
import { parseColumnArgument } from './record.ts';

/** Conditions of `find` and `wait-until`: COLUMN[:KEY]OPERATOR VALUE (ovs-vsctl(8), "find"). */

type Test = (have: Datum, want: Datum) => boolean;

const equal: Test = (a, b) => compareDatums(a, b) === 0;

/** The ones in braces look at sets: an absent key of a map is the empty set. */
const OPERATORS: Readonly<Record<string, Test>> = {
  '=': equal,
  '!=': (a, b) => !equal(a, b),
  '<': (a, b) => compareDatums(a, b) < 0,
  '>': (a, b) => compareDatums(a, b) > 0,
  '<=': (a, b) => compareDatums(a, b) <= 0,
  '>=': (a, b) => compareDatums(a, b) >= 0,
  '{=}': equal,
  '{!=}': (a, b) => !equal(a, b),
  '{<}': (a, b) => b.keys.length > a.keys.length && datumIncludesAll(a, b),
  '{>}': (a, b) => a.keys.length > b.keys.length && datumIncludesAll(b, a),
  '{<=}': datumIncludesAll,
  '{>=}': (a, b) => datumIncludesAll(b, a),
  '{in}': datumIncludesAll,
  '{not-in}': datumExcludesAll,
};

const NAMES = Object.keys(OPERATORS);

export function conditionHolds(ctx: Pick<CtlContext, 'symbols'>, row: Row, argument: string): boolean {
  const { column, key, operator, value } = parseColumnArgument(row.table, argument, NAMES);
  const test = OPERATORS[operator]!;
  const have = row.read(column);
  if (key === undefined) return test(have, datumFromString(value, column.type, ctx.symbols));
  if (!column.type.value) throw new CtlError(`cannot specify key to check for non-map column ${column.name}`);
  const member = datumGet(have, atomFromString(key, column.type.key, ctx.symbols));
  const want = datumFromString(
    value,
    { key: column.type.value, value: null, min: column.type.min, max: Infinity },
    ctx.symbols,
  );
  if (member === undefined && !operator.startsWith('{')) return false;
  return test({ keys: member === undefined ? [] : [member], values: null }, want);
}
