/** XenStore's operations as a domain sees them, over the wire protocol (docs/misc/xenstore.txt). */
import { beforeEach, describe, expect, it } from 'vitest';
import { XS } from '../../src/abi/xs_wire.ts';
import { XenStore } from '../../src/dom0/xenstored/xenstored.ts';
import { Client } from './xs-guest.ts';

const OK = 'OK\0';
let store: XenStore;
let dom0: Client;
let guest: Client;

/** A domain as the toolstack sets it up. */
function addDomain(domid: number): Client {
  store.write(`/local/domain/${domid}`, '', [`n0`, `r${domid}`]);
  store.write(`/local/domain/${domid}/data`, '', [`n${domid}`]);
  return new Client(store, domid);
}

beforeEach(() => {
  store = new XenStore();
  dom0 = new Client(store, 0);
  guest = addDomain(1);
});

describe('nodes', () => {
  it('reads what was written, any bytes', () => {
    expect(dom0.ask(XS.WRITE, '/a/b\0x\0y\xff')).toBe(OK);
    expect(dom0.ask(XS.READ, '/a/b\0')).toBe('x\0y\xff');
    expect(dom0.ask(XS.READ, '/a\0')).toBe('');
    expect(dom0.ask(XS.READ, '/none\0')).toBe('ENOENT');
  });

  it('takes names relative to the home of a domain, and only there', () => {
    expect(guest.ask(XS.WRITE, 'data/x\0hi')).toBe(OK);
    expect(store.read('/local/domain/1/data/x')).toBe('hi');
    expect(guest.ask(XS.READ, '/local/domain/1/data/x\0')).toBe('hi');
    expect(dom0.ask(XS.READ, 'data/x\0')).toBe('EINVAL');
  });

  it.each(['', 'a/', '/', '//a', '/a b', '/a.b', '/a\xe9', `/${'x'.repeat(2049)}`])('refuses to write %j', (name) => {
    if (name === '/') expect(dom0.ask(XS.RM, '/\0')).toBe('EINVAL');
    else expect(dom0.ask(XS.WRITE, `${name}\0v`)).toBe('EINVAL');
  });

  it('lists children in the order of creation', () => {
    for (const name of ['c', 'a', 'b']) dom0.ask(XS.MKDIR, `/d/${name}\0`);
    expect(dom0.ask(XS.DIRECTORY, '/d\0')).toBe('c\0a\0b\0');
    dom0.ask(XS.RM, '/d/a\0');
    expect(dom0.ask(XS.DIRECTORY, '/d\0')).toBe('c\0b\0');
    expect(dom0.ask(XS.DIRECTORY, '/d/c\0')).toBe('');
  });

  it('leaves an existing node alone on mkdir', () => {
    dom0.ask(XS.WRITE, '/m\0v');
    expect(dom0.ask(XS.MKDIR, '/m\0')).toBe(OK);
    expect(dom0.ask(XS.READ, '/m\0')).toBe('v');
  });

  it('removes with everything below; a missing node is fine, a missing parent is not', () => {
    dom0.ask(XS.WRITE, '/r/a/b/c\0v');
    expect(dom0.ask(XS.RM, '/r/a\0')).toBe(OK);
    expect(dom0.ask(XS.READ, '/r/a/b/c\0')).toBe('ENOENT');
    expect(dom0.ask(XS.RM, '/r/a\0')).toBe(OK);
    expect(dom0.ask(XS.RM, '/r/a/b\0')).toBe('ENOENT');
    expect(dom0.ask(XS.DIRECTORY, '/r\0')).toBe('');
  });

  it('hands long lists out in parts', () => {
    const names = Array.from({ length: 700 }, (_, i) => `child-${i}`);
    for (const name of names) store.mkdir(`/long/${name}`);
    expect(dom0.ask(XS.DIRECTORY, '/long\0')).toBe('E2BIG');
    let list = '';
    let generation: string | undefined;
    for (;;) {
      const part = dom0.ask(XS.DIRECTORY_PART, `/long\0${list.length}\0`);
      const nul = part.indexOf('\0');
      generation ??= part.slice(0, nul);
      expect(part.slice(0, nul)).toBe(generation);
      list += part.slice(nul + 1);
      if (list.endsWith('\0\0') || part.length === nul + 2) break;
    }
    expect(list.split('\0').filter(Boolean)).toEqual(names);
    store.mkdir('/long/one-more');
    expect(dom0.ask(XS.DIRECTORY_PART, '/long\x000\0').startsWith(`${generation}\0`)).toBe(false);
    expect(dom0.ask(XS.DIRECTORY_PART, '/long\x0099999\0')).toMatch(/^\d+\0\0$/);
  });

  it('answers E2BIG to a value too long for a message', () => {
    store.write('/big', 'x'.repeat(5000));
    expect(dom0.ask(XS.READ, '/big\0')).toBe('E2BIG');
  });
});

