import type { JsonObject } from './json.ts';

/** The `_Server` database (ovsdb-server(5)): which databases a server has. It is never written to a file. */
export const SERVER_SCHEMA: JsonObject = {
  name: '_Server',
  version: '1.2.0',
  tables: {
    Database: {
      isRoot: true,
      columns: {
        name: { type: 'string' },
        model: { type: { key: { type: 'string', enum: ['set', ['standalone', 'clustered', 'relay']] } } },
        connected: { type: 'boolean' },
        leader: { type: 'boolean' },
        schema: { type: { key: 'string', min: 0, max: 1 } },
        cid: { type: { key: 'uuid', min: 0, max: 1 } },
        sid: { type: { key: 'uuid', min: 0, max: 1 } },
        index: { type: { key: 'integer', min: 0, max: 1 } },
      },
    },
  },
};
