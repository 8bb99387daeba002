import type { Json } from './json.ts';

/** Where the transactions of a database last. */
export interface DatabaseLog {
  /** What the file is called in messages. */
  readonly name: string;
  /** Every transaction must be on the disk before it is answered. */
  readonly isAlwaysDurable: boolean;
  /** Worth compacting. */
  readonly hasGrownALot: boolean;
  /** Writes the record of a transaction; `id` is the transaction's. Throws OvsdbError, and the file is as before. */
  append(record: Json, id: string): void;
  /** Resolves when all that was appended so far is on the disk. Rejects with an OvsdbError. */
  sync(): Promise<void>;
  /** Begins anew with a schema and a record that makes the whole content. Throws OvsdbError. */
  replaceAll(schema: Json, content: Json): void;
  close(): void;
}