describe('permissions', () => {
  it('shows a domain what it may see and nothing else', () => {
    store.write('/secret/x', '1');
    expect(guest.ask(XS.READ, '/secret/x\0')).toBe('EACCES');
    expect(guest.ask(XS.READ, '/secret/none\0')).toBe('EACCES');
    expect(guest.ask(XS.READ, 'none\0')).toBe('ENOENT');
    expect(guest.ask(XS.WRITE, 'none\0v')).toBe('EACCES');
    expect(guest.ask(XS.WRITE, '/local/domain/1\0v')).toBe('EACCES');
    expect(guest.ask(XS.RM, '/local/domain/1\0')).toBe('EACCES');
  });

  it('gives a domain what it creates', () => {
    guest.ask(XS.WRITE, 'data/a/b\0v');
    expect(guest.ask(XS.GET_PERMS, 'data/a/b\0')).toBe('n1\0');
    expect(new Client(store, 2).ask(XS.READ, '/local/domain/1/data/a/b\0')).toBe('EACCES');
  });

  it('lets the owner share a node, but not give it away', () => {
    const other = addDomain(2);
    guest.ask(XS.WRITE, 'data/s\0v');
    expect(guest.ask(XS.SET_PERMS, 'data/s\0n1\0r2\0')).toBe(OK);
    expect(other.ask(XS.READ, '/local/domain/1/data/s\0')).toBe('v');
    expect(other.ask(XS.WRITE, '/local/domain/1/data/s\0w')).toBe('EACCES');
    expect(other.ask(XS.SET_PERMS, '/local/domain/1/data/s\0b2\0')).toBe('EACCES');
    expect(guest.ask(XS.SET_PERMS, 'data/s\0n2\0')).toBe('EPERM');
    expect(guest.ask(XS.SET_PERMS, 'data/s\0n1\0b2\0')).toBe(OK);
    expect(other.ask(XS.WRITE, '/local/domain/1/data/s\0w')).toBe(OK);
  });

  it.each(['', 'x1', 'r', 'r-1', 'r1x', 'r99999', 'rr1'])('refuses the permission %j', (perm) => {
    expect(guest.ask(XS.SET_PERMS, `data\0${perm}\0`)).toBe('EINVAL');
  });

  it('gives new nodes of dom0 the permissions of their parent', () => {
    dom0.ask(XS.WRITE, '/local/domain/1/vm\0x');
    expect(dom0.ask(XS.GET_PERMS, '/local/domain/1/vm\0')).toBe('n0\0r1\0');
  });

  it('lets a stub domain act for its target', () => {
    store.introduce(1, { memory: new SharedArrayBuffer(4096), address: 0, notify: () => {} });
    store.introduce(2, { memory: new SharedArrayBuffer(4096), address: 0, notify: () => {} });
    const stub = new Client(store, 2);
    expect(stub.ask(XS.READ, '/local/domain/1/data\0')).toBe('EACCES');
    expect(dom0.ask(XS.SET_TARGET, '2\x001\0')).toBe(OK);
    expect(stub.ask(XS.WRITE, '/local/domain/1/data/x\0v')).toBe(OK);
    expect(stub.ask(XS.READ, '/local/domain/1\0')).toBe('');
  });
});

