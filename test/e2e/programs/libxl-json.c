/* Prints a domain's configuration as libxl's own generator writes it: the one that libxl-json.e2e.ts describes as a spec. */
#include <libxl.h>
#include <libxl_utils.h>
#include <stdio.h>
#include <stdlib.h>

/* yajl's headers are not needed for four functions. */
typedef struct yajl_gen_t *yajl_gen;
yajl_gen yajl_gen_alloc(const void *functions);
int yajl_gen_get_buf(yajl_gen, const unsigned char **, size_t *);
int libxl_domain_config_gen_json(yajl_gen, libxl_domain_config *);

static void first_bits(libxl_bitmap *map, int from, int to) {
    map->size = 1;
    map->map = calloc(1, 1);
    for (int i = from; i <= to; i++) map->map[0] |= 1 << i;
}

int main(void) {
    libxl_domain_config d;
    libxl_domain_config_init(&d);
    d.c_info.type = LIBXL_DOMAIN_TYPE_PV;
    d.c_info.name = "lpv";
    d.c_info.domid = 3;
    d.c_info.pool_name = "Pool-0";
    for (int i = 0; i < 16; i++) d.c_info.uuid.uuid[i] = i + 1;

    libxl_domain_build_info *b = &d.b_info;
    libxl_domain_build_info_init_type(b, LIBXL_DOMAIN_TYPE_PV);
    b->max_vcpus = 2;
    first_bits(&b->avail_vcpus, 0, 0);
    libxl_bitmap hard[2];
    first_bits(&hard[0], 0, 0);
    first_bits(&hard[1], 0, 3);
    b->num_vcpu_hard_affinity = 2;
    b->vcpu_hard_affinity = hard;
    libxl_defbool_set(&b->numa_placement, false);
    b->tsc_mode = LIBXL_TSC_MODE_NATIVE;
    b->max_memkb = 262144;
    b->target_memkb = 200000;
    b->rtc_timeoffset = -3600;
    libxl_defbool_set(&b->localtime, true);
    libxl_defbool_set(&b->disable_migrate, false);
    b->max_grant_frames = 64;
    b->max_maptrack_frames = 1024;
    b->max_grant_version = 2;
    b->sched_params.weight = 512;
    b->sched_params.cap = 50;
    b->event_channels = 1023;
    b->kernel = "/boot/vmlinuz";
    b->ramdisk = "/boot/initrd.img";
    b->cmdline = "console=hvc0";
    b->bootloader = "pygrub";
    char *arguments[] = {"--entry=1", "-q", NULL};
    b->bootloader_args = arguments;

    libxl_device_disk disks[2];
    libxl_device_disk_init(&disks[0]);
    disks[0].backend_domname = "storage";
    disks[0].pdev_path = "/var/disk.qcow2";
    disks[0].vdev = "xvda";
    disks[0].backend = LIBXL_DISK_BACKEND_QDISK;
    disks[0].format = LIBXL_DISK_FORMAT_QCOW2;
    disks[0].readwrite = 1;
    libxl_defbool_set(&disks[0].discard_enable, true);
    libxl_device_disk_init(&disks[1]);
    disks[1].vdev = "hdc";
    disks[1].backend = LIBXL_DISK_BACKEND_QDISK;
    disks[1].format = LIBXL_DISK_FORMAT_EMPTY;
    disks[1].removable = 1;
    disks[1].is_cdrom = 1;
    d.num_disks = 2;
    d.disks = disks;

    libxl_device_nic nic;
    libxl_device_nic_init(&nic);
    nic.backend_domname = "network";
    nic.devid = 0;
    nic.mtu = 1400;
    nic.model = "rtl8139";
    for (int i = 0; i < 6; i++) nic.mac[i] = i;
    nic.bridge = "xenbr0";
    nic.ifname = "v0";
    nic.script = "vif-bridge";
    nic.nictype = LIBXL_NIC_TYPE_VIF;
    nic.rate_bytes_per_interval = 62500;
    nic.rate_interval_usecs = 50000;
    d.num_nics = 1;
    d.nics = &nic;

    libxl_device_channel channels[2];
    for (int i = 0; i < 2; i++) {
        libxl_device_channel_init(&channels[i]);
        channels[i].devid = i + 1;
    }
    channels[0].name = "agent";
    libxl_device_channel_init_connection(&channels[0], LIBXL_CHANNEL_CONNECTION_PTY);
    channels[1].name = "log";
    libxl_device_channel_init_connection(&channels[1], LIBXL_CHANNEL_CONNECTION_SOCKET);
    channels[1].u.socket.path = "/run/log.sock";
    d.num_channels = 2;
    d.channels = channels;

    d.on_poweroff = LIBXL_ACTION_ON_SHUTDOWN_PRESERVE;
    d.on_reboot = LIBXL_ACTION_ON_SHUTDOWN_RESTART_RENAME;
    d.on_watchdog = LIBXL_ACTION_ON_SHUTDOWN_COREDUMP_DESTROY;
    d.on_crash = LIBXL_ACTION_ON_SHUTDOWN_COREDUMP_RESTART;
    d.on_soft_reset = LIBXL_ACTION_ON_SHUTDOWN_DESTROY;

    yajl_gen g = yajl_gen_alloc(NULL);
    const unsigned char *text;
    size_t length;
    libxl_domain_config_gen_json(g, &d);
    yajl_gen_get_buf(g, &text, &length);
    return fwrite(text, 1, length, stdout) == length ? 0 : 1;
}
