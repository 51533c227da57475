/** What a text of SQL holds: whole statements, and what is left behind the last semicolon. */
export interface Split {
  /** Each with its semicolon, without blanks around it. */
  readonly statements: readonly string[];
  /** Empty when nothing but blanks and comments follows. */
  readonly rest: string;
}

/** Strings, quoted names, comments, words, semicolons, blanks, anything else: one token each. */
const token =
  /'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|\/\*[\s\S]*?\*\/|\/\*|[A-Za-z_][\w$]*|;|\s+|[\s\S]/g;

/** A token that has no end yet. */
const unfinished = /^(?:['"`[]|\/\*)$/;

/**
 * Splits at the semicolons that end statements: not those in strings, comments and trigger bodies. (The server
 * compiles one statement at a time; the shell must know when a statement is complete.)
 */
export function splitStatements(sql: string): Split {
  const statements: string[] = [];
  let words: string[] = [];
  let start = 0;
  for (const match of sql.matchAll(token)) {
    const [text] = match;
    if (unfinished.test(text)) break;
    if (text === ';') {
      if (isInsideTrigger(words)) {
        words.push(text);
        continue;
      }
      const end = match.index + 1;
      if (words.length > 0) statements.push(sql.slice(start, end).trim());
      start = end;
      words = [];
    } else if (!/^(?:\s|--|\/\*)/.test(text)) words.push(text.toUpperCase());
  }
  const rest = sql.slice(start).trim();
  return { statements, rest: isBlank(rest) ? '' : rest };
}

/** The body of CREATE TRIGGER ends with `END;`, as SQLite's own shell sees it. */
function isInsideTrigger(words: readonly string[]): boolean {
  if (words[0] !== 'CREATE') return false;
  const isTemporary = words[1] === 'TEMP' || words[1] === 'TEMPORARY';
  if (words[isTemporary ? 2 : 1] !== 'TRIGGER') return false;
  return !(words.at(-1) === 'END' && words.at(-2) === ';');
}

function isBlank(sql: string): boolean {
  return [...sql.matchAll(token)].every(([text]) => /^(?:\s|--|\/\*)/.test(text) || text === ';');
}

/** The first word of a statement, in capitals. */
export function firstWord(sql: string): string {
  for (const [text] of sql.matchAll(token)) {
    if (/^[A-Za-z_]/.test(text)) return text.toUpperCase();
    if (!/^(?:\s|--|\/\*|;|\()/.test(text)) return '';
  }
  return '';
}

const wordsWithoutRows = new Set(
  'INSERT UPDATE DELETE REPLACE CREATE DROP ALTER BEGIN COMMIT END ROLLBACK SAVEPOINT RELEASE VACUUM ANALYZE REINDEX ATTACH DETACH'.split(
    ' ',
  ),
);

/** False for statements that never yield rows: they are asked for counts instead. */
export function mayYieldRows(sql: string): boolean {
  return !wordsWithoutRows.has(firstWord(sql)) || /\breturning\b/i.test(sql);
}

/** Whether a transaction is open after a statement that succeeded. */
export function isOpenAfter(sql: string, wasOpen: boolean): boolean {
  switch (firstWord(sql)) {
    case 'BEGIN':
    case 'SAVEPOINT':
      return true;
    case 'COMMIT':
    case 'END':
      return false;
    case 'ROLLBACK':
      return wasOpen && /\bto\b/i.test(sql);
    default:
      return wasOpen;
  }
}