describe('transactions', () => {
  const start = (client: Client) => Number(client.ask(XS.TRANSACTION_START, '\0').slice(0, -1));

  it('are isolated until they end', () => {
    const tx = start(guest);
    guest.ask(XS.WRITE, 'data/t\0v', tx);
    expect(guest.ask(XS.READ, 'data/t\0', tx)).toBe('v');
    expect(guest.ask(XS.READ, 'data/t\0')).toBe('ENOENT');
    store.write('/local/domain/1/other', 'later');
    expect(guest.ask(XS.READ, 'other\0', tx)).toBe('ENOENT');
    expect(guest.ask(XS.TRANSACTION_END, 'F\0', tx)).toBe(OK);
    expect(guest.ask(XS.READ, 'data/t\0')).toBe('ENOENT');
  });

  it('commit creations, changes, removals and permissions together', () => {
    for (const name of ['keep', 'gone/x', 'again/old']) guest.ask(XS.WRITE, `data/${name}\x000`);
    const tx = start(guest);
    guest.ask(XS.WRITE, 'data/keep\x001', tx);
    guest.ask(XS.RM, 'data/gone\0', tx);
    guest.ask(XS.RM, 'data/again\0', tx);
    guest.ask(XS.WRITE, 'data/again/new\x001', tx);
    guest.ask(XS.WRITE, 'data/p/q\x001', tx);
    guest.ask(XS.SET_PERMS, 'data/p\0r1\0', tx);
    guest.ask(XS.WRITE, 'data/brief\x001', tx);
    guest.ask(XS.RM, 'data/brief\0', tx);
    expect(guest.ask(XS.TRANSACTION_END, 'T\0', tx)).toBe(OK);
    expect(guest.ask(XS.DIRECTORY, 'data\0')).toBe('keep\0again\0p\0');
    expect(guest.ask(XS.DIRECTORY, 'data/again\0')).toBe('new\0');
    expect(guest.ask(XS.READ, 'data/keep\0')).toBe('1');
    expect(guest.ask(XS.GET_PERMS, 'data/p\0')).toBe('r1\0');
    expect(dom0.ask(XS.CONTROL, 'check\0')).toBe('OK\0');
  });

  it.each([
    ['a node it wrote', () => guest.ask(XS.WRITE, 'data/c\x002')],
    ['a node it read', () => store.write('/local/domain/1/data/read', '2')],
    ['a list it grew', () => store.mkdir('/local/domain/1/data/sibling')],
    ['a node it missed', () => store.mkdir('/local/domain/1/data/missing')],
    ['a node it removed', () => store.mkdir('/local/domain/1/data/rm/below')],
  ])('fail with EAGAIN when another changed %s', (_what, interfere) => {
    for (const name of ['c', 'read', 'rm/deep']) guest.ask(XS.WRITE, `data/${name}\x000`);
    const tx = start(guest);
    guest.ask(XS.READ, 'data/read\0', tx);
    guest.ask(XS.READ, 'data/missing\0', tx);
    guest.ask(XS.WRITE, 'data/c\x001', tx);
    guest.ask(XS.WRITE, 'data/d\x001', tx);
    guest.ask(XS.RM, 'data/rm\0', tx);
    interfere();
    expect(guest.ask(XS.TRANSACTION_END, 'T\0', tx)).toBe('EAGAIN');
    expect(guest.ask(XS.READ, 'data/d\0')).toBe('ENOENT');
    expect(guest.ask(XS.TRANSACTION_END, 'T\0', tx)).toBe('ENOENT');
  });

  it('do not mind changes elsewhere', () => {
    const tx = start(guest);
    guest.ask(XS.WRITE, 'data/c\x001', tx);
    store.write('/elsewhere', 'x');
    expect(guest.ask(XS.TRANSACTION_END, 'T\0', tx)).toBe(OK);
  });

  it('check ids and arguments', () => {
    const tx = start(guest);
    expect(guest.ask(XS.TRANSACTION_START, '\0', tx)).toBe('EBUSY');
    expect(guest.ask(XS.READ, 'data\0', tx + 1)).toBe('ENOENT');
    expect(guest.ask(XS.TRANSACTION_END, 'X\0', tx)).toBe('EINVAL');
    expect(guest.ask(XS.TRANSACTION_END, 'T\0')).toBe('ENOENT');
    expect(new Client(store, 1).ask(XS.READ, 'data\0', tx)).toBe('ENOENT');
  });

  it('fire watches when they commit, and only then', () => {
    guest.ask(XS.WATCH, 'data\0t\0');
    guest.takeEvents();
    const tx = start(guest);
    guest.ask(XS.WRITE, 'data/x\x001', tx);
    guest.ask(XS.WRITE, 'data/x\x002', tx);
    expect(guest.takeEvents()).toEqual([]);
    guest.ask(XS.TRANSACTION_END, 'T\0', tx);
    expect(guest.takeEvents()).toEqual(['data/x t']);
  });
});

