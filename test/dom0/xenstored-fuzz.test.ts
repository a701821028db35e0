/**
 * Random and malformed messages of hostile domains: none breaks the server, none crosses a permission, no quota is passed.
 * XS_FUZZ sets the number of messages, XS_FUZZ_SEED the seed.
 */
import { expect, it } from 'vitest';
import { XENSTORE_PAYLOAD_MAX, XS, XsdSockmsg } from '../../src/abi/xs_wire.ts';
import type { Connection } from '../../src/dom0/xenstored/connection.ts';
import { DEFAULT_QUOTA } from '../../src/dom0/xenstored/quota.ts';
import { XenStore } from '../../src/dom0/xenstored/xenstored.ts';
import { Client, message, Parser, type Reply } from './xs-guest.ts';

const COUNT = Number(process.env.XS_FUZZ ?? 20_000);
const SEED = Number(process.env.XS_FUZZ_SEED ?? 1);
const DOMAINS = [1, 2, 3];
/** Few, so that they are reached. */
const QUOTA = { ...DEFAULT_QUOTA, nodes: 60, watches: 12, transactions: 4 };

/** xorshift32. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  below(n: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state % n;
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
}

const random = new Random(SEED);
const home = (domid: number) => `/local/domain/${domid}`;

/** Names that all use, so that they meet. */
const NAMES = ['a', 'b', 'data', 'device', 'x-1', 'Y_2', '@at', 'state'];
const BAD_NAMES = ['', '.', '..', 'a b', 'ä', '\x01', 'x'.repeat(300), 'a//b', '*', 'a.b'];

function path(domid: number): string {
  const bases = [
    home(domid),
    home(domid),
    '',
    home(random.of(DOMAINS)),
    '/shared',
    '/fixed',
    `${home(random.of(DOMAINS))}/vault`,
  ];
  // Nobody touches a vault of its own: what is in there must stay as it is.
  let text: string = random.of(bases);
  if (text === `${home(domid)}/vault`) text = home(domid);
  for (let depth = random.below(4); depth > 0; depth--)
    text += `/${random.chance(30) ? `n${random.below(500)}` : random.of(NAMES)}`;
  if (random.chance(5)) text += `/${random.of(BAD_NAMES)}`;
  if (random.chance(2))
    text = random.of(['@introduceDomain', '@releaseDomain', '@releaseDomain/1', '@', '@x/', '/', '']);
  if (random.chance(1)) text = `/${'long/'.repeat(700)}`;
  return text;
}

const access = (domid: number) => `${random.of([...'nrwb'])}${random.of([domid, domid, 0, 1, 2, 3, 7])}`;
const perms = (domid: number) => {
  const list = [random.chance(90) ? `n${domid}` : access(domid)];
  for (let more = random.below(8); more > 0; more--) list.push(access(domid));
  if (random.chance(5)) list.push(random.of(['', 'z1', 'r', 'r99999', 'r-1', 'b1x']));
  return list.join('\0');
};

/** A payload as the operation wants it, or nearly so. */
function payload(type: number, domid: number): string {
  const p = path(domid);
  switch (type) {
    case XS.WRITE:
      return `${p}\0${random.chance(3) ? 'v'.repeat(random.below(4200)) : `v${random.below(1000)}`}`;
    case XS.SET_PERMS:
      return `${p}\0${perms(domid)}\0`;
    case XS.WATCH:
      return `${p}\0token${random.below(20)}\0${random.chance(20) ? `${random.below(5)}\0` : ''}`;
    case XS.UNWATCH:
      return `${p}\0token${random.below(20)}\0`;
    case XS.DIRECTORY_PART:
      return `${p}\0${random.below(50)}\0`;
    case XS.TRANSACTION_END:
      return random.of(['T\0', 'F\0', 'T\0', '', 'X\0']);
    case XS.TRANSACTION_START:
    case XS.RESET_WATCHES:
      return '\0';
    case XS.INTRODUCE:
    case XS.SET_TARGET:
      return `${random.below(5)}\0${random.below(5)}\0${random.below(5)}\0`;
    case XS.RELEASE:
    case XS.RESUME:
    case XS.GET_DOMAIN_PATH:
    case XS.IS_DOMAIN_INTRODUCED:
      return `${random.below(40_000)}\0`;
    case XS.CONTROL:
      return random.of(['check\0', 'quota\0set\0nodes\x00999999\0', 'help\0']);
    default:
      return `${p}\0`;
  }
}

const TYPES = [
  ...Array<number>(8).fill(XS.WRITE),
  ...Array<number>(4).fill(XS.READ),
  ...[XS.RM, XS.RM, XS.MKDIR, XS.MKDIR, XS.DIRECTORY, XS.DIRECTORY_PART, XS.GET_PERMS, XS.SET_PERMS, XS.SET_PERMS],
  ...[XS.WATCH, XS.WATCH, XS.UNWATCH, XS.TRANSACTION_START, XS.TRANSACTION_END, XS.TRANSACTION_END],
  ...[XS.INTRODUCE, XS.RELEASE, XS.RESUME, XS.SET_TARGET, XS.CONTROL, XS.GET_DOMAIN_PATH, XS.IS_DOMAIN_INTRODUCED],
];

/** What one domain sends and gets. */
class Hostile {
  readonly domid: number;
  connection: Connection;
  #parser = new Parser();
  readonly transactions: number[] = [];
  sent = 0;

