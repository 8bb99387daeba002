import type { OvsdbError } from './error.ts';
import { syntaxError } from './error.ts';
import type { Json, JsonObject } from './json.ts';
import { isArray, isInteger, isObject } from './json.ts';

/** RFC 7047's <id>. */
export function isId(text: string): boolean {
  return /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(text);
}

/** Kinds of JSON that a member may be. `number` takes integers too. */
export type Kind = 'object' | 'array' | 'string' | 'id' | 'boolean' | 'integer' | 'number' | 'any';

function isKind(json: Json, kind: Kind): boolean {
  switch (kind) {
    case 'object':
      return isObject(json);
    case 'array':
      return isArray(json);
    case 'string':
      return typeof json === 'string';
    case 'id':
      return typeof json === 'string' && isId(json);
    case 'boolean':
      return typeof json === 'boolean';
    case 'integer':
      return isInteger(json);
    case 'number':
      return typeof json === 'number' || typeof json === 'bigint';
    case 'any':
      return true;
  }
}

/** Takes the members of an object one by one, then complains about those that nobody took. Each refusal is an OvsdbError that
 *  quotes the whole object. */
export class MemberParser {
  readonly json: JsonObject;
  private readonly name: string;
  private readonly used = new Set<string>();
  private firstRefusal: OvsdbError | undefined;

  /** `name` is what the object is, for messages: `Parsing <name> failed: …`. */
  constructor(json: Json | undefined, name: string) {
    this.name = name;
    if (!isObject(json)) throw syntaxError(undefined, `Parsing ${name} failed: Object expected.`);
    this.json = json;
  }

  /** An error to throw. `finish` repeats the first one, so that it prevails over whatever was found after it. */
  refusal(message: string): OvsdbError {
    this.firstRefusal ??= syntaxError(this.json, `Parsing ${this.name} failed: ${message}`);
    return this.firstRefusal;
  }

  required(member: string, ...kinds: readonly Kind[]): Json {
    const value = this.optional(member, ...kinds);
    if (value === undefined) throw this.refusal(`Required '${member}' member is missing.`);
    return value;
  }

  optional(member: string, ...kinds: readonly Kind[]): Json | undefined {
    if (!Object.hasOwn(this.json, member)) return undefined;
    const value = this.json[member]!;
    if (!kinds.some((kind) => isKind(value, kind))) throw this.refusal(`Type mismatch for member '${member}'.`);
    this.used.add(member);
    return value;
  }

  finish(): void {
    if (this.firstRefusal) throw this.firstRefusal;
    const unused = Object.keys(this.json).filter((member) => !this.used.has(member));
    if (unused.length === 0) return;
    const others = unused.length - 1;
    const rest = others === 0 ? ' is' : ` and ${others} other member${others > 1 ? 's' : ''} are`;
    throw this.refusal(`Member '${unused[0]}'${rest} present but not allowed here.`);
  }
}
