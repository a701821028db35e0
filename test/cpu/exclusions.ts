/**
 * Instructions that have no recorded cases, each with its reason. Everything else in the table must have some
 * (coverage.test.ts).
 */
export const EXCLUDED: Readonly<Record<string, string>> = {
  syscall: 'would call the kernel of the recording machine',
  sysenter: 'would call the kernel of the recording machine',
  sysexit: 'returns from ring 0 only',
  int1: 'a virtual machine’s kernel sees it at another address than the manuals say',
  cpuid: 'its answer is the recording machine, not the instruction',
  rdtsc: 'reads a clock',
  rdtscp: 'reads a clock',
  rdrand: 'random by purpose',
  rdseed: 'random by purpose',
  rdpmc: 'allowed or not by CR4 of the recording machine',
  xgetbv: 'tells which state components the recording kernel enabled',
  xsave: 'the header tells the recording processor’s state components',
  xrstor: 'components beyond SSE are those of the recording processor',
  sgdt: 'emulated by the recording kernel (UMIP)',
  sidt: 'emulated by the recording kernel (UMIP)',
  sldt: 'emulated by the recording kernel (UMIP)',
  str: 'emulated by the recording kernel (UMIP)',
  smsw: 'emulated by the recording kernel (UMIP)',
  vmcall: 'the recording machine may be a virtual machine itself',
  vmmcall: 'the recording machine may be a virtual machine itself',
  monitor: 'enabled or not by the recording machine',
  mwait: 'enabled or not by the recording machine',
};
