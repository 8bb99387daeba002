import type { TlsConfig } from './tls.ts';

export interface EmbeddedOptions {
  /** The database file; made from the Open_vSwitch schema when it is missing, brought to it when it is older. */
  readonly dbPath: string;
  /** Connection methods and `db:…`, as `--remote` of ovsdb-server(1). */
  readonly remotes: readonly string[];
  readonly tls?: TlsConfig;
}

/** What the worker says. */
export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly message: string }
  | {
      readonly kind: 'log';
      readonly level: 'dbg' | 'info' | 'warn' | 'err';
      readonly module: string;
      readonly message: string;
    }
  | { readonly kind: 'result'; readonly id: number; readonly success: boolean; readonly text: string }
  | { readonly kind: 'stopped' };

/** What the worker is told. */
export type ToWorker =
  | { readonly kind: 'command'; readonly id: number; readonly name: string; readonly args: readonly string[] }
  | { readonly kind: 'stop' };
