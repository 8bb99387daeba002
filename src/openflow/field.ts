import type { MatchField } from '../../protocols/fields.ts';

/** A set of match fields. */
export type FieldSet = ReadonlySet<MatchField>;
