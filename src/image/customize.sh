#!/bin/sh
# Run by mmdebstrap with the new root file system as $1: what makes it a guest, and the file system image, which goes to
# file descriptor 3. The settings come in the environment (src/image/debian.ts), so that no password is on a command line.
set -eu
root=$1

echo "$GUEST_HOSTNAME" >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 %s\n::1 localhost ip6-localhost ip6-loopback\n' "$GUEST_HOSTNAME" >"$root/etc/hosts"
printf 'UUID=%s / ext4 defaults,errors=remount-ro 0 1\n' "$GUEST_UUID" >"$root/etc/fstab"

# Every kernel package keeps /vmlinuz and /initrd.img up to date, so this never changes.
mkdir -p "$root/boot/grub"
cat >"$root/boot/grub/grub.cfg" <<CFG
set default=0
set timeout=0
menuentry 'Debian GNU/Linux' {
	linux /vmlinuz root=UUID=$GUEST_UUID ro console=hvc0
	initrd /initrd.img
}
CFG

# An address from whoever answers on the first network card.
cat >"$root/etc/systemd/network/80-ethernet.network" <<'CFG'
[Match]
Type=ether

[Network]
DHCP=yes
CFG
chroot "$root" systemctl --quiet enable systemd-networkd.service systemd-resolved.service

# Identities are made when the guest first boots: an image may be copied.
: >"$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id" "$root"/etc/ssh/ssh_host_*
cat >"$root/etc/systemd/system/ssh-host-keys.service" <<'CFG'
[Unit]
Description=SSH host keys
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
CFG
chroot "$root" systemctl --quiet enable ssh-host-keys.service

account=root
if [ -n "$GUEST_USER" ]; then
  account=$GUEST_USER
  chroot "$root" useradd --create-home --shell /bin/bash --groups sudo "$account"
fi
if [ -n "$GUEST_PASSWORD" ]; then printf '%s:%s\n' "$account" "$GUEST_PASSWORD" | chroot "$root" chpasswd; fi
if [ -n "$GUEST_SSH_KEYS" ]; then
  home=$(chroot "$root" getent passwd "$account" | cut -d: -f6)
  mkdir -p "$root$home/.ssh"
  printf '%s\n' "$GUEST_SSH_KEYS" >"$root$home/.ssh/authorized_keys"
  chmod 700 "$root$home/.ssh"
  chmod 600 "$root$home/.ssh/authorized_keys"
  chroot "$root" chown -R "$account:" "$home/.ssh"
fi

# A resolver that systemd-resolved fills in; until now the host's was needed.
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb
rm -f "$root"/var/log/apt/* "$root"/var/log/dpkg.log "$root"/var/log/bootstrap.log

# A second view of the root that what is mounted below it (/proc, /sys, /dev) is no part of.
image=$(mktemp)
mount --bind "$root" "$root/mnt"
status=0
mke2fs -q -F -t ext4 -L root -U "$GUEST_UUID" -E root_owner=0:0 -d "$root/mnt" "$image" "${GUEST_SIZE_MIB}M" || status=$?
umount "$root/mnt"
if [ "$status" = 0 ]; then cat "$image" >&3 || status=$?; fi
rm -f "$image"
exit "$status"
