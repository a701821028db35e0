/** What the disks of these tests hold. */

/** In the form that Debian's update-grub writes. */
export const GRUB_CFG = `
if [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "\${next_entry}" ] ; then
   set default="\${next_entry}"
   set next_entry=
else
   set default="1>0"
fi
function load_video {
  insmod all_video
}
# menuentry 'not this one' { linux /no }
menuentry 'Debian GNU/Linux' --class debian --class os $menuentry_id_option 'gnulinux-simple' {
	load_video
	if [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
	search --no-floppy --fs-uuid --set=root 6f1d7a5e
	echo	'Loading Linux 1 ...'
	linux	/boot/kernel-1 root=/dev/xvda1 ro  quiet "name=a b"
	initrd	/boot/ramdisk
}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced' {
	menuentry 'Debian GNU/Linux, with Linux 2' --class debian $menuentry_id_option 'gnulinux-2' {
		linux	/boot/kernel-2 root=/dev/xvda1 ro single
	}
}
menuentry 'Xen' {
	multiboot2	/boot/xen.gz
	module2	/boot/kernel-1
}
`;

/** Bytes that are all different from file to file; every third 4 KiB of them zero, which becomes a hole. */
function content(seed: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let s = seed;
  for (let i = 0; i < size; i++) {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    // Few different values, so that the recorded disks stay small.
    if ((i >> 12) % 3 !== 1) bytes[i] = i % 64 ? 0x40 + (i & 15) : s >>> 24;
  }
  return bytes;
}

/** The files in /boot. The first needs indirect blocks of the second level where blocks are small. */
export const files = (): Readonly<Record<string, Uint8Array>> => ({
  'kernel-1': content(1, 600_001),
  'kernel-2': content(2, 4096),
  ramdisk: content(3, 70_000),
  empty: new Uint8Array(0),
});
