/** Node names: which are valid, and how they relate (docs/misc/xenstore.txt; C xenstored's is_valid_nodename). */
import { XENSTORE_ABS_PATH_MAX, XENSTORE_REL_PATH_MAX } from '../../abi/xs_wire.ts';
import { XsError } from './errors.ts';

const NODE_NAME = /^\/(?:[A-Za-z0-9\-_@]+(?:\/[A-Za-z0-9\-_@]+)*)?$/;
const SPECIAL_NAME = /^@[A-Za-z0-9\-_@]+(?:\/[A-Za-z0-9\-_@]+)*$/;
const DOMAIN_PREFIX = /^\/local\/domain\/\d{1,5}\//;

export const domainPath = (domid: number) => `/local/domain/${domid}`;

export const isSpecial = (name: string) => name.startsWith('@');

/** A name below a domain's home may be XENSTORE_REL_PATH_MAX long counted from there; any other, counted from `/`. */
export function isValidPath(path: string): boolean {
  if (path.length > XENSTORE_ABS_PATH_MAX) return false;
  const home = DOMAIN_PREFIX.exec(path)?.[0].length ?? 0;
  return path.length - home <= XENSTORE_REL_PATH_MAX && NODE_NAME.test(path);
}

/** `@introduceDomain`, `@releaseDomain`, `@releaseDomain/<domid>` and the like. */
export function isValidSpecial(name: string): boolean {
  return name.length <= XENSTORE_REL_PATH_MAX && SPECIAL_NAME.test(name);
}

/** The absolute name of what a connection calls `name`; `home` is undefined where relative names have no meaning. */
export function canonicalize(name: string, home: string | undefined): string {
  const path = name.startsWith('/') || home === undefined ? name : `${home}/${name}`;
  if (!isValidPath(path)) throw new XsError('EINVAL', `bad path ${JSON.stringify(name.slice(0, 80))}`);
  return path;
}

/** `/a/b` is `['a', 'b']`; the root is `[]`. */
export function split(path: string): string[] {
  return path === '/' ? [] : path.slice(1).split('/');
}

/** The parent of the root is the root. */
export function parentOf(path: string): string {
  const at = path.lastIndexOf('/');
  return at <= 0 ? '/' : path.slice(0, at);
}

/** `path` and everything above it, nearest first. Special names (`@a/b`) end at their first component. */
export function* ancestors(path: string): Generator<string> {
  yield path;
  let at = path.lastIndexOf('/');
  while (at > 0) {
    yield path.slice(0, at);
    at = path.lastIndexOf('/', at - 1);
  }
  if (at === 0 && path !== '/') yield '/';
}

/** How many components `path` lies below its ancestor `above`. */
export function depthBelow(path: string, above: string): number {
  if (path === above) return 0;
  const tail = above === '/' ? path : path.slice(above.length);
  return tail.split('/').length - 1;
}
