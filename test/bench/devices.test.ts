/** What `npm run bench` makes of its measurements of devices. */
import { describe, expect, it } from 'vitest';
import { DEVICE_LINES, parseFio, parseNet } from '../../bench/devices/lines.ts';
import { type DeviceResult, deviceJson, deviceTable, summariseDevice } from '../../bench/devices/report.ts';
import { LINES } from '../../bench/lines.ts';

const line = (name: string) => DEVICE_LINES.find((l) => l.name === name)!;
const reads: DeviceResult = { line: line('seqread'), qemu: [100, 300, 200], xenolith: [500, 400, 300] };
const latency: DeviceResult = { line: line('domrr'), qemu: [30], xenolith: [60] };

it('device lines have names that no other line has', () => {
  const names = [...LINES, ...DEVICE_LINES].map((l) => l.name);
  expect(new Set(names).size).toBe(names.length);
});

describe('what guests print', () => {
  const report = (read: object, write: object) => JSON.stringify({ jobs: [{ job_runtime: 2004, read, write }] });
  const none = { bw_bytes: 0, iops: 0 };

  it.each([
    [`fio: a note\n${report({ bw_bytes: 1024, iops: 8.5 }, none)}\n`, { seconds: 2.004, bytes: 1024, operations: 8.5 }],
    [report(none, { bw_bytes: 77, iops: 1 }), { seconds: 2.004, bytes: 77, operations: 1 }],
    [report(none, none), undefined],
    ['fio: failed to open /dev/xvdb', undefined],
    ['{ "jobs": [] }', undefined],
  ])('fio: %j', (text, wanted) => expect(parseFio(text)).toEqual(wanted));

  it.each([
    ['stream 2.000500 1048576\n', { seconds: 2.0005, count: 1048576 }],
    ['noise\nrequest 1.5 900\n', { seconds: 1.5, count: 900 }],
    ['connect: Connection refused\n', undefined],
  ])('net: %j', (text, wanted) => expect(parseNet(text)).toEqual(wanted));
});

describe('ratios', () => {
  it('a larger rate and a smaller time are ahead', () => {
    expect(summariseDevice(reads)).toEqual({ name: 'seqread', qemu: 200, xenolith: 400, ratio: 2 });
    expect(summariseDevice(latency).ratio).toBe(0.5);
  });

  it('a line that failed has none, and one side alone neither', () => {
    expect(summariseDevice({ ...reads, error: 'no' }).ratio).toBeUndefined();
    expect(summariseDevice({ ...reads, qemu: [] }).ratio).toBeUndefined();
  });

  it('stand in the table and in the JSON, with every run', () => {
    const text = deviceTable([reads, { ...latency, error: 'gone\nmore' }]).join('\n');
    expect(text).toMatch(/seqread .* MiB\/s +200\.0 +400\.0 +2\.00$/m);
    expect(text).toMatch(/domrr .*failed: gone$/m);
    expect(deviceJson([reads])[0]).toMatchObject({ name: 'seqread', ratio: 2, runs: { qemu: reads.qemu } });
  });
});