describe('watches', () => {
  it('fire once when set, then for the node and what is below', () => {
    expect(dom0.ask(XS.WATCH, '/w\0tok\0')).toBe(OK);
    expect(dom0.takeEvents()).toEqual(['/w tok']);
    for (const path of ['/w', '/w/a/b', '/wx', '/']) if (path !== '/') store.write(path, '1');
    expect(dom0.takeEvents()).toEqual(['/w tok', '/w/a/b tok']);
    store.setPerms('/w/a', 'n0,r1');
    expect(dom0.takeEvents()).toEqual(['/w/a tok']);
    store.mkdir('/w/a');
    expect(dom0.takeEvents()).toEqual([]);
    expect(dom0.ask(XS.UNWATCH, '/w\0tok\0')).toBe(OK);
    store.write('/w', '2');
    expect(dom0.takeEvents()).toEqual([]);
  });

  it('on the root see everything', () => {
    dom0.ask(XS.WATCH, '/\0r\0');
    dom0.takeEvents();
    store.write('/x/y', '1');
    expect(dom0.takeEvents()).toEqual(['/x/y r']);
  });

  it('tell their own path when a node above is removed', () => {
    store.write('/w/a/b', '1');
    for (const path of ['/w', '/w/a', '/w/a/b', '/w/a/none']) dom0.ask(XS.WATCH, `${path}\0t\0`);
    dom0.takeEvents();
    store.rm('/w/a');
    expect(dom0.takeEvents().sort()).toEqual(['/w/a t', '/w/a/b t']);
  });

  it('are relative if their path was', () => {
    guest.ask(XS.WATCH, 'data\0t\0');
    guest.ask(XS.WATCH, '/local/domain/1/data\0u\0');
    expect(guest.takeEvents()).toEqual(['data t', '/local/domain/1/data u']);
    guest.ask(XS.WRITE, 'data/x\x001');
    expect(guest.takeEvents()).toEqual(['data/x t', '/local/domain/1/data/x u']);
  });

  it('stop at their depth', () => {
    dom0.ask(XS.WATCH, '/w\0t\x001\0');
    dom0.takeEvents();
    for (const path of ['/w', '/w/a', '/w/a/b']) store.write(path, '1');
    expect(dom0.takeEvents()).toEqual(['/w t', '/w/a t']);
  });

  it('are told apart by path and token', () => {
    expect(dom0.ask(XS.WATCH, '/w\0t\0')).toBe(OK);
    expect(dom0.ask(XS.WATCH, '/w\0t\0')).toBe('EEXIST');
    expect(dom0.ask(XS.WATCH, '/w\0u\0')).toBe(OK);
    expect(dom0.ask(XS.UNWATCH, '/w\0v\0')).toBe('ENOENT');
    expect(dom0.ask(XS.WATCH, '/w\0')).toBe('EINVAL');
    expect(dom0.ask(XS.WATCH, 'rel\0t\0')).toBe('EINVAL');
  });

  it('say nothing about nodes that the watcher may not read', () => {
    guest.ask(XS.WATCH, '/\0t\0');
    guest.takeEvents();
    store.write('/secret', '1');
    store.write('/secret/x', '2');
    expect(guest.takeEvents()).toEqual([]);
    store.setPerms('/secret/x', 'n0,r1');
    expect(guest.takeEvents()).toEqual(['/secret/x t']);
    store.setPerms('/secret/x', 'n0');
    expect(guest.takeEvents()).toEqual(['/secret/x t']);
    store.write('/secret/x', '3');
    expect(guest.takeEvents()).toEqual([]);
  });

  it('come after the reply to the request that fired them', () => {
    dom0.ask(XS.WATCH, '/w\0t\0');
    dom0.takeEvents();
    dom0.ask(XS.WRITE, '/w\x001');
    expect(dom0.events).toEqual(['/w t']);
  });

  it('go with RESET_WATCHES, as do transactions', () => {
    guest.ask(XS.WATCH, 'data\0t\0');
    const tx = Number(guest.ask(XS.TRANSACTION_START, '\0').slice(0, -1));
    expect(guest.ask(XS.RESET_WATCHES, '\0')).toBe(OK);
    guest.takeEvents();
    guest.ask(XS.WRITE, 'data/x\x001');
    expect(guest.takeEvents()).toEqual([]);
    expect(guest.ask(XS.READ, 'data\0', tx)).toBe('ENOENT');
  });
});

