/**
 * The wasm function under construction: labels by nesting level instead of relative depth, and locals that instructions
 * share one after the other (baseline compilers take time for each local at each branch).
 */
import { Func, type WasmType } from '../wasm/module.ts';

const ZERO: Readonly<Record<WasmType, readonly number[]>> = {
  i32: [0],
  i64: [0],
  f32: Array(4).fill(0),
  f64: Array(8).fill(0),
  v128: Array(16).fill(0),
};

export class RegionFunc extends Func {
  /** How many blocks are open. */
  level = 0;
  private readonly free = new Map<WasmType, number[]>();
  private taken: [WasmType, number][] = [];
  private condition: number | undefined;

  override block(result?: WasmType): this {
    this.level++;
    return super.block(result);
  }
  override loop(): this {
    this.level++;
    return super.loop();
  }
  override if(result?: WasmType): this {
    this.level++;
    return super.if(result);
  }
  override end(): this {
    this.level--;
    return super.end();
  }
  /**
   * If the i32 on the stack is not 0: what follows, up to `end`, which it does not reach. `if` does the same, but where it ends V8 sees
   * two blocks, of which the second has one predecessor: it keeps each value behind in a table by block, and looks through it all where many ways meet.
   */
  leaving(unlikely = true): this {
    this.condition ??= this.register('i32');
    this.set(this.condition).block().get(this.condition).op('i32.eqz');
    if (unlikely) this.likely();
    return this.brIf(0);
  }
  /** Push 0. */
  zero(t: WasmType): this {
    this.op(`${t}.const`).body.raw(ZERO[t]);
    return this;
  }
  /** Branch to the block that was opened when `level` blocks were open. */
  brTo(level: number): this {
    return this.br(this.level - level - 1);
  }

  /** A local until the next `release`. */
  override local(t: WasmType): number {
    const l = this.free.get(t)?.pop() ?? super.local(t);
    this.taken.push([t, l]);
    return l;
  }
  /** A local for good. */
  register(t: WasmType): number {
    return super.local(t);
  }
  /** The present instruction's locals may serve the next. */
  release(): void {
    for (const [t, l] of this.taken) {
      const list = this.free.get(t);
      if (list) list.push(l);
      else this.free.set(t, [l]);
    }
    this.taken = [];
  }
}
