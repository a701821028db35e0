/** Writes completions/xl.bash and completions/xl.zsh from the table of xl's commands. Usage: node scripts/completions.ts */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { bashCompletion, zshCompletion } from '../src/xl/completion.ts';
import { COMMANDS } from '../src/xl/table.ts';

const dir = fileURLToPath(new URL('../completions/', import.meta.url));
mkdirSync(dir, { recursive: true });
writeFileSync(`${dir}xl.bash`, bashCompletion(COMMANDS));
writeFileSync(`${dir}xl.zsh`, zshCompletion(COMMANDS));
