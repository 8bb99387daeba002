import { strerror } from '../base/errno.ts';
import type { Json } from './json.ts';
import { sortedText } from './json.ts';

/** A refusal in the words of OVSDB: RFC 7047's <error>, with Open vSwitch's extensions `syntax` and `io-error`.
 *
 *  The parsers and the executor throw it; whoever runs an operation for a client catches it and answers with `toJson()`. Anything else that
 *  is thrown is a defect. */
export class OvsdbError extends Error {
  readonly tag: string;
  readonly details: string;
  readonly syntax: string | undefined;
  readonly ioError: string | undefined;

  constructor(tag: string, details: string, more: { syntax?: string | undefined; ioError?: string | undefined } = {}) {
    super(details);
    this.tag = tag;
    this.details = details;
    this.syntax = more.syntax;
    this.ioError = more.ioError;
  }

  toJson(): Json {
    const json: { [key: string]: Json } = { error: this.tag, details: this.details };
    if (this.syntax !== undefined) json.syntax = this.syntax;
    if (this.ioError !== undefined) json['io-error'] = this.ioError;
    return json;
  }

  /** One line, as Open vSwitch's programs print it. */
  override toString(): string {
    const syntax = this.syntax === undefined ? '' : `syntax "${this.syntax}": `;
    const io = this.ioError === undefined ? '' : ` (${this.ioError})`;
    return `${syntax}${this.tag}: ${this.details}${io}`;
  }

  /** The same error with `context: ` before its details. */
  within(context: string): OvsdbError {
    return new OvsdbError(this.tag, `${context}: ${this.details}`, { syntax: this.syntax, ioError: this.ioError });
  }
}

/** An error about a piece of JSON, which is quoted in it. `json` undefined: nothing is quoted. */
export function syntaxError(json: Json | undefined, details: string, tag = 'syntax error'): OvsdbError {
  return new OvsdbError(tag, details, json === undefined ? {} : { syntax: sortedText(json) });
}

/** An error without a tag of its own. */
export function plainError(details: string): OvsdbError {
  return new OvsdbError('ovsdb error', details);
}

export function constraintViolation(details: string): OvsdbError {
  return new OvsdbError('constraint violation', details);
}

export function ioError(error: unknown, details: string): OvsdbError {
  return new OvsdbError('I/O error', details, { ioError: strerror(error) });
}
