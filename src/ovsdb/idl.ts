import { IdlClient } from './idl-client.ts';
import type { Idl, IdlOptions } from './idl-types.ts';

export type * from './idl-types.ts';

/** Makes a client; nothing is connected before `start()`. See idl-types.ts for all that it does. */
export function createIdl(options: IdlOptions): Idl {
  return new IdlClient(options);
}
