import { invalidConfig } from './error.ts';

/** Reads JSON that others wrote, field by field; what is not of its type is an error that names the field. */

export type JsonRecord = { readonly [key: string]: unknown };

export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `where` stands before the names of its fields in messages. */
export class Fields {
  readonly #record: JsonRecord;
  readonly #where: string;

  constructor(record: JsonRecord, where = '') {
    this.#record = record;
    this.#where = where;
  }

  /** A field that is there and not null. */
  #get(name: string): unknown {
    return Object.hasOwn(this.#record, name) ? (this.#record[name] ?? undefined) : undefined;
  }

  has(name: string): boolean {
    return this.#get(name) !== undefined;
  }

  #wrong(name: string, what: string): Error {
    return invalidConfig(`"${this.#where}${name}": ${JSON.stringify(this.#get(name))} is not ${what}`);
  }

  /** An empty string counts as none, as in the Go plugins' configurations. */
  text(name: string): string | undefined {
    const value = this.#get(name);
    if (value === undefined || value === '') return undefined;
    if (typeof value !== 'string' || value.includes('\0')) throw this.#wrong(name, 'a string');
    return value;
  }

  integer(name: string, least: number, most: number): number | undefined {
    const value = this.#get(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
      throw this.#wrong(name, `an integer in ${least} to ${most}`);
    }
    return value;
  }

  flag(name: string): boolean {
    const value = this.#get(name);
    if (value !== undefined && typeof value !== 'boolean') throw this.#wrong(name, 'true or false');
    return value === true;
  }

  oneOf<T extends string>(name: string, values: readonly T[]): T | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const found = values.find((one) => one === value);
    if (found === undefined) throw this.#wrong(name, `one of ${values.join(', ')}`);
    return found;
  }

  object(name: string): Fields | undefined {
    const value = this.#get(name);
    if (value === undefined) return undefined;
    if (!isRecord(value)) throw this.#wrong(name, 'an object');
    return new Fields(value, `${this.#where}${name}.`);
  }

  /** The value itself, of an object. */
  record(name: string): JsonRecord | undefined {
    this.object(name);
    return this.#get(name) as JsonRecord | undefined;
  }

  texts(name: string): string[] {
    return this.#array(name).map((value) => {
      if (typeof value !== 'string' || value === '') throw this.#wrong(name, 'a list of strings');
      return value;
    });
  }

  objects(name: string): Fields[] {
    return this.#array(name).map((value, i) => {
      if (!isRecord(value)) throw this.#wrong(name, 'a list of objects');
      return new Fields(value, `${this.#where}${name}[${i}].`);
    });
  }

  #array(name: string): readonly unknown[] {
    const value = this.#get(name);
    if (value === undefined) return [];
    if (!Array.isArray(value)) throw this.#wrong(name, 'a list');
    return value;
  }
}
