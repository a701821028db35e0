/** CPU lists as xl prints them: `all`, `none`, `0-3,5`. */

/** `count`: how many CPUs the machine has. */
export function formatCpus(cpus: readonly number[], count: number): string {
  if (cpus.length === 0) return 'none';
  if (cpus.length === count) return 'all';
  const ranges: string[] = [];
  for (let i = 0; i < cpus.length; ) {
    let last = i;
    while (cpus[last + 1] === cpus[last] + 1) last += 1;
    ranges.push(last > i ? `${cpus[i]}-${cpus[last]}` : `${cpus[i]}`);
    i = last + 1;
  }
  return ranges.join(',');
}
