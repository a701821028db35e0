# Completion of xl for bash. Made by scripts/completions.ts; use: source xl.bash
_xl() {
  local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} options="" words="" files=""
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W "create config-update list destroy shutdown reboot pause unpause console dump-core gdbsx mem-max mem-set button-press vcpu-list vcpu-pin vcpu-set vm-list info sched-credit sched-credit2 sched-rtds domid domname rename trigger sysrq debug-keys dmesg top uptime claims cpupool-create cpupool-list block-attach block-list block-detach cd-insert cd-eject network-attach network-list network-detach channel-list cpupool-destroy cpupool-rename cpupool-cpu-add cpupool-cpu-remove cpupool-migrate cpupool-numa-split driver-create driver-destroy driver-list image host help save restore suspend resume migrate migrate-receive remus pci-attach pci-detach pci-list pci-assignable-add pci-assignable-remove pci-assignable-list vncviewer vtpm-attach vtpm-list vtpm-detach vkb-attach vkb-list vkb-detach vdispl-attach vdispl-list vdispl-detach vsnd-attach vsnd-list vsnd-detach usbctrl-attach usbctrl-detach usbdev-attach usbdev-detach usb-list sharing set-parameters getenforce setenforce loadpolicy devd psr-hwinfo psr-cmt-attach psr-cmt-detach psr-cmt-show psr-cat-set psr-cat-show psr-mba-set psr-mba-show qemu-monitor-command" -- "$current")
    return
  fi
  case $command in
    create) options="-c -d -e -F -f --defconfig -n --dryrun -p -q --quiet -V --vncviewer -A --vncviewer-autopass --ignore-global-affinity-masks"; files=1 ;;
    config-update) options="-f --defconfig -d"; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    list) options="-l --long -v --verbose -Z --context -c --cpupool -n --numa"; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    destroy) options="-f"; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    shutdown) options="-a --all -F -w --wait"; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    reboot) options="-a --all -F -w --wait"; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    pause) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    unpause) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    console) options="-t -n -e"; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    dump-core) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    gdbsx) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    mem-max) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    mem-set) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    button-press) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    vcpu-list) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    vcpu-pin) options="-f --force -i --ignore-global-affinity-masks"; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    vcpu-set) options="-i --ignore-host"; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    vm-list) options=""; words="" ;;
    info) options="-n --numa -x --xenstore"; words="" ;;
    sched-credit) options="-d --domain -w --weight -c --cap -s --schedparam -t --tslice_ms -r --ratelimit_us -m --migration_delay_us -p --cpupool"; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    sched-credit2) options="-d --domain -w --weight -c --cap -s --schedparam -r --ratelimit_us -p --cpupool"; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    sched-rtds) options="-d --domain -v --vcpuid -p --period -b --budget -e --extratime"; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    domid) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    domname) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    rename) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    trigger) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    sysrq) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    debug-keys) options=""; words="" ;;
    dmesg) options="-c --clear"; words="" ;;
    top) options="-d --delay -n --networks -x --vbds -r --repeat-header -v --vcpus -b --batch -i --iterations -f --full-name"; words="" ;;
    uptime) options="-s"; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    claims) options=""; words="" ;;
    cpupool-create) options="-f --defconfig -n --dryrun"; files=1 ;;
    cpupool-list) options="-c --cpus"; words="" ;;
    block-attach) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    block-list) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    block-detach) options="-f --force"; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    cd-insert) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    cd-eject) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    network-attach) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    network-list) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    network-detach) options="-f --force"; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    channel-list) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    cpupool-destroy) options=""; words="" ;;
    cpupool-rename) options=""; words="" ;;
    cpupool-cpu-add) options=""; words="" ;;
    cpupool-cpu-remove) options=""; words="" ;;
    cpupool-migrate) options=""; words="$(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" ;;
    cpupool-numa-split) options=""; words="" ;;
    driver-create) options=""; words="" ;;
    driver-destroy) options=""; words="" ;;
    driver-list) options=""; words="" ;;
    image) options="--size --suite --flavour --mirror --packages --hostname --user --password-file --ssh-key"; words="" ;;
    host) options="--memory --pcpus --tcp --shutdown-timeout"; words="start stop status run" ;;
    help) options="--long"; words="create config-update list destroy shutdown reboot pause unpause console dump-core gdbsx mem-max mem-set button-press vcpu-list vcpu-pin vcpu-set vm-list info sched-credit sched-credit2 sched-rtds domid domname rename trigger sysrq debug-keys dmesg top uptime claims cpupool-create cpupool-list block-attach block-list block-detach cd-insert cd-eject network-attach network-list network-detach channel-list cpupool-destroy cpupool-rename cpupool-cpu-add cpupool-cpu-remove cpupool-migrate cpupool-numa-split driver-create driver-destroy driver-list image host help save restore suspend resume migrate migrate-receive remus pci-attach pci-detach pci-list pci-assignable-add pci-assignable-remove pci-assignable-list vncviewer vtpm-attach vtpm-list vtpm-detach vkb-attach vkb-list vkb-detach vdispl-attach vdispl-list vdispl-detach vsnd-attach vsnd-list vsnd-detach usbctrl-attach usbctrl-detach usbdev-attach usbdev-detach usb-list sharing set-parameters getenforce setenforce loadpolicy devd psr-hwinfo psr-cmt-attach psr-cmt-detach psr-cmt-show psr-cat-set psr-cat-show psr-mba-set psr-mba-show qemu-monitor-command" ;;
    save) options=""; words="" ;;
    restore) options=""; words="" ;;
    suspend) options=""; words="" ;;
    resume) options=""; words="" ;;
    migrate) options=""; words="" ;;
    migrate-receive) options=""; words="" ;;
    remus) options=""; words="" ;;
    pci-attach) options=""; words="" ;;
    pci-detach) options=""; words="" ;;
    pci-list) options=""; words="" ;;
    pci-assignable-add) options=""; words="" ;;
    pci-assignable-remove) options=""; words="" ;;
    pci-assignable-list) options=""; words="" ;;
    vncviewer) options=""; words="" ;;
    vtpm-attach) options=""; words="" ;;
    vtpm-list) options=""; words="" ;;
    vtpm-detach) options=""; words="" ;;
    vkb-attach) options=""; words="" ;;
    vkb-list) options=""; words="" ;;
    vkb-detach) options=""; words="" ;;
    vdispl-attach) options=""; words="" ;;
    vdispl-list) options=""; words="" ;;
    vdispl-detach) options=""; words="" ;;
    vsnd-attach) options=""; words="" ;;
    vsnd-list) options=""; words="" ;;
    vsnd-detach) options=""; words="" ;;
    usbctrl-attach) options=""; words="" ;;
    usbctrl-detach) options=""; words="" ;;
    usbdev-attach) options=""; words="" ;;
    usbdev-detach) options=""; words="" ;;
    usb-list) options=""; words="" ;;
    sharing) options=""; words="" ;;
    set-parameters) options=""; words="" ;;
    getenforce) options=""; words="" ;;
    setenforce) options=""; words="" ;;
    loadpolicy) options=""; words="" ;;
    devd) options=""; words="" ;;
    psr-hwinfo) options=""; words="" ;;
    psr-cmt-attach) options=""; words="" ;;
    psr-cmt-detach) options=""; words="" ;;
    psr-cmt-show) options=""; words="" ;;
    psr-cat-set) options=""; words="" ;;
    psr-cat-show) options=""; words="" ;;
    psr-mba-set) options=""; words="" ;;
    psr-mba-show) options=""; words="" ;;
    qemu-monitor-command) options=""; words="" ;;
  esac
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
  elif [[ -n $files ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  fi
}
complete -o filenames -F _xl xl xenolith
