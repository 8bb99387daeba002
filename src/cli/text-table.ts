import type { OptionArgument, ParsedOption } from '../base/getopt.ts';
import type { Datum } from '../ovsdb/datum.ts';
import { datumFromJson, datumToString } from '../ovsdb/datum.ts';
import { OvsdbError } from '../ovsdb/error.ts';
import type { Json, JsonObject } from '../ovsdb/json.ts';
import { isArray, isObject, sortedText, toText } from '../ovsdb/json.ts';
import { datumToBare } from '../ovsdb/text-format.ts';
import type { ColumnType } from '../ovsdb/type.ts';

/** Tables of database values in the formats that ovs-vsctl(8) and ovsdb-client(1) share ("Table Formatting Options"). */

export const TABLE_OPTIONS: Readonly<Record<string, OptionArgument>> = {
  format: 'required',
  data: 'required',
  'no-headings': 'none',
  pretty: 'none',
  bare: 'none',
  'max-column-width': 'required',
};

export const TABLE_SHORT_OPTIONS: Readonly<Record<string, string>> = { f: 'format', d: 'data' };

const FORMATS = ['table', 'list', 'html', 'csv', 'json'] as const;
const CELL_FORMATS = ['string', 'bare', 'json'] as const;

export interface TableStyle {
  format: (typeof FORMATS)[number];
  cells: (typeof CELL_FORMATS)[number];
  headings: boolean;
  pretty: boolean;
  /** 0: no limit. */
  maxColumnWidth: number;
}

export const defaultTableStyle = (): TableStyle => ({
  format: 'list',
  cells: 'string',
  headings: true,
  pretty: false,
  maxColumnWidth: 0,
});

/** Takes one of TABLE_OPTIONS; false when it is another one. Throws Error for a wrong value. */
export function takeTableOption(style: TableStyle, { name, value }: ParsedOption): boolean {
  switch (name) {
    case 'format':
      style.format = choose(FORMATS, value!, 'output');
      return true;
    case 'data':
      style.cells = choose(CELL_FORMATS, value!, 'data');
      return true;
    case 'no-headings':
      style.headings = false;
      return true;
    case 'pretty':
      style.pretty = true;
      return true;
    case 'bare':
      Object.assign(style, { format: 'list', cells: 'bare', headings: false });
      return true;
    case 'max-column-width':
      style.maxColumnWidth = Number.parseInt(value!, 10) || 0;
      return true;
    default:
      return false;
  }
}

function choose<T extends string>(choices: readonly T[], word: string, what: string): T {
  const found = choices.find((choice) => choice === word);
  if (found === undefined) throw new Error(`unknown ${what} format "${word}"`);
  return found;
}

export const TABLE_USAGE = `
Output formatting options:
  -f, --format=FORMAT         set output formatting to FORMAT
                              ("table", "html", "csv", or "json")
  -d, --data=FORMAT           set table cell output formatting to
                              FORMAT ("string", "bare", or "json")
  --no-headings               omit table heading row
  --pretty                    pretty-print JSON in output
  --bare                      equivalent to "--format=list --data=bare --no-headings"
`;

/** A text as it stands, or a value with its type (none: shown as JSON). */
export type Cell = string | { readonly json: Json; readonly type?: ColumnType | undefined };

export interface TextTable {
  readonly caption?: string | undefined;
  readonly headings: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

/** Makes the texts of the tables that one program run prints; it knows where an empty line belongs between two. */
export class TablePrinter {
  readonly style: TableStyle;
  private isFirst = true;

  constructor(style: TableStyle) {
    this.style = style;
  }

  /** The next table is printed as if it were the first. */
  reset(): void {
    this.isFirst = true;
  }

  /** `timestamp`: the time is printed along. */
  format(table: TextTable, timestamp = false): string {
    const time = timestamp ? `${localTime()}\n` : '';
    switch (this.style.format) {
      case 'table':
        return this.separator() + time + caption(table) + this.asTable(table);
      case 'list':
        return this.separator() + time + caption(table) + this.asList(table);
      case 'csv':
        return this.separator() + time + caption(table) + this.asCsv(table);
      case 'html':
        return time + this.asHtml(table);
      case 'json':
        return this.asJson(table, timestamp);
    }
  }

  private separator(): string {
    const text = this.isFirst ? '' : '\n';
    this.isFirst = false;
    return text;
  }

  private text(cell: Cell): string {
    if (typeof cell === 'string') return cell;
    const { json, type } = cell;
    if (this.style.cells === 'json' || !type) return sortedText(json);
    let datum: Datum;
    try {
      datum = datumFromJson(json, type);
    } catch (error) {
      if (!(error instanceof OvsdbError)) throw error;
      return sortedText(json);
    }
    return this.style.cells === 'string' ? datumToString(datum, type) : datumToBare(datum, type);
  }

