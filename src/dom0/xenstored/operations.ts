/**
 * The operations of the wire protocol, one row each (docs/misc/xenstore.txt). A row's `run` gets the payload and returns
 * the reply's payload; none means `OK`.
 */
import { XENSTORE_PAYLOAD_MAX, XS } from '../../abi/xs_wire.ts';
import { control } from './control.ts';
import { XsError } from './errors.ts';
import { domainPath } from './path.ts';
import { formatPerm, parsePerms } from './perms.ts';
import type { Session } from './session.ts';
import { DOMID_MAX, type Store } from './store.ts';
import { nulTerminated, splitStrings, toBytes } from './strings.ts';
import type { Transaction } from './transaction.ts';

/** What INTRODUCE and RELEASE reach: the part that maps rings and binds event channels. */
export interface DomainHooks {
  introduce(domid: number, gfn: number, port: number): void;
  release(domid: number): void;
}

export interface Request {
  readonly store: Store;
  readonly session: Session;
  readonly hooks: DomainHooks | undefined;
  readonly payload: Uint8Array;
  readonly tx: Transaction | undefined;
}

export interface Operation {
  readonly name: string;
  /** For dom0 alone; others get EACCES. */
  readonly privileged?: true;
  /** A transaction id in the header has no meaning and is not looked at. */
  readonly ignoresTransaction?: true;
  run(request: Request): Uint8Array | undefined;
}

/** The payload as exactly one nul-terminated string. */
function oneString(payload: Uint8Array): string {
  const strings = splitStrings(payload);
  if (strings.length !== 1 || strings[0].length + 1 !== payload.length)
    throw new XsError('EINVAL', 'one argument wanted');
  return strings[0];
}

function atLeast(payload: Uint8Array, count: number): string[] {
  const strings = splitStrings(payload);
  if (strings.length < count) throw new XsError('EINVAL', `${count} arguments wanted`);
  return strings;
}

function integer(text: string, max: number): number {
  const value = Number(text);
  if (!/^\d{1,15}$/.test(text) || value > max)
    throw new XsError('EINVAL', `bad number ${JSON.stringify(text.slice(0, 20))}`);
  return value;
}

/** Any domain id, the special ones of xen.h included. */
const anyDomid = (text: string) => integer(text, 0xffff);
const realDomid = (text: string) => integer(text, DOMID_MAX);

function knownDomid(store: Store, text: string): number {
  const domid = realDomid(text);
  if (!store.domain(domid)) throw new XsError('ENOENT', `no domain ${domid}`);
  return domid;
}

const flag = (value: boolean) => toBytes(value ? 'T\0' : 'F\0');

function hooksOf(request: Request): DomainHooks {
  if (!request.hooks) throw new XsError('ENOSYS', 'this server cannot map rings');
  return request.hooks;
}

/** As many children as fit from byte `offset` of the list on; an empty name ends the list. */
function directoryPart({ session, payload, tx }: Request): Uint8Array {
  const [path, from] = atLeast(payload, 2);
  const { names, generation } = session.directory(path, tx);
  const offset = integer(from, Number.MAX_SAFE_INTEGER);
  const head = `${generation}\0`;
  let skipped = 0;
  let list = '';
  let complete = true;
  for (const name of names) {
    const size = name.length + 1;
    if (skipped < offset) {
      skipped += size;
    } else if (head.length + list.length + size < XENSTORE_PAYLOAD_MAX) {
      list += `${name}\0`;
    } else {
      complete = false;
      break;
    }
  }
  return toBytes(head + list + (complete ? '\0' : ''));
}

function watch({ session, payload }: Request): undefined {
  const [path, token, depth] = atLeast(payload, 2);
  session.watch(path, token, depth ? integer(depth, 0xffff) : undefined);
  session.deliver(path, token); // held back until the reply is out
}

function setPerms({ session, payload, tx }: Request): undefined {
  const [path, ...perms] = atLeast(payload, 2);
  session.setPerms(path, parsePerms(perms), tx);
}

function write({ session, payload, tx }: Request): undefined {
  const nul = payload.indexOf(0);
  if (nul < 0) throw new XsError('EINVAL', 'no path');
  session.write(splitStrings(payload.subarray(0, nul + 1))[0], payload.slice(nul + 1), tx);
}

function endTransaction({ session, payload, tx }: Request): undefined {
  const how = oneString(payload);
  if (how !== 'T' && how !== 'F') throw new XsError('EINVAL', 'T or F wanted');
  if (!tx) throw new XsError('ENOENT', 'no transaction');
  session.endTransaction(tx, how === 'T');
}

