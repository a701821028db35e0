/*
 * What Xen's own parser of xl's configuration files (libxlutil) says of texts. Standard input: records of a decimal length,
 * a line break, and so many bytes. Standard output: for each a line, "refused", or "accepted" with the values of the names
 * a to f that are set: name=, strings in hexadecimal, lists in brackets.
 *
 * With the argument "disk": the records are disk= strings; "accepted" is followed by what they say.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libxlutil.h>

static void print_text(const char *s)
{
    putchar('"');
    for (; *s; s++) printf("%02x", (unsigned char)*s);
    putchar('"');
}

static void print_value(XLU_Config *cfg, XLU_ConfigValue *v)
{
    if (xlu_cfg_value_type(v) == XLU_STRING) {
        char *s;
        if (!xlu_cfg_value_get_string(cfg, v, &s, 1)) print_text(s);
    } else {
        XLU_ConfigList *list;
        XLU_ConfigValue *item;
        if (xlu_cfg_value_get_list(cfg, v, &list, 1)) return;
        putchar('[');
        for (int i = 0; (item = xlu_cfg_get_listitem2(list, i)) != NULL; i++) print_value(cfg, item);
        putchar(']');
    }
}

static void judge(const char *text, int length, FILE *report)
{
    XLU_Config *cfg = xlu_cfg_init(report, "corpus");
    if (xlu_cfg_readdata(cfg, text, length)) printf("refused");
    else {
        printf("accepted");
        for (char name[2] = "a"; *name <= 'f'; ++*name) {
            const char *s;
            XLU_ConfigList *list;
            if (!xlu_cfg_get_string(cfg, name, &s, 1)) {
                printf(" %s=", name);
                print_text(s);
            } else if (!xlu_cfg_get_list(cfg, name, &list, NULL, 1)) {
                XLU_ConfigValue *item;
                printf(" %s=[", name);
                for (int i = 0; (item = xlu_cfg_get_listitem2(list, i)) != NULL; i++) print_value(cfg, item);
                putchar(']');
            }
        }
    }
    putchar('\n');
    xlu_cfg_destroy(cfg);
}

static void judge_disk(const char *text, FILE *report)
{
    XLU_Config *cfg = xlu_cfg_init(report, "corpus");
    libxl_device_disk disk;
    libxl_device_disk_init(&disk);
    if (xlu_disk_parse(cfg, 1, &text, &disk)) printf("refused");
    else
        printf("accepted target=%s vdev=%s format=%s rw=%d cdrom=%d script=%s backend=%s",
               disk.pdev_path ? disk.pdev_path : "", disk.vdev ? disk.vdev : "",
               libxl_disk_format_to_string(disk.format), disk.readwrite, disk.is_cdrom,
               disk.script ? disk.script : "", disk.backend_domname ? disk.backend_domname : "");
    putchar('\n');
    libxl_device_disk_dispose(&disk);
    xlu_cfg_destroy(cfg);
}

int main(int argc, char **argv)
{
    FILE *report = fopen("/dev/null", "w");
    int disks = argc > 1 && !strcmp(argv[1], "disk");
    int length;
    while (scanf("%d", &length) == 1) {
        char *text = calloc(1, length + 1);
        if (getchar() != '\n' || fread(text, 1, length, stdin) != (size_t)length) return 1;
        if (disks) judge_disk(text, report);
        else judge(text, length, report);
        free(text);
    }
    return 0;
}
