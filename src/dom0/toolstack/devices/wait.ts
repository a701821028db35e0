/** Waiting for something to be so in XenStore. */
import type { XenStore } from '../../xenstored/xenstored.ts';

/** The value of `path` when `wanted` is true of it; undefined if it is not within `ms`. */
export function waitForNode(
  store: XenStore,
  path: string,
  ms: number,
  wanted: (value: string | undefined) => boolean,
): Promise<{ readonly value: string | undefined } | undefined> {
  return new Promise((resolve) => {
    const done = (result: { readonly value: string | undefined } | undefined) => {
      clearTimeout(timer);
      watch.close();
      resolve(result);
    };
    const timer = setTimeout(() => done(undefined), ms);
    const watch = store.watch(path, () => {
      const value = store.tryRead(path);
      if (wanted(value)) done({ value });
    });
  });
}
