import type { MirrorConfig } from '../ofproto/config.ts';
import type { IdlRow, IdlSnapshot } from '../ovsdb/idl.ts';
import { number, numbers, set, text } from './config-values.ts';
import type { Complaint, WantedPort } from './wanted.ts';

/** The Mirror table. Pure. */

/** The mirrors of a bridge with these ports; those without a usable output are left out and complained about. */
export function readMirrors(
  snapshot: IdlSnapshot,
  bridge: IdlRow,
  ports: ReadonlyMap<string, WantedPort>,
  complaints: Complaint[],
): MirrorConfig[] {
  const mirrors: MirrorConfig[] = [];
  for (const uuid of set(bridge.mirrors)) {
    const row = snapshot.get('Mirror', uuid);
    const mirror = row && readMirror(snapshot, row, text(bridge.name), ports, complaints);
    if (mirror) mirrors.push(mirror);
  }
  return mirrors;
}

function readMirror(
  snapshot: IdlSnapshot,
  row: IdlRow,
  bridge: string,
  ports: ReadonlyMap<string, WantedPort>,
  complaints: Complaint[],
): MirrorConfig | undefined {
  const name = text(row.name);
  const complain = (level: 'warn' | 'err', what: string) =>
    complaints.push({ module: 'bridge', level, text: `bridge ${bridge}: mirror ${name} ${what}` });
  const portNames = (value: IdlRow[string]) => set(value).map((uuid) => text(snapshot.get('Port', uuid)?.name));
  const [outPort] = portNames(row.output_port);
  const outVlan = number(row.output_vlan);
  if (outPort !== undefined && !ports.has(outPort)) {
    complain('err', 'outputs to port not on bridge');
    return undefined;
  }
  if (outPort !== undefined && outVlan !== undefined)
    complain('err', 'specifies both output port and output vlan; ignoring output vlan');
  if (outPort === undefined && outVlan === undefined) {
    complain('err', 'does not specify output; ignoring');
    return undefined;
  }
  const select = (value: IdlRow[string]) => {
    if (row.select_all === true) return [...ports.keys()];
    return portNames(value).filter((port) => {
      if (!ports.has(port)) complain('warn', `cannot match on nonexistent port ${port}`);
      return ports.has(port);
    });
  };
  const vlans = numbers(row.select_vlan);
  return {
    id: row._uuid,
    name,
    srcs: select(row.select_src_port),
    dsts: select(row.select_dst_port),
    vlans: vlans.length ? vlans : undefined,
    outPort,
    outVlan: outPort === undefined ? outVlan : undefined,
    snaplen: number(row.snaplen) ?? 0,
  };
}