  private asTable({ headings, rows }: TextTable): string {
    const texts = rows.map((row) => row.map((cell) => Buffer.from(this.text(cell))));
    const { headings: hasHeadings, maxColumnWidth } = this.style;
    const widths = headings.map((heading, x) => {
      const widest = texts.reduce((most, row) => Math.max(most, row[x]?.length ?? 0), 0);
      const width = maxColumnWidth > 0 ? Math.min(widest, maxColumnWidth) : widest;
      return hasHeadings ? Math.max(width, heading.length) : width;
    });
    const line = (words: readonly string[]) => `${words.join(' ').replace(/ +$/, '')}\n`;
    // Widths are of bytes, as printf(3) counts.
    const pad = (bytes: Buffer, width: number) =>
      bytes.subarray(0, width).toString() + ' '.repeat(Math.max(0, width - bytes.length));
    let out = '';
    if (hasHeadings) {
      out += line(headings.map((heading, x) => heading.padEnd(widths[x]!)));
      out += line(widths.map((width) => '-'.repeat(width)));
    }
    for (const row of texts) out += line(headings.map((_, x) => pad(row[x] ?? Buffer.alloc(0), widths[x]!)));
    return out;
  }

  private asList({ headings, rows }: TextTable): string {
    const paragraphs = rows.map((row) => {
      const lines = headings.map((heading, x) => {
        const label = this.style.headings ? `${heading.padEnd(20)}: ` : '';
        return `${label}${this.text(row[x] ?? '')}\n`;
      });
      return lines.join('');
    });
    return paragraphs.join('\n');
  }

  private asCsv({ headings, rows }: TextTable): string {
    const line = (words: readonly string[]) => `${words.map(csvCell).join(',')}\n`;
    const head = this.style.headings ? line(headings) : '';
    return head + rows.map((row) => line(headings.map((_, x) => this.text(row[x] ?? '')))).join('');
  }

  private asHtml({ caption: title, headings, rows }: TextTable): string {
    let out = '<table border=1>\n';
    if (title !== undefined) out += htmlCell('caption', title);
    if (this.style.headings) out += `  <tr>\n${headings.map((heading) => htmlCell('th', heading)).join('')}  </tr>\n`;
    for (const row of rows) {
      const cells = headings.map((heading, x) => {
        const text = this.text(row[x] ?? '');
        return heading === '_uuid' ? htmlAnchor(text) : htmlCell('td', text);
      });
      out += `  <tr>\n${cells.join('')}  </tr>\n`;
    }
    return `${out}</table>\n`;
  }

  private asJson({ caption: title, headings, rows }: TextTable, timestamp: boolean): string {
    const json: { [name: string]: Json } = {};
    if (title !== undefined) json.caption = title;
    if (timestamp) json.time = localTime();
    json.headings = headings;
    json.data = rows.map((row) => headings.map((_, x) => cellJson(row[x])));
    return `${this.style.pretty ? prettyText(json) : sortedText(json)}\n`;
  }
}

function cellJson(cell: Cell | undefined): Json {
  if (cell === undefined) return null;
  return typeof cell === 'string' ? cell : cell.json;
}

function caption(table: TextTable): string {
  return table.caption === undefined ? '' : `${table.caption}\n`;
}

function csvCell(text: string): string {
  return /[\n",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const HTML: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

function htmlText(text: string): string {
  return text.replace(/[&<>"]/g, (char) => HTML[char]!);
}

/** Every uuid in it becomes a link to its row. */
function htmlCell(element: string, text: string): string {
  const parts = text.split(/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})/i);
  const linked = parts.map((part, i) => (i % 2 ? `<a href="#${part}">${part.slice(0, 8)}</a>` : htmlText(part)));
  return `    <${element}>${linked.join('')}</${element}>\n`;
}

function htmlAnchor(uuid: string): string {
  return `    <td><a name="${htmlText(uuid)}">${htmlText(uuid.slice(0, 8))}</a></td>\n`;
}

/** `2026-01-31 12:00:00.123`, in UTC. */
function localTime(): string {
  return new Date().toISOString().replace('T', ' ').replace('Z', '');
}

/** JSON on several lines, in the layout of Open vSwitch's programs: members sorted, closing brackets behind the last member. */
export function prettyText(json: Json, depth = 0): string {
  const indent = `\n${'  '.repeat(depth + 1)}`;
  if (isArray(json)) {
    if (json.length === 0) return '[]';
    return `[${indent}${json.map((member) => prettyText(member, depth + 1)).join(`,${indent}`)}]`;
  }
  if (!isObject(json)) return toText(json);
  const members = Object.keys(json as JsonObject)
    .sort()
    .map((name) => `${JSON.stringify(name)}: ${prettyText(json[name]!, depth + 1)}`);
  return `{${indent}${members.join(`,${indent}`)}}`;
}
