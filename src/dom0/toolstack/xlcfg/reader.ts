/** Typed access to the settings of a configuration file. What is wrong is collected, with file, line and key. */
import { ToolstackError } from '../error.ts';
import type { CfgFile, CfgSetting, CfgValue } from './parser.ts';

export interface CfgProblem {
  readonly line: number | undefined;
  readonly key: string;
  readonly message: string;
}

/** Every problem of a file, one line each: `guest.cfg:3: memory: …`. */
export class CfgError extends ToolstackError {
  readonly problems: readonly CfgProblem[];

  constructor(name: string, problems: readonly CfgProblem[]) {
    super(problems.map((p) => formatProblem(name, p)).join('\n'));
    this.problems = problems;
  }
}

export function formatProblem(name: string, { line, key, message }: CfgProblem): string {
  return `${name}${line === undefined ? '' : `:${line}`}: ${key ? `${key}: ` : ''}${message}`;
}

/** What strtol takes with base 0, as Xen reads numbers: decimal, 0x…, 0… (octal). */
const NUMBER = /^[ \t]*([+-]?)(0x[0-9a-f]+|0[0-7]*|[1-9][0-9]*)$/i;

export function parseNumber(text: string): number | undefined {
  const match = NUMBER.exec(text);
  if (!match) return undefined;
  const [, sign, digits] = match;
  const value = /^0[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number(digits);
  return sign === '-' ? -value : value;
}

export class CfgReader {
  readonly file: CfgFile;
  readonly problems: CfgProblem[] = [];
  readonly warnings: CfgProblem[] = [];

  constructor(file: CfgFile) {
    this.file = file;
  }

  line(key: string): number | undefined {
    return this.file.get(key)?.line;
  }

  problem(key: string, message: string, line = this.line(key)): void {
    this.problems.push({ line, key, message });
  }

  warn(key: string, message: string): void {
    this.warnings.push({ line: this.line(key), key, message });
  }

  string(key: string): string | undefined {
    const setting = this.file.get(key);
    if (!setting) return undefined;
    if (setting.value.kind === 'string') return setting.value.text;
    this.problem(key, 'is a list but should be a single value');
    return undefined;
  }

  number(key: string): number | undefined {
    const text = this.string(key);
    if (text === undefined) return undefined;
    if (this.file.get(key)!.added) {
      this.problem(key, 'numbers cannot be added to with +=');
      return undefined;
    }
    const value = parseNumber(text);
    if (value === undefined) this.problem(key, `"${text}" is not a valid number`);
    return value;
  }

  /** As xl: any number but 0 is true. */
  boolean(key: string): boolean | undefined {
    const value = this.number(key);
    return value === undefined ? undefined : value !== 0;
  }

  /** A list whose items are strings. */
  strings(key: string): string[] | undefined {
    const setting = this.file.get(key);
    if (!setting) return undefined;
    if (setting.value.kind !== 'list') {
      this.problem(key, 'is a single value but should be a list');
      return undefined;
    }
    return this.#items(setting, setting.value.items);
  }

  /** Either a string or a list of strings. */
  stringOrStrings(key: string): string | string[] | undefined {
    return this.file.get(key)?.value.kind === 'list' ? this.strings(key) : this.string(key);
  }

  #items(setting: CfgSetting, items: readonly CfgValue[]): string[] | undefined {
    const out: string[] = [];
    for (const item of items) {
      if (item.kind === 'list') {
        this.problem(setting.name, 'has a list where a string should be', item.line);
        return undefined;
      }
      out.push(item.text);
    }
    return out;
  }
}
