import type { IdlRow } from '../../ovsdb/idl.ts';
import type { Step } from '../attach/steps.ts';
import type { SwitchDb } from '../attach/switch-db.ts';
import { SwitchRefusal } from '../attach/switch-db.ts';
import type { MirrorConfig } from './config.ts';

/** Mirrors that pods send into or take out of. They are made when the first pod names them, and go with the last. */

/** In Mirror.external_ids: only mirrors that were made here go by themselves. */
const OWNER = 'turnout-cni';

const uuids = (value: IdlRow[string] | undefined): readonly string[] =>
  typeof value === 'string' ? [value] : Array.isArray(value) ? (value as string[]) : [];

export function mirrorSteps(db: SwitchDb, bridge: string, port: string, mirrors: readonly MirrorConfig[]): Step[] {
  return mirrors.map((mirror) => ({
    what: `mirror ${mirror.name}`,
    apply: () => joinMirror(db, bridge, port, mirror),
    undo: () => leaveMirror(db, port, mirror),
  }));
}

async function joinMirror(db: SwitchDb, bridge: string, port: string, mirror: MirrorConfig): Promise<void> {
  await db.change((txn, snapshot) => {
    const record = db.port(port);
    const bridgeRow = [...snapshot.table('Bridge').values()].find((row) => row.name === bridge);
    if (!record || !bridgeRow) throw new SwitchRefusal(`port ${port} is not on bridge ${bridge} any more`);
    const found = uuids(bridgeRow.mirrors)
      .map((uuid) => snapshot.get('Mirror', uuid))
      .find((row) => row?.name === mirror.name);
    const [output] = uuids(found?.output_port);
    if (mirror.output && output !== undefined && output !== record.uuid) {
      throw new SwitchRefusal(`mirror ${mirror.name} of bridge ${bridge} has another output port`);
    }
    const columns = {
      ...(mirror.ingress && { select_src_port: [...uuids(found?.select_src_port), record.uuid] }),
      ...(mirror.egress && { select_dst_port: [...uuids(found?.select_dst_port), record.uuid] }),
      ...(mirror.output && { output_port: record.uuid }),
    };
    if (found) txn.update('Mirror', found._uuid, columns);
    else {
      const made = txn.insert('Mirror', { name: mirror.name, external_ids: { owner: OWNER }, ...columns });
      txn.mutate('Bridge', bridgeRow._uuid, 'mirrors', 'insert', [made]);
    }
    return true;
  });
}

async function leaveMirror(db: SwitchDb, port: string, mirror: MirrorConfig): Promise<void> {
  await db.change((txn, snapshot) => {
    const record = db.port(port);
    const found = [...snapshot.table('Mirror').values()].find((row) => row.name === mirror.name);
    if (!record || !found) return false;
    for (const column of ['select_src_port', 'select_dst_port', 'output_port']) {
      if (uuids(found[column]).includes(record.uuid))
        txn.mutate('Mirror', found._uuid, column, 'delete', [record.uuid]);
    }
    return true;
  });
  await removeEmptyMirrors(db);
}

/** References to a port go with it; a mirror that was made here and has none left goes too. */
export async function removeEmptyMirrors(db: SwitchDb): Promise<void> {
  await db.change((txn, snapshot) => {
    let n = 0;
    for (const bridge of snapshot.table('Bridge').values()) {
      const empty = uuids(bridge.mirrors).filter((uuid) => isEmpty(snapshot.get('Mirror', uuid)));
      if (empty.length > 0) txn.mutate('Bridge', bridge._uuid, 'mirrors', 'delete', empty);
      n += empty.length;
    }
    return n > 0;
  });
}

function isEmpty(row: IdlRow | undefined): boolean {
  if (!(row?.external_ids instanceof Map) || row.external_ids.get('owner') !== OWNER) return false;
  return ['select_src_port', 'select_dst_port', 'output_port'].every((column) => uuids(row[column]).length === 0);
}

export async function leaveMirrors(db: SwitchDb, port: string, mirrors: readonly MirrorConfig[]): Promise<void> {
  for (const mirror of mirrors) await leaveMirror(db, port, mirror);
}

/** Whether a port still has its part in a mirror. */
export function isInMirror(db: SwitchDb, port: string, mirror: MirrorConfig): boolean {
  const uuid = db.port(port)?.uuid ?? '';
  const row = [...db.snapshot.table('Mirror').values()].find((one) => one.name === mirror.name);
  const has = (column: string) => uuids(row?.[column]).includes(uuid);
  return (
    (!mirror.ingress || has('select_src_port')) &&
    (!mirror.egress || has('select_dst_port')) &&
    (!mirror.output || has('output_port'))
  );
}