describe('domains', () => {
  const page = () => ({ memory: new SharedArrayBuffer(4096), address: 0, notify: () => {} });

  it('come and go with special events', () => {
    dom0.ask(XS.WATCH, '@introduceDomain\0i\0');
    dom0.ask(XS.WATCH, '@releaseDomain\0r\0');
    dom0.ask(XS.WATCH, '@releaseDomain/5\0r5\0');
    dom0.ask(XS.WATCH, '@releaseDomain\0deep\x001\0');
    guest.ask(XS.WATCH, '@releaseDomain\0g\0');
    dom0.takeEvents();
    guest.takeEvents();
    store.introduce(5, page());
    store.introduce(6, page());
    expect(dom0.takeEvents()).toEqual(['@introduceDomain i']);
    store.shutdown(5);
    store.shutdown(5);
    const told = ['@releaseDomain r', '@releaseDomain/5 r5', '@releaseDomain/5 deep'];
    expect(dom0.takeEvents()).toEqual(told);
    store.resume(5);
    store.shutdown(5);
    expect(dom0.takeEvents()).toEqual(told);
    store.release(5);
    expect(dom0.takeEvents()).toEqual(told);
    store.release(6);
    expect(dom0.takeEvents()).toEqual(['@releaseDomain r', '@releaseDomain/6 deep']);
    expect(guest.takeEvents()).toEqual([]);
  });

  it('may hear of others if the special node says so', () => {
    expect(guest.ask(XS.SET_PERMS, '@releaseDomain\0r1\0')).toBe('EACCES');
    expect(dom0.ask(XS.SET_PERMS, '@releaseDomain\0n0\0r1\0')).toBe(OK);
    expect(guest.ask(XS.GET_PERMS, '@releaseDomain\0')).toBe('n0\0r1\0');
    guest.ask(XS.WATCH, '@releaseDomain\0g\0');
    guest.takeEvents();
    store.introduce(5, page());
    store.release(5);
    expect(guest.takeEvents()).toEqual(['@releaseDomain g']);
  });

  it('are known by their id', () => {
    store.introduce(5, page());
    expect(guest.ask(XS.IS_DOMAIN_INTRODUCED, '5\0')).toBe('T\0');
    expect(guest.ask(XS.IS_DOMAIN_INTRODUCED, '7\0')).toBe('F\0');
    expect(guest.ask(XS.GET_DOMAIN_PATH, '77\0')).toBe('/local/domain/77\0');
    expect(guest.ask(XS.GET_DOMAIN_PATH, 'x\0')).toBe('EINVAL');
  });

  it('leave nothing of theirs behind', () => {
    store.introduce(1, page());
    addDomain(2);
    guest.ask(XS.WRITE, 'data/x/y\0v');
    store.write('/shared', '1', 'n0,r1,r2');
    store.release(1);
    expect(store.directory('/local/domain/1')).toEqual([]);
    expect(store.getPerms('/shared')).toEqual(['n0', 'r2']);
    expect(guest.connection.feed(new Uint8Array(16))).toBe(0);
    expect(store.isIntroduced(1)).toBe(false);
    expect(dom0.ask(XS.CONTROL, 'check\0')).toBe('OK\0');
  });

  it('may not do what is for dom0 alone', () => {
    const requests = {
      [XS.INTRODUCE]: '5\x001\x001\0',
      [XS.RELEASE]: '5\0',
      [XS.RESUME]: '5\0',
      [XS.SET_TARGET]: '1\x002\0',
    };
    for (const [type, payload] of Object.entries({ ...requests, [XS.CONTROL]: 'help\0' })) {
      expect(guest.ask(Number(type), payload)).toBe('EACCES');
    }
  });

  it('are introduced over the wire where rings can be mapped', () => {
    expect(dom0.ask(XS.INTRODUCE, '5\x0016\x003\0')).toBe('ENOSYS');
    const asked: number[][] = [];
    store = new XenStore({
      attach: (...args) => {
        asked.push(args);
        return page();
      },
    });
    dom0 = new Client(store, 0);
    expect(dom0.ask(XS.INTRODUCE, '5\x0016\x003\0')).toBe(OK);
    expect(asked).toEqual([[5, 16, 3]]);
    expect(dom0.ask(XS.RESUME, '5\0')).toBe(OK);
    expect(dom0.ask(XS.RELEASE, '5\0')).toBe(OK);
    expect(dom0.ask(XS.RELEASE, '5\0')).toBe('ENOENT');
    for (const bad of ['0\x0016\x003\0', '5\x0016\0', '5\x0016\x000\0', '5\0x\x003\0', '40000\x0016\x003\0']) {
      expect(dom0.ask(XS.INTRODUCE, bad)).toBe('EINVAL');
    }
  });

  it('answers unknown types with ENOSYS', () => {
    for (const type of [15, 16, 20, 23, 0xffff, 0xffff_ffff]) expect(guestError(type)).toBe('ENOSYS');
    function guestError(type: number) {
      return dom0.ask(type, '\0');
    }
  });
});

