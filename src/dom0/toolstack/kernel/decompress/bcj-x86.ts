/**
 * Undoes xz's x86 filter (the BCJ filter of the .xz format, id 4): before compression the operand of each call and
 * jump (e8, e9) was made absolute; here it becomes relative again, in place.
 *
 * A byte e8/e9 counts as an instruction if its operand's top byte is 00 or ff, and no opcode that was passed over stands
 * where it could make this one part of its own operand. `passed` remembers those: bit k-1 is one k bytes back (1-3).
 */

const OPERAND = 4;

const isSign = (b: number) => ((b + 1) & 0xff) < 2;

/** Operand byte (1 = top) that the nearest passed opcode makes doubtful, by `passed`; 0: the byte cannot be one at all. */
const DOUBTFUL = [0, 1, 2, 0, 3, 0, 0, 0];

export function unfilterX86(buf: Uint8Array, startOffset = 0): void {
  const view = new DataView(buf.buffer, buf.byteOffset, buf.length);
  let passed = 0;
  let previous = -OPERAND;
  for (let i = 0; i + OPERAND < buf.length; i++) {
    if (buf[i] !== 0xe8 && buf[i] !== 0xe9) continue;
    const gap = i - previous;
    previous = i;
    passed = gap > 3 ? 0 : (passed << (gap - 1)) & 7;

    const doubtful = DOUBTFUL[passed];
    const refused = passed !== 0 && (doubtful === 0 || isSign(buf[i + OPERAND - doubtful]));
    if (refused || !isSign(buf[i + OPERAND])) {
      passed = ((passed << 1) | 1) & 7;
      continue;
    }
    const next = startOffset + i + 1 + OPERAND;
    let relative = view.getInt32(i + 1, true) - next;
    if (doubtful !== 0) {
      // The encoder flipped the bits below the doubtful byte until that byte was no sign byte any more.
      const shift = 32 - doubtful * 8;
      while (isSign((relative >>> (shift - 8)) & 0xff)) relative = (relative ^ ((1 << shift) - 1)) - next;
    }
    view.setInt32(i + 1, (relative << 7) >> 7, true);
    i += OPERAND;
  }
}
