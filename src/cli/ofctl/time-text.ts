/** Times as strftime(3) writes them, `#` for each digit of the fraction; UTC. */
export function timeText(format: string, whenMs: number): string {
  const iso = new Date(whenMs).toISOString();
  const parts: Readonly<Record<string, string>> = {
    '%Y': iso.slice(0, 4),
    '%m': iso.slice(5, 7),
    '%d': iso.slice(8, 10),
    '%H': iso.slice(11, 13),
    '%M': iso.slice(14, 16),
    '%S': iso.slice(17, 19),
    '###': iso.slice(20, 23),
  };
  return format.replace(/%[YmdHMS]|###/g, (part) => parts[part]);
}
