import type { ColumnValue } from '../ovsdb/idl.ts';

/** Values of database columns as plain types. */

export type StringMap = ReadonlyMap<string, string>;

const EMPTY: StringMap = new Map();

export function text(value: ColumnValue | undefined): string {
  return typeof value === 'string' ? value : '';
}

/** A column of none or one number. */
export function number(value: ColumnValue | undefined): number | undefined {
  const one = Array.isArray(value) ? value[0] : value;
  return typeof one === 'number' || typeof one === 'bigint' ? Number(one) : undefined;
}

/** A set column of strings or references, also where the schema allows at most one. */
export function set(value: ColumnValue | undefined): readonly string[] {
  if (value === undefined || value === null) return [];
  return (Array.isArray(value) ? value : [value]) as readonly string[];
}

/** A set column of integers. */
export function numbers(value: ColumnValue | undefined): readonly number[] {
  if (value === undefined || value === null) return [];
  return (Array.isArray(value) ? value : [value]).map(Number);
}

export function map(value: ColumnValue | undefined): StringMap {
  return value instanceof Map ? (value as StringMap) : EMPTY;
}

/** A decimal or 0x number of other_config, as strtol reads it; `fallback` when there is none. */
export function intOf(config: StringMap, key: string, fallback: number): number {
  const value = config.get(key);
  if (value === undefined) return fallback;
  const n = Number(value.trim());
  return value.trim() !== '' && Number.isInteger(n) ? n : fallback;
}

export const boolOf = (config: StringMap, key: string, fallback = false): boolean => {
  const value = config.get(key)?.toLowerCase();
  return fallback ? value !== 'false' : value === 'true';
};
