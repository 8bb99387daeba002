import { FlowTextError } from './field-text.ts';
import type { TlvMap } from './messages-nicira.ts';
import { scanNumber } from './number-text.ts';
import { P_NXM_OXM_ANY, type Protocols } from './protocol.ts';

/** Maps of tunnel options, `{class=0xffff,type=1,len=4}->tun_metadata0,…`. Throws FlowTextError. */

export const TLV_PROTOCOLS: Protocols = P_NXM_OXM_ANY;

const NUMBER = '([+-]?(?:0[xX][0-9a-fA-F]+|[0-9]+))';
const MAP = new RegExp(`^\\s*\\{class=${NUMBER},type=${NUMBER},len=${NUMBER}\\}->tun_metadata${NUMBER}`);

export function parseTlvMaps(s: string): TlvMap[] {
  const out: TlvMap[] = [];
  for (let rest = s; rest !== ''; ) {
    const m = MAP.exec(rest.replace(/^,/, ''));
    if (!m) throw new FlowTextError('invalid tlv mapping');
    const number = (i: number, mask: bigint) => Number((scanNumber(m[i])?.n ?? 0n) & mask);
    out.push({
      optionClass: number(1, 0xffffn),
      optionType: number(2, 0xffn),
      optionLen: number(3, 0xffn),
      index: number(4, 0xffffn),
    });
    rest = rest.replace(/^,/, '').slice(m[0].length);
  }
  return out;
}
