/** The `key=value,key(value),key:value` lists of ovs-ofctl. */

export interface KeyValue {
  key: string;
  /** '' when there is none. */
  value: string;
}

const SPACE = ', \t\r\n';

/** Where the value that starts at `i` ends; parentheses (and brackets of a field) hide separators. */
function endOfValue(s: string, i: number): number {
  let depth = 0;
  for (; i < s.length; i++) {
    const c = s[i];
    if (c === '(') depth++;
    else if (c === ')') {
      if (depth === 0) return i;
      depth--;
    } else if (depth === 0 && SPACE.includes(c)) return i;
  }
  return i;
}

function closing(s: string, open: number): number {
  let depth = 0;
  for (let i = open; i < s.length; i++) {
    if (s[i] === '(') depth++;
    else if (s[i] === ')' && --depth === 0) return i;
  }
  return s.length;
}

/** Splits a list. A value in parentheses comes without them; what follows them directly (`->dst`) is appended. */
export function parseKeyValues(s: string): KeyValue[] {
  const out: KeyValue[] = [];
  let i = 0;
  while (i < s.length) {
    if (SPACE.includes(s[i])) {
      i++;
      continue;
    }
    const start = i;
    while (i < s.length && !`:=(${SPACE}`.includes(s[i])) i++;
    const key = s.slice(start, i);
    if (s[i] === ':' || s[i] === '=') {
      const end = endOfValue(s, i + 1);
      out.push({ key, value: s.slice(i + 1, end) });
      i = end + 1;
    } else if (s[i] === '(') {
      const end = closing(s, i);
      const tail = endOfValue(s, end + 1);
      out.push({ key, value: s.slice(i + 1, end) + s.slice(end + 1, tail) });
      i = tail + 1;
    } else {
      out.push({ key, value: '' });
      i++;
    }
  }
  return out;
}
