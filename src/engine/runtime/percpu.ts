/** Mutable globals of the runtime: per-CPU state, one instance a thread. */

/** Engine area of this CPU (AreaHeader). */
export let area: u32 = 0;
export function setArea(a: u32): void {
  area = a;
}
