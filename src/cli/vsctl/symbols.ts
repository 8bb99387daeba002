import { randomUUID } from 'node:crypto';
import type { NamedRows } from '../../ovsdb/text-format.ts';
import type { BaseType } from '../../ovsdb/type.ts';
import { CtlError } from './errors.ts';

interface CtlSymbol {
  uuid: string;
  isCreated: boolean;
  isReferenced: boolean;
  isWeaklyReferenced: boolean;
}

/** The names that `--id=@NAME` gives to rows within one run. */
export class Symbols implements NamedRows {
  readonly #symbols = new Map<string, CtlSymbol>();

  #get(name: string): CtlSymbol {
    let symbol = this.#symbols.get(name);
    if (!symbol) {
      symbol = { uuid: randomUUID(), isCreated: false, isReferenced: false, isWeaklyReferenced: false };
      this.#symbols.set(name, symbol);
    }
    return symbol;
  }

  refer(name: string, base: BaseType): string {
    const symbol = this.#get(name);
    if (base.refTable !== undefined) {
      if (base.refType === 'weak') symbol.isWeaklyReferenced = true;
      else symbol.isReferenced = true;
    }
    return symbol.uuid;
  }

  /** The uuid for a row that is made under `name`. `isRoot`: it stays without any reference to it. */
  create(name: string, isRoot: boolean): string {
    const symbol = this.#create(name);
    if (isRoot) symbol.isReferenced = true;
    return symbol.uuid;
  }

  /** Gives `name` to a row that exists. */
  define(name: string, uuid: string): void {
    const isKnown = this.#symbols.has(name);
    const symbol = this.#create(name);
    if (isKnown) throw new CtlError(`row id "${name}" specified on "get" command was used before it was defined`);
    symbol.uuid = uuid;
    symbol.isReferenced = true;
  }

  #create(name: string): CtlSymbol {
    if (!name.startsWith('@')) throw new CtlError(`row id "${name}" does not begin with "@"`);
    const symbol = this.#get(name);
    if (symbol.isCreated) throw new CtlError(`row id "${name}" may only be specified on one --id option`);
    symbol.isCreated = true;
    return symbol;
  }

  /** Throws CtlError for a name that nobody defined; warns of rows that nobody refers to. */
  check(warn: (text: string) => void): void {
    for (const [name, symbol] of this.#symbols) {
      if (!symbol.isCreated) {
        throw new CtlError(`row id "${name}" is referenced but never created (e.g. with "-- --id=${name} create ...")`);
      }
      if (symbol.isReferenced) continue;
      const why = symbol.isWeaklyReferenced
        ? 'only a weak reference to it was inserted'
        : 'no reference to it was inserted';
      warn(`row id "${name}" was created but ${why}, so it will not actually appear in the database`);
    }
  }
}
