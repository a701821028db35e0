/** A region → a wasm module. Its bytes follow from the guest's bytes alone. */
import type { Type } from '../semantics/ir.ts';
import { Module } from '../wasm/module.ts';
import { cellName } from './code.ts';
import type { Region } from './discover.ts';
import { RegionFunction } from './function.ts';
import { RegionFunc } from './region-func.ts';

const HANDLER = { params: ['i32', 'i32', 'i32'], results: ['i32'] } as const;

/** Imports: env.memory, env.id.0 and env.tableN.0 (Translation.tables; code.ts cellName), translator.bind, engine.table, env.dropped, engine.go, jump, interpret and perhaps preempt, and functions of the runtime. */
export function compileRegion(region: Region): Uint8Array<ArrayBuffer> {
  const m = new Module();
  m.optimize = true;
  m.memory = { min: 16, max: 65536, shared: true };
  m.importTable('engine', 'table');
  const handlerType = m.type(HANDLER.params, HANDLER.results);
  const dropped = m.importGlobal('env', 'dropped');
  const id = m.importGlobal('env', cellName('id', 0));
  const tables = region.others.map((_, i) => m.importGlobal('env', cellName(`table${i}`, 0)));
  const bind = m.import('translator', 'bind', ['i32', 'i32', 'i32'], []);
  const go = m.import('engine', 'go', ['i32', 'i32', 'i64'], ['i32']);
  const jump = m.import('engine', 'jump', ['i32', 'i32', 'i64'], ['i32']);
  const interpret = m.import('engine', 'interpret', ['i32', 'i32', 'i64'], ['i32']);
  const resyncs = region.blocks.some((b) => b.instructions.at(-1)!.ending === 'resync');
  const preempt = resyncs ? m.import('engine', 'preempt', ['i32', 'i32', 'i64'], ['i32']) : undefined;
  const flagsWords = m.import('runtime', 'flags_words', ['i32', 'i32', 'i64', 'i64', 'i64', 'i64', 'i64'], []);
  const helpers = new Map<string, number>();
  for (const [name, sig] of helpersOf(region)) {
    helpers.set(name, m.import('runtime', name, ['i32', ...sig.args], sig.result ? [sig.result] : []));
  }
  const helper = (name: string) => helpers.get(name)!;
  const exits = {
    go,
    jump,
    interpret,
    preempt,
    flagsWords,
    dropped,
    helper,
    handlerType,
    id,
    tables,
    bind,
  };
  const f = new RegionFunc(HANDLER);
  new RegionFunction(region, exits, f);
  m.export('0', m.add(HANDLER.params, HANDLER.results, f.encode(), f.hints()));
  return m.encode();
}

/** Helpers that the region calls, sorted by name. */
function helpersOf(region: Region): [string, { args: Type[]; result?: Type }][] {
  const found = new Map<string, { args: Type[]; result?: Type }>();
  for (const b of region.blocks) {
    for (const i of b.instructions) {
      for (const n of i.all) {
        if (n.k === 'call') found.set(n.name, { args: n.args.map((a) => a.t), result: n.out?.t });
      }
    }
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1));
}
