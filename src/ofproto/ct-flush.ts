import { vlogModule } from '../base/vlog.ts';
import type { CtMatch } from '../openflow/messages-nicira.ts';
import { formatCtMatch } from '../openflow/print/nicira.ts';

/** What a flush of connections says in the log; `match` undefined: all of the zone's, zone undefined: all. */

const log = vlogModule('ct_dpif');

const matchesAll = ({ ipProto, l3Type, orig, reply }: CtMatch): boolean =>
  !ipProto &&
  !l3Type &&
  [orig, reply].every((t) => !t.srcPort && !t.dstPort && [...t.src, ...t.dst].every((b) => b === 0));

export function logCtFlush(datapath: string, zone: number | undefined, match: CtMatch | undefined): void {
  log.dbg(() => {
    if (match && !matchesAll(match)) return `${datapath}: ct_flush: zone=${zone ?? 0} ${formatCtMatch(match)}`;
    return `${datapath}: ct_flush: ${zone === undefined ? '<all>' : `zone ${zone}`}`;
  });
}
