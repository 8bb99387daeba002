/** Words as one line that a shell would split again, for logs and comments. */
export function escapeArguments(words: readonly string[]): string {
  return words.map((word) => (/[ \t\r\n\v\\'"]/.test(word) ? `"${word.replace(/["\\]/g, '\\$&')}"` : word)).join(' ');
}
