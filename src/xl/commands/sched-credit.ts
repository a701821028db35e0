import { weightedCommand } from '../weighted.ts';

export const schedCredit = weightedCommand({
  name: 'sched-credit',
  scheduler: 'credit',
  usage: '[-d <Domain> [-w[=WEIGHT]|-c[=CAP]]] [-s [-t TSLICE] [-r RATELIMIT]] [-p CPUPOOL]',
  poolOptions: [
    { short: 't', long: 'tslice_ms', value: 'TSLICE', key: 'tsliceMs', help: 'Set the timeslice, in milliseconds' },
    {
      short: 'r',
      long: 'ratelimit_us',
      value: 'RLIMIT',
      key: 'ratelimitUs',
      help: 'Set the scheduling rate limit, in microseconds',
    },
    {
      short: 'm',
      long: 'migration_delay_us',
      value: 'DLY',
      key: 'migrationDelayUs',
      help: 'Set the migration delay, in microseconds',
    },
  ],
  describe: (p) => `tslice=${p.tsliceMs}ms ratelimit=${p.ratelimitUs}us migration-delay=${p.migrationDelayUs}us`,
});
