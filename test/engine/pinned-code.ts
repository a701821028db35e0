/** Representative code, and the modules that it becomes. */
import { allEncodings } from '../../src/engine/semantics/index.ts';
import type { CodeView } from '../../src/engine/translator/code-view.ts';
import { compileRegion } from '../../src/engine/translator/compile.ts';
import { Discovery, type Region } from '../../src/engine/translator/discover.ts';

const discovery = new Discovery(allEncodings());

/** What begins at offset 0x100 of a page. */
export function regionOf(code: string): Region {
  const page = new Uint8Array(4096).fill(0xcc);
  page.set(Buffer.from(code.replaceAll(' ', ''), 'hex'), 0x100);
  const view: CodeView = {
    page: (delta) => (delta === 0 ? page : undefined),
    seen: (offset) => offset >= 0 && offset < page.length,
    warm: () => false,
    translated: () => false,
  };
  const region = discovery.region(view, [0x100], true);
  if (!region) throw new Error('not translatable');
  return region;
}

/** The module of one region. */
export const translate = (code: string): Uint8Array => compileRegion(regionOf(code));

/** Name, machine code in hex. */
export const CASES: readonly (readonly [string, string])[] = [
  // cmp rax,rcx; jb over nop
  ['compare-and-branch', '4839c8 7201 90 f4'],
  // l: mov eax,[rsi]; add edx,eax; add rsi,4; dec ecx; jnz l
  ['loop', '8b06 01c2 4883c604 ffc9 75f4 f4'],
  // push rbx; mov rbx,rdi; add [rbx+8],rax; pop rbx; ret
  ['function', '53 4889fb 48014308 5b c3'],
  // push rbx; mov rbx,[rdi+8]; test rbx,rbx; jz f; add rax,[rdi+16]; f: mov rcx,[rdi]; pop rbx
  ['accesses-of-blocks', '53 488b5f08 4885db 7404 48034710 488b0f 5b f4'],
  // call f; add rdx,rax; call f; hlt; f: inc rax; ret
  ['calls', 'e809000000 4801c2 e801000000 f4 48ffc0 c3'],
  // movzx edx,dl; xor eax,[rsi+rdx*4]
  ['near-its-base', '0fb6d2 330496 f4'],
  // mov rax,[rsi]; test al,1; jnz f; mov [rsi+8],rcx; f: mov rdx,[rsi+16]; mov rbx,[rsi]
  ['read-and-perhaps-write', '488b06 a801 7504 48894e08 488b5610 488b1e f4'],
  // lock xadd [rdi],eax
  ['atomic', 'f00fc107 f4'],
  // movsd xmm0,[rdi]; mulsd xmm0,xmm1; addsd xmm0,[rdi+8]
  ['scalar-double', 'f20f1007 f20f59c1 f20f584708 f4'],
  // shl eax,3; sar edx,cl; adc eax,edx; setc al
  ['flags', 'c1e003 d3fa 11d0 0f92c0 f4'],
  // rep movsb
  ['string', 'f3a4 f4'],
  // fld qword [rdi]; fadd st1; fstp qword [rdi]
  ['x87', 'dd07 d8c1 dd1f f4'],
];
