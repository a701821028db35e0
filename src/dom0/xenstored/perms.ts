/** Permissions of a node. The first entry names the owner and what everyone not listed may do; the owner may do all. */
import { XsError } from './errors.ts';

export const READ = 1;
export const WRITE = 2;
/** Held by the owner alone: may change permissions. */
export const OWNER = 4;

export interface Perm {
  readonly domid: number;
  /** READ | WRITE. */
  readonly access: number;
}
export type Perms = readonly Perm[];

/** Who asks: a domain, and for a device model's stub domain the guest it serves (SET_TARGET). */
export interface Identity {
  readonly domid: number;
  readonly privileged: boolean;
  readonly target?: number;
}

const LETTERS = 'nrwb';
const DOMID_MAX = 0x7fff;

/** `r5`, `n0`, `w7`, `b2`. */
export function parsePerm(text: string): Perm {
  const access = LETTERS.indexOf(text.charAt(0));
  const digits = text.slice(1);
  const domid = Number(digits);
  if (text === '' || access < 0 || !/^\d{1,5}$/.test(digits) || domid > DOMID_MAX) {
    throw new XsError('EINVAL', `bad permission ${JSON.stringify(text.slice(0, 16))}`);
  }
  return { domid, access };
}

/** As in `xenstore-ls -p`: `n0,r1`. */
export function parsePerms(text: string | readonly string[]): Perms {
  const list = typeof text === 'string' ? text.split(',') : text;
  if (list.length === 0) throw new XsError('EINVAL', 'no permissions given');
  return list.map(parsePerm);
}

export const formatPerm = (p: Perm) => `${LETTERS[p.access]}${p.domid}`;

export function accessOf(who: Identity, perms: Perms): number {
  const owner = perms[0].domid;
  if (who.privileged || who.domid === owner || who.target === owner) return READ | WRITE | OWNER;
  for (let i = 1; i < perms.length; i++) {
    const { domid, access } = perms[i];
    if (domid === who.domid || domid === who.target) return access;
  }
  return perms[0].access;
}
