/** RFC 7047's <atom>. An integer is a number while that is exact and a bigint beyond; a uuid is its lowercase text. Two atoms of one
 *  type are equal when `===` says so. */
export type Atom = number | bigint | boolean | string;
export type AtomicType = 'integer' | 'real' | 'boolean' | 'string' | 'uuid';

/** RFC 7047's <base-type>: an atomic type and its constraints. A bound that is not there is undefined. */
export interface BaseType {
  readonly type: AtomicType;
  /** Sorted. */
  readonly enum?: readonly Atom[];
  readonly min?: number | bigint;
  readonly max?: number | bigint;
  /** In Unicode characters. */
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly refTable?: string;
  readonly refType?: 'strong' | 'weak';
}

/** RFC 7047's <type>. */
export interface ColumnType {
  readonly key: BaseType;
  /** Null: a set. */
  readonly value: BaseType | null;
  readonly min: 0 | 1;
  /** Infinity: unlimited. */
  readonly max: number;
}

/** Two or more members are possible. */
export function isComposite(type: ColumnType): boolean {
  return type.max > 1;
}

/** Exactly one atom. */
export function isScalar(type: ColumnType): boolean {
  return type.value === null && type.min === 1 && type.max === 1;
}

export function isOptionalScalar(type: ColumnType): boolean {
  return type.value === null && type.min === 0 && type.max === 1;
}

export function isMap(type: ColumnType): boolean {
  return type.value !== null;
}

/** A set that can hold other than exactly one atom. */
export function isSet(type: ColumnType): boolean {
  return type.value === null && (type.min !== 1 || type.max !== 1);
}

export function isStrongRef(base: BaseType | null): boolean {
  return base?.refTable !== undefined && base.refType === 'strong';
}

export function isWeakRef(base: BaseType | null): boolean {
  return base?.refTable !== undefined && base.refType === 'weak';
}

/** The type with no constraint but its atomic types. */
export function unconstrained(type: ColumnType): ColumnType {
  return { key: { type: type.key.type }, value: type.value && { type: type.value.type }, min: 0, max: Infinity };
}

/** `set of up to 3 integers`, for messages. */
export function typeToEnglish(type: ColumnType): string {
  if (isScalar(type)) return type.key.type;
  const kind = type.value ? 'map' : 'set';
  const count = countToEnglish(type);
  return `${kind}${count} ${type.value ? `(${type.key.type}, ${type.value.type}) pairs` : `${type.key.type}s`}`;
}

function countToEnglish({ min, max }: ColumnType): string {
  if (max === Infinity) return min ? ` of ${min} or more` : ' of';
  return min ? ` of ${min} to ${max}` : ` of up to ${max}`;
}
