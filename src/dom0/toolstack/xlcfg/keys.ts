/**
 * Every key of xl.cfg(5), and what becomes of it for a PV or PVH guest: one row each. A key that is in no row is none of Xen's, and
 * the user is told that it is ignored.
 */
import type { DomainSpecInput } from '../spec.ts';
import { parseChannel } from './channel.ts';
import type { CfgReader } from './reader.ts';

type Spec = { -readonly [K in keyof DomainSpecInput]?: unknown };

/** Puts the key's value into the spec, or tells the reader what is wrong with it. */
export type KeyRow = (r: CfgReader, key: string, spec: Spec) => void;

const SUPPORT = 'not supported yet; see docs/SUPPORT.md';

/** Spec keys of the same name and kind. */
const text: KeyRow = (r, key, spec) => {
  spec[key as keyof Spec] = r.string(key);
};
const number: KeyRow = (r, key, spec) => {
  spec[key as keyof Spec] = r.number(key);
};
const boolean: KeyRow = (r, key, spec) => {
  spec[key as keyof Spec] = r.boolean(key);
};
const cpus: KeyRow = (r, key, spec) => {
  spec[key as keyof Spec] = r.stringOrStrings(key);
};

const channel: KeyRow = (r, key, spec) => {
  const parsed = r.strings(key)?.map((text) => parseChannel(text, (message) => r.problem(key, message)));
  spec.channel = parsed?.filter((c) => c !== undefined);
};

/** Read together with others, in domain.ts. */
const elsewhere: KeyRow = () => {};

/** Not there, whatever its value. */
const unsupported: KeyRow = (r, key) => r.problem(key, SUPPORT);

/** A switch: off is what there is, on is not. */
const unsupportedIfOn: KeyRow = (r, key) => {
  if (r.boolean(key)) r.problem(key, SUPPORT);
};

/** A list of things that are not there: an empty one is fine. */
const unsupportedUnlessEmpty: KeyRow = (r, key) => {
  const value = r.file.get(key)!.value;
  if (value.kind === 'string' || value.items.length > 0) r.problem(key, SUPPORT);
};

/** Xen's xl takes these for any guest; they mean nothing to a PV or PVH one. */
const hvmOnly: KeyRow = (r, key, spec) => r.warn(key, `has no effect on a ${spec.type === 'pvh' ? 'PVH' : 'PV'} guest`);

/** A switch that a PVH guest has too: what it has here is `has`, anything else is not there. */
const pvhSwitch =
  (has: boolean): KeyRow =>
  (r, key, spec) => {
    if (spec.type !== 'pvh') hvmOnly(r, key, spec);
    else if (r.boolean(key) === !has) r.problem(key, SUPPORT);
  };

const armOnly: KeyRow = (r, key) => r.problem(key, 'only for Arm guests, which are not supported');

/** Only said of PCI devices, of which there are none. */
const pciOnly: KeyRow = (r, key) => r.warn(key, 'has no effect without pci=');

const grantVersion: KeyRow = (r, key, spec) => {
  const value = r.number(key);
  if (value !== undefined && value < 1) r.problem(key, 'a guest without grant tables is not supported yet');
  else spec.max_grant_version = value;
};

const passthrough: KeyRow = (r, key) => {
  const value = r.string(key);
  if (value !== undefined && value !== 'disabled' && value !== 'unknown') r.problem(key, SUPPORT);
};

/** 0 or its name: the only mode in which nothing would have to be emulated that is not. */
const tscMode: KeyRow = (r, key, spec) => {
  const names = ['default', 'always_emulate', 'native', 'native_paravirt'];
  const value = r.string(key);
  if (value === undefined) return;
  const mode = names[Number(value)] ?? value;
  if (!names.includes(mode)) r.problem(key, `"${value}" is none of ${names.join(', ')}`);
  else if (mode === 'native_paravirt') r.problem(key, SUPPORT);
  else spec.tsc_mode = mode;
};

