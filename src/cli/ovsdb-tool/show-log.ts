import { datumFromJson, datumToString } from '../../ovsdb/datum.ts';
import { OvsdbError } from '../../ovsdb/error.ts';
import type { Json, JsonObject } from '../../ovsdb/json.ts';
import { isInteger, isObject, sortedText } from '../../ovsdb/json.ts';
import type { Schema, TableSchema } from '../../ovsdb/schema.ts';
import { schemaFromJson } from '../../ovsdb/schema.ts';

/** `show-log`: what the records of a database file say. */

/** Older versions wrote seconds. */
const INT32_MAX = 0x7fffffff;

export class LogShower {
  /** 0: records only; 1: rows; 2: columns. */
  readonly #verbosity: number;
  /** What rows are called: their column `name`, or the beginning of their uuid. */
  readonly #names = new Map<string, string>();
  #schema: Schema | undefined;

  constructor(verbosity: number) {
    this.#verbosity = verbosity;
  }

  record(json: JsonObject, number: number): string {
    if (number > 0) return `record ${number}:${this.#change(json)}\n`;
    this.#schema = schemaFromJson(json);
    const { name, version, cksum } = this.#schema;
    return `record 0: "${name}" schema, version="${version}", cksum="${cksum}"\n\n`;
  }

  #change(json: JsonObject): string {
    let text = '';
    if (isInteger(json._date)) text += ` ${dateText(Number(json._date))}`;
    if (typeof json._comment === 'string') text += ` "${json._comment}"`;
    return this.#verbosity > 0 ? text + this.#tables(json) : text;
  }

  #tables(json: JsonObject): string {
    const isDiff = json._is_diff === true;
    let text = '';
    for (const [table, rows] of Object.entries(json)) {
      if (table.startsWith('_') || !isObject(rows)) continue;
      for (const [uuid, columns] of Object.entries(rows)) text += this.#row(table, uuid, columns, isDiff);
    }
    return text === '' ? '' : `\n${text}`;
  }

  #row(table: string, uuid: string, columns: Json, isDiff: boolean): string {
    const id = uuid.slice(0, 8);
    const oldName = this.#names.get(uuid);
    const newName = isObject(columns) && columns.name !== undefined ? sortedText(columns.name) : undefined;
    const inserted = newName === undefined ? `insert row ${id}` : `insert row ${newName} (${id})`;
    const title = oldName === undefined ? inserted : `row ${oldName} (${id})${isDiff ? ' diff' : ''}`;
    const head = `  table ${table} ${title}:\n`;
    if (!isObject(columns)) {
      if (columns !== null) return head;
      this.#names.delete(uuid);
      return `${head}    delete row\n`;
    }
    this.#names.set(uuid, newName ?? oldName ?? id);
    return head + (this.#verbosity > 1 ? this.#columns(this.#schema?.tables.get(table), columns) : '');
  }

  #columns(table: TableSchema | undefined, columns: JsonObject): string {
    return Object.entries(columns)
      .map(([name, value]) => `    ${name}=${valueText(table, name, value)}\n`)
      .join('');
  }
}

function valueText(table: TableSchema | undefined, name: string, json: Json): string {
  const type = table?.byName.get(name)?.type;
  try {
    return type ? datumToString(datumFromJson(json, type), type) : sortedText(json);
  } catch (error) {
    if (!(error instanceof OvsdbError)) throw error;
    return sortedText(json);
  }
}

function dateText(time: number): string {
  const ms = time < INT32_MAX ? time * 1000 : time;
  return new Date(ms).toISOString().replace('T', ' ').replace('Z', '');
}
