/** The names of the programs in a busybox binary, read from its applet table without running it. */

const FIRST = '\0[\0[[\0';
const NAME = /^[a-z0-9[][a-z0-9._[-]*$/i;

/** Sorted, as busybox has them; throws if the file has no such table. */
export function appletNames(busybox: Uint8Array): string[] {
  const text = Buffer.from(busybox.buffer, busybox.byteOffset, busybox.length);
  for (let at = text.indexOf(FIRST, 0, 'latin1'); at >= 0; at = text.indexOf(FIRST, at + 1, 'latin1')) {
    const names: string[] = [];
    let from = at + 1;
    for (;;) {
      const nul = text.indexOf(0, from);
      const name = text.toString('latin1', from, nul < 0 ? from : nul);
      if (!NAME.test(name) || (names.length > 0 && name <= names.at(-1)!)) break;
      names.push(name);
      from = nul + 1;
    }
    if (names.includes('init') && names.includes('sh')) return names;
  }
  throw new Error('this is not a busybox with init and sh');
}
