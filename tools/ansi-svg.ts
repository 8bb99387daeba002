/**
 * Draws what a program left on the terminal as an SVG: `script -qec 'turnout demo' out.txt; node tools/ansi-svg.ts out.txt docs/demo.svg`.
 * Understands what the demo uses: SGR colours, cursor up, erase line, CR and LF.
 */
import { readFileSync, writeFileSync } from 'node:fs';

interface Cell {
  char: string;
  /** SGR codes in force. */
  style: string;
}

const ESC = '\u001b';
const COLOURS: Record<string, string> = { '31': '#ff7b72', '32': '#7ee787', '36': '#79c0ff' };
const CELL_WIDTH = 8.4;
const LINE_HEIGHT = 19;
const PADDING = 18;
const TITLE_BAR = 34;

/** The screen after `text`. */
export function renderScreen(text: string): Cell[][] {
  const screen: Cell[][] = [[]];
  let [row, column, style] = [0, 0, ''];
  for (let i = 0; i < text.length; i++) {
    const control = text[i] === ESC ? /^.\[([0-9;?]*)([A-Za-z])/.exec(text.slice(i, i + 20)) : null;
    if (control) {
      const [whole, argument, command] = control;
      if (command === 'A') row = Math.max(0, row - Number(argument || 1));
      else if (command === 'K') screen[row] = [];
      else if (command === 'm') style = argument === '0' ? '' : argument!;
      i += whole.length - 1;
    } else if (text[i] === '\n') {
      row++;
      column = 0;
      screen[row] ??= [];
    } else if (text[i] === '\r') column = 0;
    else screen[row]![column++] = { char: text[i]!, style };
  }
  return screen;
}

const escapeXml = (s: string) => s.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

function attributes(style: string): string {
  if (style === '1') return ' font-weight="bold" fill="#f0f6fc"';
  if (style === '2') return ' fill="#8b949e"';
  return COLOURS[style] === undefined ? '' : ` fill="${COLOURS[style]}"`;
}

/** Stretches of a line in one style, each placed at its column: a viewer's font need not have our cell width. */
function drawLine(cells: readonly (Cell | undefined)[], y: number): string {
  let out = '';
  for (let start = 0; start < cells.length; ) {
    const style = cells[start]?.style ?? '';
    let end = start + 1;
    while (end < cells.length && (cells[end]?.style ?? '') === style) end++;
    const text = Array.from(cells.slice(start, end), (c) => c?.char ?? ' ').join('');
    if (text.trim() !== '') {
      const x = (PADDING + start * CELL_WIDTH).toFixed(1);
      const width = ((end - start) * CELL_WIDTH).toFixed(1);
      out += `<text x="${x}" y="${y}" textLength="${width}" lengthAdjust="spacing" xml:space="preserve"${attributes(style)}>${escapeXml(text)}</text>\n`;
    }
    start = end;
  }
  return out;
}

export function toSvg(screen: readonly Cell[][], title: string): string {
  const lines = screen.slice(0, screen.findLastIndex((l) => l.some((c) => c && c.char !== ' ')) + 1);
  const columns = Math.max(...lines.map((l) => l.length));
  const width = Math.ceil(columns * CELL_WIDTH + 2 * PADDING);
  const height = TITLE_BAR + lines.length * LINE_HEIGHT + PADDING;
  const body = lines.map((l, i) => drawLine(l, TITLE_BAR + (i + 1) * LINE_HEIGHT)).join('');
  const buttons = ['#ff5f57', '#febc2e', '#28c840'].map(
    (c, i) => `<circle cx="${20 + i * 18}" cy="17" r="5.5" fill="${c}"/>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeXml(title)}">
<rect width="${width}" height="${height}" rx="10" fill="#0d1117"/>
${buttons.join('')}
<text x="${width / 2}" y="21" text-anchor="middle" fill="#8b949e" font-family="sans-serif" font-size="12">${escapeXml(title)}</text>
<g fill="#c9d1d9" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14">
${body}</g>
</svg>
`;
}

if (import.meta.main) {
  const [source, target] = process.argv.slice(2);
  if (source === undefined || target === undefined) {
    process.stderr.write('usage: ansi-svg.ts CAPTURE SVG\n');
    process.exit(2);
  }
  // script(1) adds a line at the start and one at the end.
  const text = readFileSync(source, 'utf8')
    .replace(/^Script started.*\n/, '')
    .replace(/\n*Script done.*\n?$/, '');
  writeFileSync(target, toSvg(renderScreen(text), 'npm start'));
}
