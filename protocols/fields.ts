/** A match field; the full table follows. */
export interface MatchField {
  readonly name: string;
  readonly nBytes: number;
  readonly nBits: number;
}
