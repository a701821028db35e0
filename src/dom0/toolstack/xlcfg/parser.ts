/**
 * The grammar of xl's configuration files (libxlu_cfg_y.y): `name = value` or `name += value`, ended by a line break or
 * `;`. A value is a string, a number, or a list of values in brackets, where line breaks may stand.
 */
import { ToolstackError } from '../error.ts';
import { type LexError, type Token, tokens } from './lexer.ts';

export type CfgValue =
  | { readonly kind: 'string'; readonly text: string; readonly line: number }
  | { readonly kind: 'list'; readonly items: readonly CfgValue[]; readonly line: number };

export interface CfgSetting {
  readonly name: string;
  readonly value: CfgValue;
  readonly line: number;
  /** Was it written with `+=`? */
  readonly added: boolean;
}

/** The last setting of each name counts. */
export type CfgFile = ReadonlyMap<string, CfgSetting>;

/** The file is no configuration file: one line of message for each place, as Xen words them. */
export class CfgSyntaxError extends ToolstackError {
  readonly messages: readonly string[];

  constructor(messages: readonly string[]) {
    super(messages.join('\n'));
    this.messages = messages;
  }
}

/** Lists in lists; Xen's parser runs out of its stack at some thousands. */
const MAX_DEPTH = 1000;

/** `name`: how to call the text in messages. Throws CfgSyntaxError. */
export function parseCfg(source: string, name: string): CfgFile {
  const { tokens: list, errors } = tokens(source);
  const parser = new Parser(list);
  const settings = parser.file();
  const all = [...errors, ...parser.errors].sort((a, b) => a.line - b.line);
  if (all.length === 0) return settings;
  // As in Xen, a syntax error on a line with a lexical error is only its consequence.
  const lexical = new Set(errors.map((e) => e.line));
  const shown = all.filter((e) => errors.includes(e) || !lexical.has(e.line));
  throw new CfgSyntaxError(shown.map((e) => `${name}:${e.line}: config parsing error near ${near(e)}: ${e.message}`));
}

const near = (e: LexError) => (e.near === '\n' ? '<newline>' : e.near === '' ? '<end of file>' : `\`${e.near.trim()}'`);

class SyntaxStop extends Error {}

class Parser {
  readonly errors: LexError[] = [];
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(list: readonly Token[]) {
    this.#tokens = list;
  }

  file(): CfgFile {
    const settings = new Map<string, CfgSetting>();
    while (this.#peek().kind !== 'end') {
      try {
        this.#statement(settings);
      } catch (e) {
        if (!(e instanceof SyntaxStop)) throw e;
        this.#skipLine();
      }
    }
    return settings;
  }

  #peek(): Token {
    return this.#tokens[this.#at];
  }

  #next(): Token {
    const token = this.#tokens[this.#at];
    if (token.kind !== 'end') this.#at += 1;
    return token;
  }

  #fail(token: Token, message: string): never {
    this.errors.push({ line: token.line, near: token.kind === 'newline' ? '\n' : token.source, message });
    throw new SyntaxStop();
  }

  #unexpected(token: Token, wanted: string): never {
    return this.#fail(token, `syntax error, unexpected ${describe(token)}, expecting ${wanted}`);
  }

  #skipLine(): void {
    for (;;) {
      const { kind } = this.#next();
      if (kind === 'newline' || kind === 'end') return;
    }
  }

  #statement(settings: Map<string, CfgSetting>): void {
    if (this.#accept('newline') || this.#accept(';')) return;
    const name = this.#next();
    if (name.kind !== 'ident') {
      if (name.kind === 'newline') this.#at -= 1; // what follows is another line
      this.#unexpected(name, 'the name of a setting');
    }
    const operator = this.#peek();
    if (operator.kind !== '=' && operator.kind !== '+=') this.#unexpected(operator, '= or +=');
    this.#next();
    const value = this.#value(0);
    const added = operator.kind === '+=';
    const before = added ? settings.get(name.text)?.value : undefined;
    settings.set(name.text, {
      name: name.text,
      value: before ? this.#concat(before, value) : value,
      line: value.line,
      added,
    });
    const end = this.#peek();
    if (end.kind === 'end') return;
    if (end.kind !== 'newline' && end.kind !== ';') this.#unexpected(end, 'a line break or ;');
    this.#next();
  }

  #concat(before: CfgValue, value: CfgValue): CfgValue {
    if (before.kind === 'string' && value.kind === 'string') return { ...value, text: before.text + value.text };
    if (before.kind === 'list' && value.kind === 'list') return { ...value, items: [...before.items, ...value.items] };
    return this.#fail(this.#peek(), 'can\'t add [list] to "string" or vice versa');
  }

  #value(depth: number): CfgValue {
    const token = this.#peek();
    if (token.kind === 'string' || token.kind === 'number') {
      this.#next();
      return { kind: 'string', text: token.text, line: token.line };
    }
    if (token.kind !== '[') this.#unexpected(token, 'a string, a number or [');
    if (depth === MAX_DEPTH) this.#fail(token, 'lists are nested too deep');
    this.#next();
    const items: CfgValue[] = [];
    this.#newlines();
    while (!this.#accept(']')) {
      items.push(this.#value(depth + 1));
      this.#newlines();
      const after = this.#peek();
      if (after.kind === ']') continue;
      if (after.kind !== ',') this.#unexpected(after, ', or ]');
      this.#next();
      this.#newlines();
    }
    return { kind: 'list', items, line: items[0]?.line ?? token.line };
  }

  #newlines(): void {
    while (this.#accept('newline'));
  }

  #accept(kind: Token['kind']): boolean {
    if (this.#peek().kind !== kind) return false;
    this.#next();
    return true;
  }
}

const NAMES: Partial<Record<Token['kind'], string>> = { ident: 'name', newline: 'line break', end: 'end of file' };
const describe = (token: Token) => NAMES[token.kind] ?? token.kind;
