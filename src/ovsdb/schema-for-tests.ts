import type { Json } from './json.ts';

/** A schema for tests that has one of each kind of thing. */
export const TEST_SCHEMA: Json = {
  name: 'zoo',
  version: '1.0.0',
  tables: {
    Root: {
      isRoot: true,
      maxRows: 2,
      columns: {
        name: { type: 'string' },
        strong: { type: { key: { type: 'uuid', refTable: 'Leaf' }, min: 0, max: 'unlimited' } },
        by_number: { type: { key: 'integer', value: { type: 'uuid', refTable: 'Leaf' }, min: 0, max: 'unlimited' } },
        weak: { type: { key: { type: 'uuid', refTable: 'Leaf', refType: 'weak' }, min: 0, max: 'unlimited' } },
      },
    },
    Leaf: {
      columns: {
        name: { type: 'string' },
        next: { type: { key: { type: 'uuid', refTable: 'Leaf' }, min: 0, max: 1 } },
        status: { type: { key: 'string', value: 'string', min: 0, max: 'unlimited' }, ephemeral: true },
      },
    },
    Item: {
      isRoot: true,
      indexes: [['name'], ['number', 'flag']],
      columns: {
        name: { type: 'string' },
        number: { type: 'integer' },
        flag: { type: 'boolean' },
        tags: { type: { key: 'string', min: 0, max: 3 } },
        limits: { type: { key: { type: 'integer', minInteger: 0, maxInteger: 100 }, min: 0, max: 'unlimited' } },
        opts: { type: { key: 'string', value: 'string', min: 0, max: 'unlimited' } },
        fixed: { type: 'string', mutable: false },
        real: { type: 'real' },
        maybe: { type: { key: 'integer', min: 0, max: 1 } },
      },
    },
    Holder: {
      isRoot: true,
      columns: { needs: { type: { key: { type: 'uuid', refTable: 'Item', refType: 'weak' }, min: 1, max: 2 } } },
    },
  },
};