  constructor(store: XenStore, domid: number) {
    this.domid = domid;
    this.connection = store.connect(domid, { relative: true, onOutput: () => {} });
  }

  bytes(): Uint8Array {
    if (random.chance(2)) {
      const noise = new Uint8Array(random.below(64));
      for (let i = 0; i < noise.length; i++) noise[i] = random.below(256);
      return noise;
    }
    const type = random.chance(2) ? random.below(64) : random.chance(1) ? random.below(0xffff_ffff) : random.of(TYPES);
    let text = payload(type, this.domid);
    if (random.chance(3)) text = text.slice(0, random.below(text.length + 1));
    if (random.chance(2)) text = text.replaceAll('\0', '');
    if (random.chance(30) && text.startsWith(`${home(this.domid)}/`)) text = text.slice(home(this.domid).length + 1);
    const tx = random.chance(60) ? 0 : random.chance(80) ? (this.transactions.at(-1) ?? 0) : random.below(100);
    if (type === XS.TRANSACTION_END) this.transactions.pop();
    const whole = message(
      type,
      text.slice(0, XENSTORE_PAYLOAD_MAX),
      type === XS.TRANSACTION_START ? 0 : tx,
      random.below(1 << 30),
    );
    if (random.chance(1)) new DataView(whole.buffer).setUint32(XsdSockmsg.off.len, random.below(10_000), true);
    return whole;
  }

  /** In pieces of any size. */
  send(): void {
    let rest = this.bytes();
    while (rest.length > 0 && this.connection.ready) {
      const piece = random.chance(10) ? rest.subarray(0, 1 + random.below(rest.length)) : rest;
      const took = this.connection.feed(piece);
      rest = rest.subarray(took);
      if (took === 0) break;
    }
    this.sent += 1;
    if (this.connection.broken) {
      this.connection.reset();
      this.#parser = new Parser();
      this.transactions.length = 0;
    }
  }

  receive(): Reply[] {
    this.#parser.push(this.connection.take(random.chance(50) ? 1 << 20 : random.below(200)));
    const replies = [...this.#parser.messages()];
    for (const r of replies)
      if (r.type === XS.TRANSACTION_START) this.transactions.push(Number(r.payload.slice(0, -1)));
    return replies;
  }
}

it(`${COUNT} messages of hostile domains`, () => {
  const store = new XenStore({ quota: QUOTA });
  const dom0 = new Client(store, 0);
  const addDomain = (domid: number) => {
    store.write(home(domid), '', ['n0', `r${domid}`]);
    // Its own, and of interest to others.
    store.mkdir(`${home(domid)}/vault`, `n${domid}`);
    for (const name of NAMES) store.write(`${home(domid)}/vault/${name}`, `SECRET${domid}`, `n${domid}`);
  };
  for (const domid of DOMAINS) addDomain(domid);
  for (const name of NAMES) store.write(`/fixed/${name}/deep`, 'SECRET0', 'n0');
  /** Where they may write: they remove it themselves, again and again. */
  const playground = () => {
    for (const domid of DOMAINS)
      for (const dir of ['data', 'device']) store.mkdir(`${home(domid)}/${dir}`, `n${domid}`);
    store.mkdir('/shared', ['b0', 'b1']);
  };
  const kept = () => [...store.dump()].filter((line) => /^\/(fixed|local\/domain\/\d\/vault)/.test(line));
  const before = kept();
  const hostile = DOMAINS.map((domid) => new Hostile(store, domid));
  let answers = 0;
  let errors = 0;

  for (let i = 0; i < COUNT; i++) {
    const d = random.of(hostile);
    d.send();
    if (random.chance(70)) {
      for (const { type, payload: text } of d.receive()) {
        answers += 1;
        if (type === XS.ERROR) errors += 1;
        for (const other of [0, ...DOMAINS]) {
          if (other !== d.domid && text.includes(`SECRET${other}`))
            throw new Error(`domain ${d.domid} read a secret of ${other}`);
        }
        const told = type === XS.WATCH_EVENT ? text.split('\0')[0] : '';
        // A watch is told of once when it is set, whatever it names; of what happens there only to those who may read.
        const own = `${home(d.domid)}/`;
        if (/\/new$/.test(told) && !told.startsWith(own)) throw new Error(`domain ${d.domid} was told of ${told}`);
      }
    }
    if (i % 100 === 0) {
      playground();
      // Things happen where they may not look.
      store.write('/fixed/a/new', `${i}`, 'n0');
      store.rm('/fixed/a/new');
      const other = random.of(DOMAINS);
      store.write(`${home(other)}/vault/a/new`, 'x', 'n0');
      store.rm(`${home(other)}/vault/a/new`);
    }
    if (i % 500 === 0) {
      expect(dom0.ask(XS.CONTROL, 'check\0')).toBe('OK\0');
      for (const domid of DOMAINS) {
        const [, nodes, memory] = /nodes\s+: (\d+)\nmemory\s+: (\d+)/.exec(dom0.ask(XS.CONTROL, `quota\0${domid}\0`))!;
        expect(Number(nodes)).toBeLessThanOrEqual(QUOTA.nodes);
        expect(Number(memory)).toBeLessThanOrEqual(QUOTA.memory);
      }
      expect(kept()).toEqual(before);
    }
  }
  expect(kept()).toEqual(before);
  // It was no monologue, and not all of it nonsense.
  expect(answers).toBeGreaterThan(COUNT / 3);
  expect(errors).toBeGreaterThan(0);
  expect(errors).toBeLessThan(answers);
}, 3_600_000);
