#!/bin/sh
# Builds the images of test guests. Usage: test/guests/build.sh [output folder [sources]] (default: all of src/)
set -e
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/images}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- "$here"/src/*.c
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
flags="-std=gnu11 -Os -Wall -Wextra -Werror -Wno-clobbered -ffreestanding -fno-pic -fno-pie -mcmodel=kernel -mno-red-zone -mgeneral-regs-only
  -fno-stack-protector -fno-asynchronous-unwind-tables -fno-strict-aliasing -fcf-protection=none -ffunction-sections -fdata-sections"
mkdir -p "$out"
gcc $flags -c "$here/lib/lib.c" -o "$tmp/lib.o"
gcc $flags -c "$here/lib/smp.c" -o "$tmp/smp.o"
gcc -c "$here/lib/start.S" -o "$tmp/start.o"
gcc -DFAULT_FIRST -c "$here/lib/start.S" -o "$tmp/start-fault.o"
for source; do
  name=$(basename "$source" .c)
  start=start.o
  [ "$name" = first-fault ] && start=start-fault.o
  gcc $flags -c "$source" -o "$tmp/$name.o"
  ld -T "$here/lib/guest.lds" -n --gc-sections -z noexecstack --no-warn-rwx-segments --build-id=none -s \
    -o "$out/$name.elf" "$tmp/$start" "$tmp/$name.o" "$tmp/lib.o" "$tmp/smp.o"
done
