/** Commands of Xen's xl that are not there: a row each, so that they are refused by name and listed by `xl help`. */
import { type Command, CommandError } from '../command.ts';

const ROWS: readonly (readonly [feature: string, names: string])[] = [
  ['saving and restoring domains', 'save restore suspend resume'],
  ['migration', 'migrate migrate-receive remus'],
  ['PCI pass-through', 'pci-attach pci-detach pci-list pci-assignable-add pci-assignable-remove pci-assignable-list'],
  ['VNC', 'vncviewer'],
  ['virtual TPMs', 'vtpm-attach vtpm-list vtpm-detach'],
  ['virtual keyboards', 'vkb-attach vkb-list vkb-detach'],
  ['virtual displays', 'vdispl-attach vdispl-list vdispl-detach'],
  ['virtual sound', 'vsnd-attach vsnd-list vsnd-detach'],
  ['virtual USB', 'usbctrl-attach usbctrl-detach usbdev-attach usbdev-detach usb-list'],
  ['sharing of pages', 'sharing'],
  ['changing parameters of the hypervisor', 'set-parameters'],
  ['the Flask security module', 'getenforce setenforce loadpolicy'],
  ['driver domains', 'devd'],
  [
    'monitoring and allocation of shared processor resources',
    'psr-hwinfo psr-cmt-attach psr-cmt-detach psr-cmt-show psr-cat-set psr-cat-show psr-mba-set psr-mba-show',
  ],
  ['device models', 'qemu-monitor-command'],
];

export const unsupported: readonly Command[] = ROWS.flatMap(([feature, names]) =>
  names.split(' ').map((name) => ({
    name,
    summary: `Not supported yet: ${feature}`,
    usage: '',
    lenient: true,
    run(): never {
      throw new CommandError(`xl ${name}: ${feature}: not supported yet; see docs/SUPPORT.md`);
    },
  })),
);
