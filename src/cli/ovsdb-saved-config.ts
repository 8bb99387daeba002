import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ovsRundir } from '../base/dirs.ts';

/** What `ovsdb-server/add-remote` and the like have changed. */
export interface SavedConfig {
  readonly remotes: readonly string[];
  /** Database files: where they are, and what they are called. */
  readonly files: readonly (readonly [path: string, name: string])[];
}

const PATH_ENV = 'TURNOUT_OVSDB_SAVED_CONFIG';

/** With --monitor a daemon that has crashed is started again with the same arguments; what was changed while it ran comes from a file
 *  whose name its processes hand down. To be called in each of them. */
export function chooseSavedConfigPath(): void {
  process.env[PATH_ENV] ??= join(ovsRundir(), `.ovsdb-server.${process.pid}.config`);
}

/** The configuration of the daemon that ran before this one, if one did. */
export function loadSavedConfig(): SavedConfig | undefined {
  try {
    return JSON.parse(readFileSync(process.env[PATH_ENV]!, 'utf8')) as SavedConfig;
  } catch {
    return undefined;
  }
}

export function saveConfig(config: SavedConfig): void {
  writeFileSync(process.env[PATH_ENV]!, JSON.stringify(config), { mode: 0o600 });
}

/** At an orderly end, after which nothing is started again. */
export function dropSavedConfig(): void {
  rmSync(process.env[PATH_ENV]!, { force: true });
}
