/**
 * Parentheses that a statement may nest. SQLite's parser took about a hundred for most of its life and refuses
 * more with "parser stack overflow"; the builds used here take any number, and subqueries nested more than 2000
 * deep exhaust the stack of the JavaScript engine that runs them.
 */
export const maxNesting = 1000;

const character = {
  newline: 0x0a,
  doubleQuote: 0x22,
  singleQuote: 0x27,
  open: 0x28,
  close: 0x29,
  star: 0x2a,
  dash: 0x2d,
  slash: 0x2f,
  openBracket: 0x5b,
  closeBracket: 0x5d,
  backtick: 0x60,
} as const;

/** Some statement of `sql` nests its parentheses deeper than `maxNesting`, outside of strings and comments. */
export function nestsTooDeep(sql: Uint8Array): boolean {
  if (sql.length <= maxNesting) return false;
  let depth = 0;
  for (let at = 0; at < sql.length; at++) {
    const byte = sql[at];
    switch (byte) {
      case character.open:
        if (++depth > maxNesting) return true;
        break;
      case character.close:
        if (depth > 0) depth--;
        break;
      case character.singleQuote:
      case character.doubleQuote:
      case character.backtick:
        at = endOf(sql, byte, at);
        break;
      case character.openBracket:
        at = endOf(sql, character.closeBracket, at);
        break;
      case character.dash:
        if (sql[at + 1] === character.dash) at = endOf(sql, character.newline, at);
        break;
      case character.slash:
        if (sql[at + 1] === character.star) at = endOfComment(sql, at);
        break;
    }
  }
  return false;
}

/** A doubled quote inside a string ends it here and begins the next one: the same bytes are skipped. */
function endOf(sql: Uint8Array, byte: number, from: number): number {
  const end = sql.indexOf(byte, from + 1);
  return end === -1 ? sql.length : end;
}

function endOfComment(sql: Uint8Array, from: number): number {
  let end = sql.indexOf(character.slash, from + 3);
  while (end !== -1 && sql[end - 1] !== character.star) end = sql.indexOf(character.slash, end + 1);
  return end === -1 ? sql.length : end;
}
