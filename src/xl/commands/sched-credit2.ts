import { weightedCommand } from '../weighted.ts';

export const schedCredit2 = weightedCommand({
  name: 'sched-credit2',
  scheduler: 'credit2',
  usage: '[-d <Domain> [-w[=WEIGHT]|-c[=CAP]]] [-s [-r RATELIMIT]] [-p CPUPOOL]',
  poolOptions: [
    {
      short: 'r',
      long: 'ratelimit_us',
      value: 'RLIMIT',
      key: 'ratelimitUs',
      help: 'Set the scheduling rate limit, in microseconds',
    },
  ],
  describe: (p) => `ratelimit=${p.ratelimitUs}us`,
});
