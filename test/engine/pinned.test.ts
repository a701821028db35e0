/**
 * The wasm that representative code becomes, kept in pinned/*.txt: a change of the translator's output is seen in review.
 * `npx vitest run test/engine/pinned.test.ts -u` writes it anew.
 */
import { expect, it } from 'vitest';
import { CASES, translate } from './pinned-code.ts';
import { functionText } from './wasm-text.ts';

it.each(CASES)('%s', async (name, code) => {
  await expect(functionText(translate(code))).toMatchFileSnapshot(`pinned/${name}.txt`);
});

it('is the same for the same bytes', () => {
  expect(translate('8b06 01c2 ffc9 75f8 f4')).toEqual(translate('8b06 01c2 ffc9 75f8 f4'));
});

/** Instructions behind which control does not go on. */
const GONE = ['br', 'br_table', 'return_call', 'return_call_indirect', 'unreachable'];

/** Lines of `if`s without `else` whose code does not reach their end. */
function leftIfs(text: string): number[] {
  const open: { readonly word: string; readonly line: number; else: boolean }[] = [];
  const found: number[] = [];
  let last = '';
  for (const [line, l] of text.split('\n').entries()) {
    const word = l.trim().split(' ')[0];
    if (['block', 'loop', 'if'].includes(word)) open.push({ word, line, else: false });
    else if (word === 'else') open.at(-1)!.else = true;
    else if (word === 'end') {
      const of = open.pop();
      if (of?.word === 'if' && !of.else && GONE.includes(last)) found.push(line);
    }
    if (word) last = word;
  }
  return found;
}

it.each(CASES)('%s has no `if` that is left, for which V8 takes long', (_, code) => {
  expect(leftIfs(functionText(translate(code)))).toEqual([]);
});

it('finds such an `if`', () => {
  expect(leftIfs('block\n  get 0\n  if\n    br 1\n  end\n  if\n    br 1\n  else\n  end\nend')).toEqual([4]);
});
