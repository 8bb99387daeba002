/** Line charts as SVG: both axes logarithmic, one line a series. Readable on a light and on a dark page. */

export interface Series {
  name: string;
  colour: string;
  dashed?: boolean;
  points: readonly { x: number; y: number; low?: number; high?: number }[];
}

export interface Chart {
  title: string;
  xLabel: string;
  yLabel: string;
  xScale: 'log' | 'linear';
  yScale: 'log' | 'linear';
  series: readonly Series[];
  /** Text of a value on the x axis; ticks stand at the points. */
  xText: (x: number) => string;
}

const WIDTH = 720;
const HEIGHT = 400;
const LEFT = 70;
const RIGHT = 24;
const TOP = 56;
const BOTTOM = 56;

const escapeXml = (text: string) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
const round = (n: number) => String(Math.round(n * 10) / 10);

type Axis = (value: number) => number;

/** Maps `from`..`to` onto pixels. */
function axis(kind: Chart['xScale'], from: number, to: number, start: number, end: number): Axis {
  const f = kind === 'log' ? Math.log10 : (n: number) => n;
  const width = f(to) - f(from) || 1;
  return (value) => start + ((f(value) - f(from)) / width) * (end - start);
}

/** Marks of the y axis: 1, 2 and 5 times powers of ten, or about five even steps. */
export function ticks(kind: Chart['yScale'], from: number, to: number): number[] {
  if (kind === 'linear') {
    const raw = (to - from) / 5;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw) as number;
    const first = Math.ceil(from / step);
    return Array.from({ length: Math.floor(to / step) - first + 1 }, (_, i) => (first + i) * step);
  }
  const marks: number[] = [];
  for (let power = Math.floor(Math.log10(from)); power <= Math.ceil(Math.log10(to)); power += 1) {
    for (const n of [1, 2, 5]) {
      const mark = n * 10 ** power;
      if (mark >= from * 0.999 && mark <= to * 1.001) marks.push(mark);
    }
  }
  return marks;
}

function bounds({ series, yScale }: Chart): { x: [number, number]; y: [number, number] } {
  const points = series.flatMap((one) => one.points);
  const xs = points.map((point) => point.x);
  const lows = points.map((point) => point.low ?? point.y);
  const highs = points.map((point) => point.high ?? point.y);
  const bottom = yScale === 'log' ? Math.min(...lows) / 1.3 : 0;
  return { x: [Math.min(...xs), Math.max(...xs)], y: [bottom, Math.max(...highs) * (yScale === 'log' ? 1.3 : 1.1)] };
}

const text = (x: number, y: number, words: string, more = '') =>
  `<text x="${round(x)}" y="${round(y)}" ${more}>${escapeXml(words)}</text>`;

function grid(chart: Chart, x: Axis, y: Axis, yRange: [number, number]): string[] {
  const right = WIDTH - RIGHT;
  const bottom = HEIGHT - BOTTOM;
  const xs = [...new Set(chart.series.flatMap((one) => one.points.map((point) => point.x)))];
  return [
    ...ticks(chart.yScale, ...yRange).flatMap((mark) => [
      `<line x1="${LEFT}" x2="${right}" y1="${round(y(mark))}" y2="${round(y(mark))}" class="grid"/>`,
      text(LEFT - 8, y(mark) + 4, String(Number(mark.toPrecision(6))), 'text-anchor="end"'),
    ]),
    ...xs.map((mark) => text(x(mark), bottom + 20, chart.xText(mark), 'text-anchor="middle"')),
    `<path d="M${LEFT} ${TOP}V${bottom}H${right}" class="axis"/>`,
    text((LEFT + right) / 2, HEIGHT - 12, chart.xLabel, 'text-anchor="middle"'),
    text(18, (TOP + bottom) / 2, chart.yLabel, `text-anchor="middle" transform="rotate(-90 18 ${(TOP + bottom) / 2})"`),
  ];
}

function line(one: Series, x: Axis, y: Axis): string[] {
  const points = one.points.toSorted((a, b) => a.x - b.x);
  const path = points.map((point) => `${round(x(point.x))} ${round(y(point.y))}`).join('L');
  const dash = one.dashed ? ' stroke-dasharray="5 4"' : '';
  const spread = points
    .filter((point) => point.low !== undefined && point.high !== undefined)
    .map(
      (point) =>
        `<path d="M${round(x(point.x))} ${round(y(point.low!))}V${round(y(point.high!))}" stroke="${one.colour}"/>`,
    );
  const dots = points.map(
    (point) => `<circle cx="${round(x(point.x))}" cy="${round(y(point.y))}" r="3.5" fill="${one.colour}"/>`,
  );
  return [`<path d="M${path}" fill="none" stroke="${one.colour}" stroke-width="2"${dash}/>`, ...spread, ...dots];
}

function legend(series: readonly Series[]): string[] {
  let at = LEFT;
  return series.flatMap((one) => {
    const x = at;
    at += 38 + one.name.length * 7;
    const dash = one.dashed ? ' stroke-dasharray="5 4"' : '';
    return [
      `<line x1="${x}" x2="${x + 22}" y1="40" y2="40" stroke="${one.colour}" stroke-width="2"${dash}/>`,
      text(x + 28, 44, one.name),
    ];
  });
}

/** Throws when there is no point: an empty picture would look like a result. */
export function drawChart(chart: Chart): string {
  if (!chart.series.some((one) => one.points.length > 0)) throw new Error(`${chart.title}: nothing to draw`);
  const range = bounds(chart);
  const x = axis(chart.xScale, ...range.x, LEFT + 20, WIDTH - RIGHT - 20);
  const y = axis(chart.yScale, ...range.y, HEIGHT - BOTTOM, TOP);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeXml(chart.title)}">`,
    '<style>text{font:12px sans-serif;fill:#666}.t{font-weight:bold;font-size:14px}.grid{stroke:#8884}.axis{fill:none;stroke:#888}</style>',
    text(LEFT, 22, chart.title, 'class="t"'),
    ...legend(chart.series),
    ...grid(chart, x, y, range.y),
    ...chart.series.flatMap((one) => line(one, x, y)),
    '</svg>',
    '',
  ].join('\n');
}
