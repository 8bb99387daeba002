import { hostname } from 'node:os';
import { programName } from './program.ts';

/** One message on its way to a destination. */
export interface VlogRecord {
  module: string;
  level: string;
  /** syslog's number of the level, 0–7. */
  severity: number;
  /** syslog's facility, shifted. */
  facility: number;
  message: string;
  /** Position in this process's log, from 1. */
  number: number;
  wallMs: number;
  /** Name of the thread, empty for the main one. */
  thread: string;
}

const CONVERSION = /%(-?)(0?)(\d*)([\s\S])/g;
const DEFAULT_TIME = '%Y-%m-%d %H:%M:%S.###';

/** Formats a record by a pattern of ovs-appctl(8) `vlog/set PATTERN:…`. */
export function formatRecord(pattern: string, record: VlogRecord): string {
  let out = '';
  let at = 0;
  CONVERSION.lastIndex = 0;
  for (let m = CONVERSION.exec(pattern); m; m = CONVERSION.exec(pattern)) {
    out += pattern.slice(at, m.index);
    at = CONVERSION.lastIndex;
    let argument: string | undefined;
    if ('cDd'.includes(m[4]!) && pattern[at] === '{') {
      const end = pattern.indexOf('}', at);
      argument = pattern.slice(at + 1, end < 0 ? undefined : end);
      at = end < 0 ? pattern.length : end + 1;
    }
    out += justify(expand(m[4]!, argument, record), m[1] === '-', m[2] === '0', Number(m[3] || 0));
    CONVERSION.lastIndex = at;
  }
  return out + pattern.slice(at);
}

function justify(text: string, left: boolean, zero: boolean, width: number): string {
  const pad = zero ? '0' : ' ';
  return left ? text.padEnd(width, pad) : text.padStart(width, pad);
}

function expand(conversion: string, argument: string | undefined, r: VlogRecord): string {
  switch (conversion) {
    case 'A':
      return programName();
    case 'B':
      return String(r.facility + r.severity);
    case 'c':
      return r.module;
    case 'd':
      return formatTime(argument ?? DEFAULT_TIME, new Date(r.wallMs), false);
    case 'D':
      return formatTime(argument ?? DEFAULT_TIME, new Date(r.wallMs), true);
    case 'E':
      return hostname();
    case 'm':
      return r.message.replace(/\n+$/, '');
    case 'n':
      return '\n';
    case 'N':
      return String(r.number);
    case 'p':
      return r.level;
    case 'P':
      return String(process.pid);
    case 'r':
      return String(Math.trunc(performance.now()));
    case 't':
      return r.thread || 'main';
    case 'T':
      return r.thread ? `(${r.thread})` : '';
    default:
      return conversion;
  }
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** strftime(3), the conversions that log patterns use, and `###` for milliseconds. */
export function formatTime(format: string, date: Date, utc: boolean): string {
  const d = utc ? date : new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  const two = (n: number, pad = '0') => String(n).padStart(2, pad);
  const fields: Record<string, string> = {
    Y: String(d.getUTCFullYear()),
    m: two(d.getUTCMonth() + 1),
    d: two(d.getUTCDate()),
    e: two(d.getUTCDate(), ' '),
    H: two(d.getUTCHours()),
    M: two(d.getUTCMinutes()),
    S: two(d.getUTCSeconds()),
    a: DAYS[d.getUTCDay()]!,
    b: MONTHS[d.getUTCMonth()]!,
    h: MONTHS[d.getUTCMonth()]!,
    y: two(d.getUTCFullYear() % 100),
    s: String(Math.floor(date.getTime() / 1000)),
    n: '\n',
    '%': '%',
  };
  fields.T = `${fields.H}:${fields.M}:${fields.S}`;
  fields.F = `${fields.Y}-${fields.m}-${fields.d}`;
  return format
    .replace(/%([\s\S])/g, (all, c: string) => fields[c] ?? all)
    .replace('###', String(d.getUTCMilliseconds()).padStart(3, '0'));
}