describe('quotas', () => {
  const limits = { nodes: 20, watches: 3, transactions: 2, perms: 3, nodeSize: 300, transactionNodes: 8 };
  beforeEach(() => {
    store = new XenStore({ quota: limits });
    dom0 = new Client(store, 0);
    guest = addDomain(1);
  });

  it('limit nodes, and give back what is removed', () => {
    let made = 0;
    while (guest.ask(XS.MKDIR, `data/n${made}\0`) === OK) made += 1;
    expect(made).toBe(19); // data itself is one
    expect(guest.ask(XS.MKDIR, 'data/x\0')).toBe('ENOSPC');
    expect(guest.ask(XS.RM, 'data/n0\0')).toBe(OK);
    expect(guest.ask(XS.MKDIR, 'data/x/y\0')).toBe('ENOSPC');
    expect(guest.ask(XS.MKDIR, 'data/x\0')).toBe(OK);
    expect(dom0.ask(XS.MKDIR, '/local/domain/1/data/y\0')).toBe(OK);
  });

  it('hold for transactions that commit', () => {
    const ids = [0, 1].map(() => Number(guest.ask(XS.TRANSACTION_START, '\0').slice(0, -1)));
    for (const [i, tx] of ids.entries()) guest.ask(XS.WRITE, `data\0${i}`, tx);
    expect(guest.ask(XS.TRANSACTION_START, '\0')).toBe('ENOSPC');
    let touched = 0;
    while (guest.ask(XS.MKDIR, `data/t${touched}\0`, ids[0]) === OK) touched += 1;
    expect(touched).toBeLessThan(8);
    expect(guest.ask(XS.MKDIR, 'data/more\0', ids[0])).toBe('ENOSPC');
  });

  it('limit watches, permissions and the size of a node', () => {
    for (let i = 0; i < 3; i++) expect(guest.ask(XS.WATCH, `data\0${i}\0`)).toBe(OK);
    expect(guest.ask(XS.WATCH, 'data\0more\0')).toBe('E2BIG');
    expect(guest.ask(XS.SET_PERMS, 'data\0n1\0r2\0r3\0')).toBe(OK);
    expect(guest.ask(XS.SET_PERMS, 'data\0n1\0r2\0r3\0r4\0')).toBe('ENOSPC');
    expect(guest.ask(XS.WRITE, `data/x\0${'v'.repeat(200)}`)).toBe(OK);
    expect(guest.ask(XS.WRITE, `data/x\0${'v'.repeat(300)}`)).toBe('ENOSPC');
    expect(guest.ask(XS.MKDIR, `data/${'n'.repeat(300)}\0`)).toBe('ENOSPC');
    expect(dom0.ask(XS.WRITE, `/local/domain/1/data/x\0${'v'.repeat(300)}`)).toBe(OK);
  });

  it('limit memory, unread events included', () => {
    store = new XenStore({ quota: { memory: 8192 } });
    dom0 = new Client(store, 0);
    guest = addDomain(1);
    guest.ask(XS.WATCH, 'data\0t\0');
    for (let i = 0; i < 1000; i++) store.write(`/local/domain/1/data/e${i}`, '');
    expect(guest.connection.pending).toBeLessThan(8192);
    guest.takeEvents();
    for (let i = 0; i < 1000; i++) store.rm(`/local/domain/1/data/e${i}`);
    guest.takeEvents();
    let used = 0;
    while (guest.ask(XS.WRITE, `data/v${used}\0${'v'.repeat(1000)}`) === OK) used += 1;
    expect(used).toBeLessThan(9);
    expect(guest.ask(XS.WRITE, `data/w\0${'v'.repeat(1000)}`)).toBe('ENOMEM');
  });

  it('are shown and set by CONTROL', () => {
    expect(dom0.ask(XS.CONTROL, 'quota\0')).toContain('nodes            : 20');
    expect(dom0.ask(XS.CONTROL, 'quota\0set\0nodes\x0030\0')).toBe(OK);
    expect(dom0.ask(XS.CONTROL, 'quota\0')).toContain('nodes            : 30');
    expect(dom0.ask(XS.CONTROL, 'quota\x001\0')).toContain('nodes            : 1\n');
    expect(dom0.ask(XS.CONTROL, 'help\0')).toContain('check');
    expect(dom0.ask(XS.CONTROL, 'nonsense\0')).toBe('EINVAL');
  });
});

