/**
 * The wasm function under construction: labels by nesting level instead of relative depth, and locals that instructions
 * share one after the other (baseline compilers take time for each local at each branch).
 */
import { Func, type WasmType } from '../wasm/module.ts';

export class RegionFunc extends Func {
  /** How many blocks are open. */
  level = 0;
  private readonly free = new Map<WasmType, number[]>();
  private taken: [WasmType, number][] = [];

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
