import type { SymbolTable } from './atom.ts';
import { atomFromJson, atomToJson, atomToString, checkAtom, compareAtoms, defaultAtom } from './atom.ts';
import { plainError, syntaxError } from './error.ts';
import type { Json } from './json.ts';
import { isArray } from './json.ts';
import type { Atom, AtomicType, ColumnType } from './type.ts';
import { isComposite } from './type.ts';

/** RFC 7047's <value> in memory. Never changed once made, so that rows, transactions and monitors share it.
 *
 *  `keys` is sorted and free of duplicates. For a map, `values[i]` belongs to `keys[i]`; for a set `values` is null. */
export interface Datum {
  readonly keys: readonly Atom[];
  readonly values: readonly Atom[] | null;
}

const NONE: readonly Atom[] = [];
export const EMPTY_SET: Datum = { keys: NONE, values: null };
export const EMPTY_MAP: Datum = { keys: NONE, values: NONE };

export function emptyDatum(type: ColumnType): Datum {
  return type.value ? EMPTY_MAP : EMPTY_SET;
}

/** The value of a column that nobody set (RFC 7047 section 5.2.1). */
export function defaultDatum(type: ColumnType): Datum {
  if (type.min === 0) return emptyDatum(type);
  return { keys: [defaultAtom(type.key.type)], values: type.value && [defaultAtom(type.value.type)] };
}

export function isDefaultDatum(datum: Datum, type: ColumnType): boolean {
  if (type.min === 0) return datum.keys.length === 0;
  if (datum.keys.length !== 1 || datum.keys[0] !== defaultAtom(type.key.type)) return false;
  return !type.value || datum.values![0] === defaultAtom(type.value.type);
}

