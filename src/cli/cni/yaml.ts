/** YAML as kubeconfigs and Kubernetes manifests are written: block maps and lists, plain and quoted scalars, literal blocks, flow
 *  collections in JSON's words. Anchors, tags and all else are refused, never guessed at. */

export type Yaml = null | boolean | number | string | readonly Yaml[] | { readonly [key: string]: Yaml };

export class YamlError extends Error {
  override name = 'YamlError';
}

interface Line {
  /** In the file, from 1. */
  readonly number: number;
  readonly indent: number;
  /** Without indentation and comment; the rest of the line for literal blocks is in `raw`. */
  text: string;
  readonly raw: string;
}

/** All documents of a file. Throws YamlError. */
export function parseYaml(text: string): Yaml[] {
  if (text.includes('\t') && /^\s*\t/m.test(text)) throw new YamlError('a tab in the indentation');
  const documents = text.split(/^---(?:[ \t]+#.*)?\r?$/m);
  let before = 0;
  return documents.flatMap((document) => {
    const reader = new Reader(document, before);
    before += document.split('\n').length - 1;
    const value = reader.document();
    return value === undefined ? [] : [value];
  });
}

/** Deeper is not read: the reader calls itself. */
const MAX_DEPTH = 100;

class Reader {
  readonly #lines: readonly Line[];
  #at = 0;
  #depth = 0;

  constructor(document: string, before: number) {
    this.#lines = document.split('\n').map((raw, i) => {
      const line = raw.replace(/\r$/, '');
      const text = line.trimStart();
      return { number: before + i + 1, indent: line.length - text.length, text: withoutComment(text), raw: line };
    });
  }

  /** Undefined for one without anything in it. */
  document(): Yaml | undefined {
    const line = this.#peek();
    if (!line) return undefined;
    const value = this.#block(line.indent);
    const rest = this.#peek();
    if (rest) throw this.#error(rest, 'is indented as nothing above it is');
    return value;
  }

  #error(line: Line, why: string): YamlError {
    return new YamlError(`line ${line.number}: "${line.raw.trim()}" ${why}`);
  }

  /** The next line that is not blank. */
  #peek(): Line | undefined {
    while (this.#lines[this.#at]?.text === '') this.#at++;
    return this.#lines[this.#at];
  }

  #block(indent: number): Yaml {
    const line = this.#peek()!;
    if (++this.#depth > MAX_DEPTH) throw this.#error(line, 'is nested too deep');
    const value = isItem(line.text) ? this.#list(indent) : this.#mapOrScalar(indent);
    this.#depth--;
    return value;
  }

  #list(indent: number): Yaml[] {
    const list: Yaml[] = [];
    for (let line = this.#peek(); line?.indent === indent && isItem(line.text); line = this.#peek()) {
      const rest = line.text.slice(1).trimStart();
      if (rest === '') {
        this.#at++;
        list.push(this.#nested(indent + 1));
        continue;
      }
      // What stands behind the dash is a block of its own, at its column.
      const column = indent + line.text.length - rest.length;
      (this.#lines as Line[])[this.#at] = { ...line, indent: column, text: rest };
      list.push(this.#block(column));
    }
    return list;
  }

  #mapOrScalar(indent: number): Yaml {
    const line = this.#peek()!;
    if (!keyOf(line.text)) {
      this.#at++;
      return this.#value(line, line.text, indent - 1);
    }
    const map: { [key: string]: Yaml } = Object.create(null);
    for (let one = this.#peek(); one?.indent === indent && !isItem(one.text); one = this.#peek()) {
      const pair = keyOf(one.text);
      if (!pair) throw this.#error(one, 'is not KEY: VALUE');
      if (Object.hasOwn(map, pair.key)) throw this.#error(one, 'has a key that is there already');
      this.#at++;
      map[pair.key] = pair.rest === '' ? this.#nested(indent) : this.#value(one, pair.rest, indent);
    }
    return { ...map };
  }

  /** What follows a key or a dash that has nothing behind it. A list may stand at its key's own column. */
  #nested(indent: number): Yaml {
    const line = this.#peek();
    if (!line || line.indent < indent) return null;
    if (line.indent === indent && !isItem(line.text)) return null;
    return this.#block(line.indent);
  }

  /** `parent`: the column that a literal block has to be behind. */
  #value(line: Line, text: string, parent: number): Yaml {
    const header = /^([|>])([-+]?)$/.exec(text);
    if (header) return this.#literal(parent, header[1] === '>', header[2]!);
    if (/^[&*!%@`?]/.test(text)) throw this.#error(line, 'is YAML that is not read here');
    const value = scalar(text);
    if (value === undefined) throw this.#error(line, 'is not a value that is read here');
    return value;
  }

  #literal(parent: number, isFolded: boolean, chomp: string): string {
    const lines: string[] = [];
    let column: number | undefined;
    for (let line = this.#lines[this.#at]; line; line = this.#lines[++this.#at]) {
      if (line.raw.trim() === '') {
        lines.push('');
        continue;
      }
      const at = line.raw.length - line.raw.trimStart().length;
      column ??= at;
      if (at <= parent || at < column) break;
      lines.push(line.raw.slice(column));
    }
    while (lines.at(-1) === '') lines.pop();
    const text = lines.join(isFolded ? ' ' : '\n');
    return text === '' || chomp === '-' ? text : `${text}\n`;
  }
}

const isItem = (text: string): boolean => text === '-' || text.startsWith('- ');

function withoutComment(text: string): string {
  let quote = '';
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    if (quote !== '') {
      if (char === '\\' && quote === '"') i++;
      else if (char === quote) quote = '';
    } else if ((char === '"' || char === "'") && (i === 0 || /[\s[{,:]/.test(text[i - 1]!))) quote = char;
    else if (char === '#' && (i === 0 || /\s/.test(text[i - 1]!))) return text.slice(0, i).trimEnd();
  }
  return text.trimEnd();
}

function keyOf(text: string): { key: string; rest: string } | undefined {
  const match = /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s"'[\]{},&*!|>%@`#?-][^#]*?|-[^\s][^#]*?)\s*:(?:\s+(.*))?$/.exec(
    text,
  );
  if (!match) return undefined;
  const key = scalar(match[1]!);
  return { key: typeof key === 'string' ? key : match[1]!, rest: match[2] ?? '' };
}

/** A scalar or a flow collection; undefined for what is neither. */
function scalar(text: string): Yaml | undefined {
  if (text.startsWith("'")) return /^'(?:[^']|'')*'$/.test(text) ? text.slice(1, -1).replaceAll("''", "'") : undefined;
  if (/^["[{]/.test(text)) return fromJson(text) ?? plainFlow(text);
  if (/^[|>&*!%@`,\]}]/.test(text) || / #|: /.test(text)) return undefined;
  if (text === '~' || text === 'null') return null;
  if (text === 'true' || text === 'false') return text === 'true';
  if (/^-?(0|[1-9]\d*)$/.test(text)) return Number.isSafeInteger(Number(text)) ? Number(text) : text;
  return /^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/.test(text) ? Number(text) : text;
}

function fromJson(text: string): Yaml | undefined {
  try {
    return JSON.parse(text) as Yaml;
  } catch {
    return undefined;
  }
}

/** `[a, b]` of plain scalars. */
function plainFlow(text: string): Yaml | undefined {
  if (!/^\[[^[\]{}"']*\]$/.test(text)) return undefined;
  const items = text
    .slice(1, -1)
    .split(',')
    .map((item) => scalar(item.trim()));
  return items.every((item) => item !== undefined && item !== '') ? (items as Yaml[]) : undefined;
}
