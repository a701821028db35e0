/** The commands of xl, in the order of `xl help`. */
import type { Command } from './command.ts';
import { blockCommands } from './commands/block.ts';
import { buttonPress } from './commands/button-press.ts';
import { channelList } from './commands/channel-list.ts';
import { claims } from './commands/claims.ts';
import { configUpdate } from './commands/config-update.ts';
import { consoleCommand } from './commands/console.ts';
import { cpupoolCommands } from './commands/cpupool-change.ts';
import { cpupoolCreate } from './commands/cpupool-create.ts';
import { cpupoolList } from './commands/cpupool-list.ts';
import { create } from './commands/create.ts';
import { debugKeys } from './commands/debug-keys.ts';
import { destroy } from './commands/destroy.ts';
import { dmesg } from './commands/dmesg.ts';
import { domid } from './commands/domid.ts';
import { domname } from './commands/domname.ts';
import { driverCommands } from './commands/driver.ts';
import { dumpCoreCommand } from './commands/dump-core.ts';
import { gdbsx } from './commands/gdbsx.ts';
import { help } from './commands/help.ts';
import { host } from './commands/host.ts';
import { image } from './commands/image.ts';
import { info } from './commands/info.ts';
import { list } from './commands/list.ts';
import { memMax } from './commands/mem-max.ts';
import { memSet } from './commands/mem-set.ts';
import { networkCommands } from './commands/network.ts';
import { pause } from './commands/pause.ts';
import { reboot } from './commands/reboot.ts';
import { rename } from './commands/rename.ts';
import { schedCredit } from './commands/sched-credit.ts';
import { schedCredit2 } from './commands/sched-credit2.ts';
import { schedRtds } from './commands/sched-rtds.ts';
import { shutdown } from './commands/shutdown.ts';
import { sysrq } from './commands/sysrq.ts';
import { top } from './commands/top.ts';
import { trigger } from './commands/trigger.ts';
import { unpause } from './commands/unpause.ts';
import { unsupported } from './commands/unsupported.ts';
import { uptime } from './commands/uptime.ts';
import { vcpuList } from './commands/vcpu-list.ts';
import { vcpuPin } from './commands/vcpu-pin.ts';
import { vcpuSet } from './commands/vcpu-set.ts';
import { vmList } from './commands/vm-list.ts';

export const COMMANDS: readonly Command[] = [
  create,
  configUpdate,
  list,
  destroy,
  shutdown,
  reboot,
  pause,
  unpause,
  consoleCommand,
  dumpCoreCommand,
  gdbsx,
  memMax,
  memSet,
  buttonPress,
  vcpuList,
  vcpuPin,
  vcpuSet,
  vmList,
  info,
  schedCredit,
  schedCredit2,
  schedRtds,
  domid,
  domname,
  rename,
  trigger,
  sysrq,
  debugKeys,
  dmesg,
  top,
  uptime,
  claims,
  cpupoolCreate,
  cpupoolList,
  ...blockCommands,
  ...networkCommands,
  channelList,
  ...cpupoolCommands,
  ...driverCommands,
  image,
  host,
  help,
  ...unsupported,
];

/** By name or unambiguous beginning of it. */
export function findCommand(word: string): Command | undefined {
  const exact = COMMANDS.find((c) => c.name === word);
  if (exact) return exact;
  const candidates = COMMANDS.filter((c) => c.name.startsWith(word));
  return candidates.length === 1 ? candidates[0] : undefined;
}