function equalAtoms(a: readonly Atom[], b: readonly Atom[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function datumEquals(a: Datum, b: Datum): boolean {
  return a === b || (equalAtoms(a.keys, b.keys) && (a.values === b.values || equalAtoms(a.values!, b.values!)));
}

/** A total order: fewer members first, then by keys, then by values. */
export function compareDatums(a: Datum, b: Datum): number {
  if (a.keys.length !== b.keys.length) return a.keys.length < b.keys.length ? -1 : 1;
  return compareAtomLists(a.keys, b.keys) || (a.values && b.values ? compareAtomLists(a.values, b.values) : 0);
}

function compareAtomLists(a: readonly Atom[], b: readonly Atom[]): number {
  for (let i = 0; i < a.length; i++) {
    const order = compareAtoms(a[i]!, b[i]!);
    if (order) return order;
  }
  return 0;
}

/** A text that is the same exactly for equal datums of one type: the key of hash tables. */
export function datumHashKey(datum: Datum): string {
  const { keys, values } = datum;
  if (keys.length === 1 && !values) return `=${keys[0]}`;
  let text = `${keys.length}`;
  for (const key of keys) text += atomHashKey(key);
  if (values) for (const value of values) text += atomHashKey(value);
  return text;
}

function atomHashKey(atom: Atom): string {
  const text = String(atom);
  return ` ${text.length}:${text}`;
}

/** Where `key` is, or the complement of where it belongs. */
function search(keys: readonly Atom[], key: Atom): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = compareAtoms(keys[middle]!, key);
    if (order === 0) return middle;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return ~low;
}

export function datumHas(datum: Datum, key: Atom): boolean {
  return search(datum.keys, key) >= 0;
}

/** The value of `key` in a map, or undefined. */
export function datumGet(datum: Datum, key: Atom): Atom | undefined {
  const at = search(datum.keys, key);
  return at < 0 ? undefined : datum.values![at];
}

function hasPair(datum: Datum, key: Atom, value: Atom | undefined): boolean {
  const at = search(datum.keys, key);
  return at >= 0 && (value === undefined || datum.values![at] === value);
}

/** Every member of `part` is in `whole`; of a map, key and value. */
export function datumIncludesAll(part: Datum, whole: Datum): boolean {
  if (part.keys.length > whole.keys.length) return false;
  return part.keys.every((key, i) => hasPair(whole, key, part.values?.[i]));
}

/** No member of `part` is in `whole`. */
export function datumExcludesAll(part: Datum, whole: Datum): boolean {
  return part.keys.every((key, i) => !hasPair(whole, key, part.values?.[i]));
}

/** Sorts and gives up on duplicates (an OvsdbError). */
export function sortedDatum(keys: Atom[], values: Atom[] | null): Datum {
  if (!values) {
    if (!isStrictlySorted(keys)) {
      keys.sort(compareAtoms);
      if (!isStrictlySorted(keys)) throw plainError('set contains duplicate');
    }
    return { keys, values: null };
  }
  if (isStrictlySorted(keys)) return { keys, values };
  const order = keys.map((_, i) => i).sort((a, b) => compareAtoms(keys[a]!, keys[b]!));
  const sorted = { keys: order.map((i) => keys[i]!), values: order.map((i) => values[i]!) };
  if (!isStrictlySorted(sorted.keys)) throw plainError('map contains duplicate key');
  return sorted;
}

function isStrictlySorted(keys: readonly Atom[]): boolean {
  for (let i = 1; i < keys.length; i++) if (compareAtoms(keys[i - 1]!, keys[i]!) >= 0) return false;
  return true;
}

/** Walks two datums in the order of their keys: `visit(key, index in a or -1, index in b or -1)`. */
function merge(a: Datum, b: Datum, visit: (key: Atom, ia: number, ib: number) => void): void {
  let ia = 0;
  let ib = 0;
  while (ia < a.keys.length || ib < b.keys.length) {
    const ka = a.keys[ia];
    const kb = b.keys[ib];
    const order = ka === undefined ? 1 : kb === undefined ? -1 : compareAtoms(ka, kb);
    if (order < 0) visit(ka!, ia++, -1);
    else if (order > 0) visit(kb!, -1, ib++);
    else visit(ka!, ia++, ib++);
  }
}

/** `a` and what `b` has more; where both have a key, `a`'s value stays (mutator `insert`). */
export function datumUnion(a: Datum, b: Datum): Datum {
  const keys: Atom[] = [];
  const values: Atom[] | null = a.values && [];
  merge(a, b, (key, ia, ib) => {
    keys.push(key);
    values?.push(ia >= 0 ? a.values![ia]! : b.values![ib]!);
  });
  return keys.length === a.keys.length ? a : { keys, values };
}

/** `a` without the members of `b`. When `b` has values, a pair goes only if they are equal (mutator `delete`). */
export function datumSubtract(a: Datum, b: Datum): Datum {
  if (b.keys.length === 0) return a;
  const gone = (key: Atom, i: number) => hasPair(b, key, b.values ? a.values![i] : undefined);
  return filterDatum(a, (key, i) => !gone(key, i));
}

/** The members for which `keep(key, index)` says so; `datum` itself when it is all of them. */
export function filterDatum(datum: Datum, keep: (key: Atom, index: number) => boolean): Datum {
  const kept: number[] = [];
  datum.keys.forEach((key, i) => {
    if (keep(key, i)) kept.push(i);
  });
  if (kept.length === datum.keys.length) return datum;
  return { keys: kept.map((i) => datum.keys[i]!), values: datum.values && kept.map((i) => datum.values![i]!) };
}

/** The difference that `update2` and the database file carry (ovsdb-server(7), "update2 notification"): for at most one member the new
 *  value; for a set what is in one only; for a map the pairs that came, went (with their old value) or changed (with the new). */
export function datumDiff(from: Datum, to: Datum, type: ColumnType): Datum {
  if (!isComposite(type)) return to;
  const keys: Atom[] = [];
  const values: Atom[] | null = to.values && [];
  merge(from, to, (key, ia, ib) => {
    if (ia >= 0 && ib >= 0 && (!to.values || from.values![ia] === to.values[ib])) return;
    keys.push(key);
    values?.push(ib >= 0 ? to.values![ib]! : from.values![ia]!);
  });
  return { keys, values };
}

/** Undoes `datumDiff`: `to` from `from` and the difference. */
export function datumApplyDiff(from: Datum, diff: Datum, type: ColumnType): Datum {
  if (!isComposite(type)) return diff;
  const keys: Atom[] = [];
  const values: Atom[] | null = from.values && [];
  merge(from, diff, (key, ia, ib) => {
    if (ia >= 0 && ib >= 0 && (!values || from.values![ia] === diff.values![ib])) return;
    keys.push(key);
    values?.push(ib >= 0 ? diff.values![ib]! : from.values![ia]!);
  });
  return { keys, values };
}

/** The atoms that one datum has more often than the other, among the keys or among the values: `count(atom, n)` with n > 0 for `to`'s
 *  and n < 0 for `from`'s. Undefined stands for an empty datum. */
export function countAtoms(
  from: Datum = EMPTY_MAP,
  to: Datum = EMPTY_MAP,
  side: 'keys' | 'values',
  count: (atom: Atom, delta: number) => void,
): void {
  if (from === to) return;
  if (side === 'keys') {
    merge(from, to, (key, ia, ib) => {
      if (ia < 0 || ib < 0) count(key, ib < 0 ? -1 : 1);
    });
    return;
  }
  const deltas = new Map<Atom, number>();
  for (const atom of from.values ?? NONE) deltas.set(atom, (deltas.get(atom) ?? 0) - 1);
  for (const atom of to.values ?? NONE) deltas.set(atom, (deltas.get(atom) ?? 0) + 1);
  for (const [atom, delta] of deltas) if (delta) count(atom, delta);
}

/** Parses and checks every constraint of `type`. A single atom may stand for a set of one. */
export function datumFromJson(json: Json, type: ColumnType, symbols?: SymbolTable): Datum {
  if (type.value) return mapFromJson(json, type, symbols);
  if (!isArray(json) || json[0] !== 'set') return { keys: [atomFromJson(json, type.key, symbols)], values: null };
  const members = unwrap(json, 'set', type);
  return sortedDatum(
    members.map((member) => atomFromJson(member, type.key, symbols)),
    null,
  );
}

function mapFromJson(json: Json, type: ColumnType, symbols: SymbolTable | undefined): Datum {
  const keys: Atom[] = [];
  const values: Atom[] = [];
  for (const pair of unwrap(json, 'map', type)) {
    if (!isArray(pair) || pair.length !== 2) throw syntaxError(pair, 'expected 2-element array');
    keys.push(atomFromJson(pair[0]!, type.key, symbols));
    values.push(atomFromJson(pair[1]!, type.value!, symbols));
  }
  return sortedDatum(keys, values);
}

function unwrap(json: Json, kind: 'set' | 'map', { min, max }: ColumnType): readonly Json[] {
  if (!isArray(json) || json.length !== 2 || json[0] !== kind || !isArray(json[1])) {
    throw syntaxError(json, `expected ["${kind}", <array>]`);
  }
  const n = json[1].length;
  if (n >= min && n <= max) return json[1];
  if (min === 1 && max === 1) {
    throw syntaxError(json, `${kind} must have exactly one member but ${n} are present`);
  }
  const limit = max === Infinity ? 0xffffffff : max;
  throw syntaxError(json, `${kind} must have ${min} to ${limit} members but ${n} are present`);
}

export function datumToJson(datum: Datum, type: ColumnType): Json {
  const { keys, values } = datum;
  const keyType = type.key.type;
  if (values) {
    const valueType = (type.value ?? type.key).type;
    return ['map', keys.map((key, i) => [atomToJson(key, keyType), atomToJson(values[i]!, valueType)])];
  }
  if (keys.length === 1) return atomToJson(keys[0]!, keyType);
  return ['set', keys.map((key) => atomToJson(key, keyType))];
}

/** The datum as ovs-vsctl prints it. */
export function datumToString(datum: Datum, type: ColumnType): string {
  const one = (atom: Atom, atomic: AtomicType) => atomToString(atom, atomic);
  const { keys, values } = datum;
  if (values) {
    return `{${keys.map((key, i) => `${one(key, type.key.type)}=${one(values[i]!, type.value!.type)}`).join(', ')}}`;
  }
  const members = keys.map((key) => one(key, type.key.type)).join(', ');
  return type.max > 1 || keys.length === 0 ? `[${members}]` : members;
}

/** Throws a constraint violation unless every atom obeys `type`. The number of members is not looked at. */
export function checkDatum(datum: Datum, type: ColumnType): void {
  for (const key of datum.keys) checkAtom(key, type.key);
  if (datum.values && type.value) for (const value of datum.values) checkAtom(value, type.value);
}
