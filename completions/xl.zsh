#compdef xl xenolith
# Completion of xl for zsh. Made by scripts/completions.ts; put it into a folder of $fpath as _xl.
_xl() {
  local -a commands
  commands=(
    'create:Create a domain from config file <filename>'
    'config-update:Update a running domain'\''s saved configuration, used when rebuilding the domain after reboot'
    'list:List information about all/some domains'
    'destroy:Terminate a domain immediately'
    'shutdown:Issue a shutdown signal to a domain'
    'reboot:Issue a reboot signal to a domain'
    'pause:Pause execution of a domain'
    'unpause:Unpause a paused domain'
    'console:Attach to domain'\''s console'
    'dump-core:Core dump a domain'
    'gdbsx:Let gdb debug a domain'\''s kernel'
    'mem-max:Set the maximum amount reservation for a domain'
    'mem-set:Set the current memory usage for a domain'
    'button-press:Indicate an ACPI button press to the domain'
    'vcpu-list:List the VCPUs for all/some domains'
    'vcpu-pin:Set which CPUs a VCPU can use'
    'vcpu-set:Set the number of active VCPUs allowed for the domain'
    'vm-list:List guest domains, excluding dom0, stubdoms, etc.'
    'info:Get information about Xen host'
    'sched-credit:Get/set credit scheduler parameters'
    'sched-credit2:Get/set credit2 scheduler parameters'
    'sched-rtds:Get/set rtds scheduler parameters'
    'domid:Convert a domain name to domain id'
    'domname:Convert a domain id to domain name'
    'rename:Rename a domain'
    'trigger:Send a trigger to a domain'
    'sysrq:Send a sysrq to a domain'
    'debug-keys:Send debug keys to Xen'
    'dmesg:Read and/or clear dmesg buffer'
    'top:Monitor a host and the domains in real time'
    'uptime:Print uptime for all/some domains'
    'claims:List outstanding claim information about all domains'
    'cpupool-create:Create a new CPU pool'
    'cpupool-list:List CPU pools on host'
    'block-attach:Create a new virtual block device'
    'block-list:List virtual block devices for a domain'
    'block-detach:Destroy a domain'\''s virtual block device'
    'cd-insert:Insert a cdrom into a guest'\''s cd drive'
    'cd-eject:Eject a cdrom from a guest'\''s cd drive'
    'network-attach:Create a new virtual network device'
    'network-list:List virtual network interfaces for a domain'
    'network-detach:Destroy a domain'\''s virtual network device'
    'channel-list:List virtual channel devices for a domain'
    'cpupool-destroy:Deactivates a CPU pool'
    'cpupool-rename:Renames a CPU pool'
    'cpupool-cpu-add:Adds a CPU to a CPU pool'
    'cpupool-cpu-remove:Removes a CPU from a CPU pool'
    'cpupool-migrate:Moves a domain into a CPU pool'
    'cpupool-numa-split:Splits up the machine into one CPU pool per NUMA node'
    'driver-create:Create a driver domain for devices with backend=<Name>'
    'driver-destroy:Destroy a driver domain that no device uses'
    'driver-list:List driver domains and their devices'
    'image:Make a disk with an operating system to boot from'
    'host:Start, stop or look at the process that holds the machine'
    'help:Print help about xl or one of its commands'
    'save:Not supported yet  saving and restoring domains'
    'restore:Not supported yet  saving and restoring domains'
    'suspend:Not supported yet  saving and restoring domains'
    'resume:Not supported yet  saving and restoring domains'
    'migrate:Not supported yet  migration'
    'migrate-receive:Not supported yet  migration'
    'remus:Not supported yet  migration'
    'pci-attach:Not supported yet  PCI pass-through'
    'pci-detach:Not supported yet  PCI pass-through'
    'pci-list:Not supported yet  PCI pass-through'
    'pci-assignable-add:Not supported yet  PCI pass-through'
    'pci-assignable-remove:Not supported yet  PCI pass-through'
    'pci-assignable-list:Not supported yet  PCI pass-through'
    'vncviewer:Not supported yet  VNC'
    'vtpm-attach:Not supported yet  virtual TPMs'
    'vtpm-list:Not supported yet  virtual TPMs'
    'vtpm-detach:Not supported yet  virtual TPMs'
    'vkb-attach:Not supported yet  virtual keyboards'
    'vkb-list:Not supported yet  virtual keyboards'
    'vkb-detach:Not supported yet  virtual keyboards'
    'vdispl-attach:Not supported yet  virtual displays'
    'vdispl-list:Not supported yet  virtual displays'
    'vdispl-detach:Not supported yet  virtual displays'
    'vsnd-attach:Not supported yet  virtual sound'
    'vsnd-list:Not supported yet  virtual sound'
    'vsnd-detach:Not supported yet  virtual sound'
    'usbctrl-attach:Not supported yet  virtual USB'
    'usbctrl-detach:Not supported yet  virtual USB'
    'usbdev-attach:Not supported yet  virtual USB'
    'usbdev-detach:Not supported yet  virtual USB'
    'usb-list:Not supported yet  virtual USB'
    'sharing:Not supported yet  sharing of pages'
    'set-parameters:Not supported yet  changing parameters of the hypervisor'
    'getenforce:Not supported yet  the Flask security module'
    'setenforce:Not supported yet  the Flask security module'
    'loadpolicy:Not supported yet  the Flask security module'
    'devd:Not supported yet  driver domains'
    'psr-hwinfo:Not supported yet  monitoring and allocation of shared processor resources'
    'psr-cmt-attach:Not supported yet  monitoring and allocation of shared processor resources'
    'psr-cmt-detach:Not supported yet  monitoring and allocation of shared processor resources'
    'psr-cmt-show:Not supported yet  monitoring and allocation of shared processor resources'
    'psr-cat-set:Not supported yet  monitoring and allocation of shared processor resources'
    'psr-cat-show:Not supported yet  monitoring and allocation of shared processor resources'
    'psr-mba-set:Not supported yet  monitoring and allocation of shared processor resources'
    'psr-mba-show:Not supported yet  monitoring and allocation of shared processor resources'
    'qemu-monitor-command:Not supported yet  device models'
  )
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  case $words[2] in
    create) if [[ $PREFIX == -* ]]; then compadd -- -c -d -e -F -f --defconfig -n --dryrun -p -q --quiet -V --vncviewer -A --vncviewer-autopass --ignore-global-affinity-masks; else _files; fi ;;
    config-update) if [[ $PREFIX == -* ]]; then compadd -- -f --defconfig -d; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    list) if [[ $PREFIX == -* ]]; then compadd -- -l --long -v --verbose -Z --context -c --cpupool -n --numa; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    destroy) if [[ $PREFIX == -* ]]; then compadd -- -f; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    shutdown) if [[ $PREFIX == -* ]]; then compadd -- -a --all -F -w --wait; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    reboot) if [[ $PREFIX == -* ]]; then compadd -- -a --all -F -w --wait; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    pause) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    unpause) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    console) if [[ $PREFIX == -* ]]; then compadd -- -t -n -e; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    dump-core) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    gdbsx) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    mem-max) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    mem-set) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    button-press) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    vcpu-list) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    vcpu-pin) if [[ $PREFIX == -* ]]; then compadd -- -f --force -i --ignore-global-affinity-masks; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    vcpu-set) if [[ $PREFIX == -* ]]; then compadd -- -i --ignore-host; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    vm-list) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    info) if [[ $PREFIX == -* ]]; then compadd -- -n --numa -x --xenstore; else true; fi ;;
    sched-credit) if [[ $PREFIX == -* ]]; then compadd -- -d --domain -w --weight -c --cap -s --schedparam -t --tslice_ms -r --ratelimit_us -m --migration_delay_us -p --cpupool; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    sched-credit2) if [[ $PREFIX == -* ]]; then compadd -- -d --domain -w --weight -c --cap -s --schedparam -r --ratelimit_us -p --cpupool; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    sched-rtds) if [[ $PREFIX == -* ]]; then compadd -- -d --domain -v --vcpuid -p --period -b --budget -e --extratime; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    domid) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    domname) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    rename) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    trigger) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    sysrq) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    debug-keys) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    dmesg) if [[ $PREFIX == -* ]]; then compadd -- -c --clear; else true; fi ;;
    top) if [[ $PREFIX == -* ]]; then compadd -- -d --delay -n --networks -x --vbds -r --repeat-header -v --vcpus -b --batch -i --iterations -f --full-name; else true; fi ;;
    uptime) if [[ $PREFIX == -* ]]; then compadd -- -s; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    claims) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    cpupool-create) if [[ $PREFIX == -* ]]; then compadd -- -f --defconfig -n --dryrun; else _files; fi ;;
    cpupool-list) if [[ $PREFIX == -* ]]; then compadd -- -c --cpus; else true; fi ;;
    block-attach) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    block-list) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    block-detach) if [[ $PREFIX == -* ]]; then compadd -- -f --force; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    cd-insert) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    cd-eject) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    network-attach) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    network-list) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    network-detach) if [[ $PREFIX == -* ]]; then compadd -- -f --force; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    channel-list) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    cpupool-destroy) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    cpupool-rename) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    cpupool-cpu-add) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    cpupool-cpu-remove) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    cpupool-migrate) if [[ $PREFIX == -* ]]; then true; else compadd -- $(xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'); fi ;;
    cpupool-numa-split) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    driver-create) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    driver-destroy) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    driver-list) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    image) if [[ $PREFIX == -* ]]; then compadd -- --size --suite --flavour --mirror --packages --hostname --user --password-file --ssh-key; else true; fi ;;
    host) if [[ $PREFIX == -* ]]; then compadd -- --memory --pcpus --tcp --shutdown-timeout; else compadd -- start stop status run; fi ;;
    help) if [[ $PREFIX == -* ]]; then compadd -- --long; else _describe command commands; fi ;;
    save) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    restore) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    suspend) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    resume) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    migrate) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    migrate-receive) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    remus) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    pci-attach) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    pci-detach) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    pci-list) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    pci-assignable-add) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    pci-assignable-remove) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    pci-assignable-list) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    vncviewer) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    vtpm-attach) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    vtpm-list) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    vtpm-detach) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    vkb-attach) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    vkb-list) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    vkb-detach) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    vdispl-attach) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    vdispl-list) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    vdispl-detach) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    vsnd-attach) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    vsnd-list) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    vsnd-detach) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    usbctrl-attach) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    usbctrl-detach) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    usbdev-attach) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    usbdev-detach) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    usb-list) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    sharing) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    set-parameters) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    getenforce) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    setenforce) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    loadpolicy) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    devd) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    psr-hwinfo) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    psr-cmt-attach) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    psr-cmt-detach) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    psr-cmt-show) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    psr-cat-set) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    psr-cat-show) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    psr-mba-set) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    psr-mba-show) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
    qemu-monitor-command) if [[ $PREFIX == -* ]]; then true; else true; fi ;;
  esac
}
_xl "$@"
