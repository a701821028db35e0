/** Which memory operands are near their base, as their index is small. */
import { expect, it } from 'vitest';
import { nearBase } from '../../src/engine/translator/bounds.ts';
import { regionOf } from './pinned-code.ts';

/** Of the last instruction before hlt. */
function near(code: string): boolean {
  const { instructions } = regionOf(`${code} f4`).blocks[0];
  return nearBase(instructions).has(instructions.at(-1)!);
}

it.each([
  ['movzx edx,dl; mov eax,[rsi+rdx*4]', '0fb6d2 8b0496', true],
  ['movzx edx,byte [rdi]; mov eax,[rsi+rdx*4]', '0fb617 8b0496', true],
  ['movzx edx,dl; mov eax,[rdx*8+0x1000]', '0fb6d2 8b04d500100000', true],
  ['and edx,63; mov eax,[rsi+rdx*8]', '83e23f 8b04d6', true],
  ['shr edx,24; mov eax,[rsi+rdx*4]', 'c1ea18 8b0496', true],
  ['shr rdx,56; mov ecx,edx; mov eax,[rsi+rcx*4]', '48c1ea38 89d1 8b048e', true],
  ['xor edx,edx; mov dl,al; mov eax,[rsi+rdx*4]', '31d2 88c2 8b0496', true],
  ['mov edx,5; mov eax,[rsi+rdx*4]', 'ba05000000 8b0496', true],
  ['movzx edx,dx; mov eax,[rsi+rdx*4]', '0fb7d2 8b0496', false],
  ['movsx edx,dl; mov eax,[rsi+rdx*4]', '0fbed2 8b0496', false],
  ['and edx,-8; mov eax,[rsi+rdx*4]', '83e2f8 8b0496', false],
  ['movzx edx,dl; mov dh,al; mov eax,[rsi+rdx*4]', '0fb6d2 88c6 8b0496', false],
  ['movzx edx,dl; add edx,eax; mov eax,[rsi+rdx*4]', '0fb6d2 01c2 8b0496', false],
  ['movzx edx,dl; cmovz edx,eax; mov eax,[rsi+rdx*4]', '0fb6d2 0f44d0 8b0496', false],
  ['movzx edx,dl; mul ecx; mov eax,[rsi+rdx*4]', '0fb6d2 f7e1 8b0496', false],
  ['movzx edx,dl; xchg edx,eax; mov eax,[rsi+rdx*4]', '0fb6d2 92 8b0496', false],
  ['movzx edx,dl; mov eax,[esi+edx*4]', '0fb6d2 678b0496', false],
  ['movzx edx,dl; mov eax,[rsi]', '0fb6d2 8b06', false],
])('%s', (_, code, expected) => {
  expect(near(code)).toBe(expected);
});
