/** The `key=value,key(value),key:value` lists of ovs-ofctl. */

export interface KeyValue {
  key: string;
  /** '' when there is none. */
  value: string;
}

const SPACE = ', \t\r\n';
const KEY_END = /[:=(, \t\r\n]/g;

/** Where the value that starts at `i` ends: at one of `delimiters` outside parentheses. */
function endOfValue(s: string, i: number, delimiters: string): number {
  let depth = 0;
  for (; i < s.length; i++) {
    const c = s[i];
    if (depth === 0 && delimiters.includes(c)) return i;
    if (c === '(') depth++;
    else if (c === ')' && depth > 0) depth--;
  }
  return i;
}

/** Splits a list. A value in parentheses comes without them; followed by `->`, with the second one and what follows. */
export function parseKeyValues(s: string): KeyValue[] {
  const out: KeyValue[] = [];
  let i = 0;
  for (;;) {
    while (i < s.length && SPACE.includes(s[i])) i++;
    if (i >= s.length) return out;
    KEY_END.lastIndex = i;
    const at = KEY_END.exec(s)?.index ?? s.length;
    const key = s.slice(i, at);
    const delimiter = s[at];
    i = at + 1;
    let end = at;
    if (delimiter === ':' || delimiter === '=') end = endOfValue(s, i, SPACE);
    else if (delimiter === '(') {
      end = endOfValue(s, i, ')');
      if (s.startsWith(')->', end)) end = endOfValue(s, end, SPACE);
    } else {
      out.push({ key, value: '' });
      continue;
    }
    out.push({ key, value: s.slice(i, end) });
    i = end + 1;
  }
}