function startTransaction({ session, tx }: Request): Uint8Array {
  if (tx) throw new XsError('EBUSY', 'transactions do not nest');
  return toBytes(`${session.startTransaction().id}\0`);
}

function introduce(request: Request): undefined {
  const [domid, gfn, port] = atLeast(request.payload, 3);
  const id = realDomid(domid);
  const channel = integer(port, 0xffff_ffff);
  if (id === 0 || channel === 0) throw new XsError('EINVAL');
  hooksOf(request).introduce(id, integer(gfn, Number.MAX_SAFE_INTEGER), channel);
}

function release(request: Request): undefined {
  const id = knownDomid(request.store, oneString(request.payload));
  if (id === 0) throw new XsError('EINVAL');
  hooksOf(request).release(id);
}

export const OPERATIONS: Readonly<Record<number, Operation>> = {
  [XS.CONTROL]: {
    name: 'CONTROL',
    privileged: true,
    ignoresTransaction: true,
    run: ({ store, payload }) => control(store, atLeast(payload, 1)),
  },
  [XS.DIRECTORY]: {
    name: 'DIRECTORY',
    run: ({ session, payload, tx }) => nulTerminated(session.directory(oneString(payload), tx).names),
  },
  [XS.READ]: { name: 'READ', run: ({ session, payload, tx }) => session.read(oneString(payload), tx) },
  [XS.GET_PERMS]: {
    name: 'GET_PERMS',
    run: ({ session, payload, tx }) => nulTerminated(session.getPerms(oneString(payload), tx).map(formatPerm)),
  },
  [XS.WATCH]: { name: 'WATCH', ignoresTransaction: true, run: watch },
  [XS.UNWATCH]: {
    name: 'UNWATCH',
    ignoresTransaction: true,
    run: ({ session, payload }) => {
      const [path, token] = atLeast(payload, 2);
      session.unwatch(path, token);
      return undefined;
    },
  },
  [XS.TRANSACTION_START]: { name: 'TRANSACTION_START', run: startTransaction },
  [XS.TRANSACTION_END]: { name: 'TRANSACTION_END', run: endTransaction },
  [XS.INTRODUCE]: { name: 'INTRODUCE', privileged: true, ignoresTransaction: true, run: introduce },
  [XS.RELEASE]: { name: 'RELEASE', privileged: true, ignoresTransaction: true, run: release },
  [XS.GET_DOMAIN_PATH]: {
    name: 'GET_DOMAIN_PATH',
    ignoresTransaction: true,
    run: ({ payload }) => toBytes(`${domainPath(anyDomid(oneString(payload)))}\0`),
  },
  [XS.WRITE]: { name: 'WRITE', run: write },
  [XS.MKDIR]: {
    name: 'MKDIR',
    run: ({ session, payload, tx }) => {
      session.mkdir(oneString(payload), tx);
      return undefined;
    },
  },
  [XS.RM]: {
    name: 'RM',
    run: ({ session, payload, tx }) => {
      session.rm(oneString(payload), tx);
      return undefined;
    },
  },
  [XS.SET_PERMS]: { name: 'SET_PERMS', run: setPerms },
  [XS.IS_DOMAIN_INTRODUCED]: {
    name: 'IS_DOMAIN_INTRODUCED',
    ignoresTransaction: true,
    run: ({ store, session, payload }) => {
      const DOMID_SELF = 0x7ff0;
      const id = anyDomid(oneString(payload));
      return flag(store.domain(id === DOMID_SELF ? session.domid : id)?.introduced ?? false);
    },
  },
  [XS.RESUME]: {
    name: 'RESUME',
    privileged: true,
    ignoresTransaction: true,
    run: ({ store, payload }) => {
      store.resume(knownDomid(store, oneString(payload)));
      return undefined;
    },
  },
  [XS.SET_TARGET]: {
    name: 'SET_TARGET',
    privileged: true,
    ignoresTransaction: true,
    run: ({ store, payload }) => {
      const [domid, target] = atLeast(payload, 2);
      store.setTarget(knownDomid(store, domid), knownDomid(store, target));
      return undefined;
    },
  },
  [XS.RESET_WATCHES]: {
    name: 'RESET_WATCHES',
    ignoresTransaction: true,
    run: ({ session }) => {
      session.reset();
      return undefined;
    },
  },
  [XS.DIRECTORY_PART]: { name: 'DIRECTORY_PART', run: directoryPart },
};
