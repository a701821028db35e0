/**
 * Tokens of xl's configuration files, as Xen's libxlu has them (tools/libs/util/libxlu_cfg_l.l): lower-case names, numbers,
 * strings in either kind of quotes, `[ ] , ; = +=`, comments to the end of the line. What is not ASCII may only stand in
 * strings and comments.
 */

export type TokenKind = 'ident' | 'number' | 'string' | 'newline' | '[' | ']' | ',' | ';' | '=' | '+=' | 'end';

export interface Token {
  readonly kind: TokenKind;
  /** A name or number as written; a string without its quotes and escapes. */
  readonly text: string;
  /** As written in the file, for messages. */
  readonly source: string;
  readonly line: number;
}

export interface LexError {
  readonly line: number;
  readonly near: string;
  readonly message: string;
}

const RULES: readonly (readonly [RegExp, TokenKind | 'space'])[] = [
  [/[a-z][._0-9a-z]*/y, 'ident'],
  [/[0-9][0-9a-fx]*/y, 'number'],
  [/[ \t]/y, 'space'],
  [/\+=/y, '+='],
  [/[[\],;=]/y, '['], // the kind is the character
  [/\n|#[^\n]*\n/y, 'newline'], // a comment needs its end of line, as with Xen
  [/'(?:[^'\\\n]|\\[^\n])*'|"(?:[^"\\\n]|\\[^\n])*"/y, 'string'],
];

/** What cannot begin a token, up to the next space: Xen reports it once. */
const REST = /[^ \t\n]*/y;

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "'": "'",
  '\\': '\\',
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

/** A number in decimal, as strtoul reads it. */
const DECIMAL = /^[ \t\n\v\f\r]*[+-]?\d+/;

/**
 * The text between the quotes; a string instead of it says what is wrong. Numeric escapes are as libxlu really treats them:
 * `\x…` is always refused, and `\` with two to four digits is accepted and stands for nothing.
 */
export function dequote(quoted: string): { text: string } | { message: string } {
  let text = '';
  for (let i = 1; i < quoted.length - 1; ) {
    const c = quoted[i++];
    if (c !== '\\') {
      text += c;
      continue;
    }
    const next = quoted[i++];
    if (ESCAPES[next] !== undefined) text += ESCAPES[next];
    else if (next === 'x') {
      return { message: 'invalid digit after backslash hex numerical character escape in quoted string' };
    } else if (next >= '0' && next <= '7') {
      const digits = DECIMAL.exec(quoted.slice(i, i + 3))?.[0].length ?? 0;
      if (digits <= 1) {
        return { message: 'invalid digit after backslash octal numerical character escape in quoted string' };
      }
      i += digits;
    } else return { message: 'invalid character after backlash in quoted string' };
  }
  return { text };
}

export function tokens(source: string): { tokens: Token[]; errors: LexError[] } {
  const out: Token[] = [];
  const errors: LexError[] = [];
  let line = 1;
  let at = 0;
  while (at < source.length) {
    const found = match(source, at);
    if (!found) {
      REST.lastIndex = at + 1;
      const rest = REST.exec(source)![0];
      // A lone character at the very end goes unreported by libxlu's scanner, which meets the end of the file first.
      if (at + 1 < source.length) errors.push({ line, near: source[at] + rest, message: 'lexical error' });
      at += 1 + rest.length;
      continue;
    }
    const { kind, text } = found;
    at += text.length;
    if (kind === 'string') {
      const value = dequote(text);
      if ('message' in value) errors.push({ line, near: text, message: value.message });
      out.push({ kind, text: 'text' in value ? value.text : '', source: text, line });
    } else if (kind !== 'space') out.push({ kind, text, source: text, line });
    if (kind === 'newline') line += 1;
  }
  out.push({ kind: 'end', text: '', source: '', line });
  return { tokens: out, errors };
}

function match(source: string, at: number): { kind: TokenKind | 'space'; text: string } | undefined {
  for (const [rule, kind] of RULES) {
    rule.lastIndex = at;
    const text = rule.exec(source)?.[0];
    if (text !== undefined) return { kind: kind === '[' ? (text as TokenKind) : kind, text };
  }
  return undefined;
}
