import type { UnixctlRegistry } from '../base/unixctl.ts';
import { UnixctlError } from '../base/unixctl-registry.ts';
import type { ExcludedTables } from './replication.ts';
import { excludedTablesToString, parseExcludedTables, REPLICATION_PROBE_MS, Replication } from './replication.ts';
import type { OvsdbServer } from './server.ts';
import type { TlsConfig } from './tls.ts';

export interface BackupSettings {
  /** The active server: `--sync-from`. */
  readonly syncFrom?: string | undefined;
  /** `--sync-exclude-tables`. */
  readonly excluded?: ExcludedTables;
  /** `--active`: be active although `syncFrom` is set. */
  readonly isActive?: boolean;
  readonly tls?: TlsConfig;
}

/** Whether a server is active or the backup of another. A backup's clients may only read. */
export class BackupMode {
  private readonly server: OvsdbServer;
  private readonly tls: TlsConfig;
  private syncFrom: string | undefined;
  private excluded: ExcludedTables;
  private probeIntervalMs = REPLICATION_PROBE_MS;
  private replication: Replication | undefined;

  constructor(server: OvsdbServer, settings: BackupSettings) {
    this.server = server;
    this.syncFrom = settings.syncFrom;
    this.excluded = settings.excluded ?? new Map();
    this.tls = settings.tls ?? {};
  }

  get isBackup(): boolean {
    return this.replication !== undefined;
  }

  /** Becomes the backup of the configured server; over again if it is that already. */
  connect(): void {
    if (this.syncFrom === undefined) return;
    this.replication?.stop();
    this.replication = new Replication(this.server, {
      remote: this.syncFrom,
      excluded: this.excluded,
      probeIntervalMs: this.probeIntervalMs,
      tls: this.tls,
      failed: () => this.disconnect(),
    });
    this.server.setReadOnly(true);
    this.replication.start();
  }

  /** Becomes active. */
  disconnect(): void {
    this.replication?.stop();
    this.replication = undefined;
    this.server.setReadOnly(false);
  }

  status(): string {
    return this.replication ? `state: backup\n${this.replication.status()}` : 'state: active\n';
  }

  /** Registers the replication commands of ovsdb-server(1). */
  registerCommands(unixctl: UnixctlRegistry): void {
    unixctl.register('ovsdb-server/sync-status', '', 0, 0, () => this.status());
    unixctl.register('ovsdb-server/get-active-ovsdb-server', '', 0, 0, () => this.syncFrom ?? '');
    unixctl.register('ovsdb-server/set-active-ovsdb-server', '', 1, 1, ([remote]) => {
      this.syncFrom = remote;
      return '';
    });
    unixctl.register('ovsdb-server/connect-active-ovsdb-server', '', 0, 0, () => {
      if (this.syncFrom === undefined) return 'Unable to connect: active server is not specified.\n';
      this.connect();
      return '';
    });
    unixctl.register('ovsdb-server/disconnect-active-ovsdb-server', '', 0, 0, () => {
      this.disconnect();
      return '';
    });
    unixctl.register('ovsdb-server/set-active-ovsdb-server-probe-interval', '', 1, 1, ([ms]) => this.setProbe(ms!));
    unixctl.register('ovsdb-server/get-sync-exclude-tables', '', 0, 0, () => excludedTablesToString(this.excluded));
    unixctl.register('ovsdb-server/set-sync-exclude-tables', '', 1, 1, ([tables]) => this.setExcluded(tables!));
  }

  private setProbe(ms: string): string {
    if (!/^\d+$/.test(ms)) return 'Invalid probe interval, integer value expected';
    this.probeIntervalMs = Number(ms);
    this.replication?.setProbeInterval(this.probeIntervalMs);
    return '';
  }

  private setExcluded(tables: string): string {
    const excluded = parseExcludedTables(tables);
    if (typeof excluded === 'string') throw new UnixctlError(excluded);
    this.excluded = excluded;
    if (this.isBackup) this.connect();
    return '';
  }
}
