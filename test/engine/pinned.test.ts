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