/** Named by its path or alone; Xen's other one, pvgrub, is a kernel. */
const bootloader: KeyRow = (r, key, spec) => {
  const value = r.string(key);
  if (value === undefined) return;
  if (value.replace(/^.*\//, '') === 'pygrub') spec.bootloader = 'pygrub';
  else r.problem(key, `"${value}" is ${SUPPORT}; there is pygrub`);
};

/** A list, or one string of words. */
const bootloaderArgs: KeyRow = (r, key, spec) => {
  const value = r.stringOrStrings(key);
  spec.bootloader_args = typeof value === 'string' ? value.split(/\s+/).filter((word) => word !== '') : value;
};

const rows = (row: KeyRow, names: string) => names.split(/\s+/).map((name) => [name, row] as const);

export const KEYS: ReadonlyMap<string, KeyRow> = new Map([
  ...rows(text, 'name uuid kernel ramdisk pool'),
  ...rows(text, 'on_poweroff on_reboot on_watchdog on_crash on_soft_reset'),
  ...rows(number, 'vcpus maxvcpus maxmem cpu_weight cap rtc_timeoffset'),
  ...rows(number, 'max_grant_frames max_maptrack_frames max_event_channels'),
  ...rows(boolean, 'localtime nomigrate'),
  ...rows(cpus, 'cpus cpus_soft'),
  ...rows(elsewhere, 'type builder memory cmdline root extra disk vif'),
  ['max_grant_version', grantVersion],
  ['passthrough', passthrough],
  ['channel', channel],
  ['tsc_mode', tscMode],
  ['bootloader', bootloader],
  ['bootloader_args', bootloaderArgs],
  ...rows(unsupported, 'vnuma firmware seclabel init_seclabel cpuid mca_caps altp2m vmtrace_buf_kb'),
  ...rows(unsupported, 'period budget extratime latency slice llc_colors vif2 xenstore_feature_mask xenstore_quota'),
  ...rows(unsupportedIfOn, 'driver_domain e820_host vpmu xend_suspend_evtchn_compat vnc msr_relaxed'),
  ...rows(unsupportedUnlessEmpty, 'vtpm p9 pvcalls vfb usbctrl usbdev pci ioports iomem irqs vdispl vsnd vkb'),
  ...rows(unsupportedUnlessEmpty, 'virtio'),
  ...rows(armOnly, 'gic_version vuart device_tree dtdev tee nr_spis sve arm_sci trap_unmapped_accesses'),
  ...rows(pciOnly, 'pci_permissive pci_msitranslate pci_seize pci_power_mgmt rdm rdm_mem_boundary'),
  ...rows(pvhSwitch(false), 'pvshim nestedhvm altp2mhvm'),
  ...rows(pvhSwitch(true), 'apic hap'),
  ...rows(hvmOnly, 'bootloader_restrict bootloader_user pvshim_path pvshim_cmdline pvshim_extra'),
  ...rows(hvmOnly, 'boot hdtype oos shadow_memory bios bios_path_override pae acpi acpi_s3 acpi_s4'),
  ...rows(hvmOnly, 'acpi_laptop_slate nx hpet altp2m_count hvm_pirq acpi_firmware'),
  ...rows(hvmOnly, 'smbios_firmware smbios firmware_override ms_vm_genid vpt_align timer_mode mmio_hole'),
  ...rows(hvmOnly, 'xen_platform_pci xen_platform_pci_bar_uc viridian videoram stdvga vga vnclisten vncdisplay'),
  ...rows(hvmOnly, 'vncunused vncpasswd vncviewer keymap sdl opengl display xauthority nographic gfx_passthru'),
  ...rows(hvmOnly, 'spice spicehost spiceport spicetls_port spicedisable_ticketing spicepasswd spiceagent_mouse'),
  ...rows(hvmOnly, 'spicevdagent spice_clipboard_sharing spiceusbredirection spice_image_compression'),
  ...rows(hvmOnly, 'spice_streaming_video serial soundhw vkb_device usb usbversion usbdevice vendor_device'),
  ...rows(hvmOnly, 'device_model device_model_version device_model_override device_model_user dm_restrict'),
  ...rows(hvmOnly, 'device_model_stubdomain_override device_model_stubdomain_seclabel device_model_args'),
  ...rows(hvmOnly, 'device_model_args_pv device_model_args_hvm stubdomain_kernel stubdomain_cmdline'),
  ...rows(hvmOnly, 'stubdomain_ramdisk stubdomain_memory'),
]);