describe('the in-process client', () => {
  it('writes with permissions and reads text', () => {
    store.write('/local/domain/1/name', 'gäst', 'n0,r1');
    expect(store.read('/local/domain/1/name')).toBe('gäst');
    expect(store.getPerms('/local/domain/1/name')).toEqual(['n0', 'r1']);
    expect(store.tryRead('/none')).toBeUndefined();
    expect(() => store.read('/none')).toThrow('ENOENT');
  });

  it('hears of changes after they are made', async () => {
    const seen: string[] = [];
    const watch = store.watch('/w', (path) => seen.push(`${path} ${store.tryRead(path)}`));
    store.write('/w/x', '1');
    expect(seen).toEqual([]);
    await Promise.resolve();
    expect(seen).toEqual(['/w ', '/w/x 1']);
    watch.close();
    store.write('/w/x', '2');
    await Promise.resolve();
    expect(seen.length).toBe(2);
  });

  it('undoes a transaction that throws', () => {
    expect(() =>
      store.transaction((tx) => {
        tx.write('/t', '1');
        throw new Error('no');
      }),
    ).toThrow('no');
    expect(store.exists('/t')).toBe(false);
    const write = () =>
      store.transaction((tx) => {
        tx.write('/t', '1');
        return tx.read('/t');
      });
    expect(write()).toBe('1');
    expect(store.read('/t')).toBe('1');
  });

  it('prints the tree', () => {
    expect([...store.dump()].slice(0, 2)).toEqual(['/tool = ""   (n0)', '/tool/xenstored = ""   (n0)']);
  });
});
