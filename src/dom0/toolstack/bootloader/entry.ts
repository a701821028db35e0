/** What a boot loader's configuration offers to boot. */
export interface BootEntry {
  /** Titles of the menus it lies in, and its own, outermost first. */
  readonly title: string;
  /** What `set default` may name it by besides its number and title. */
  readonly id?: string;
  readonly kernel: string;
  readonly ramdisk?: string;
  readonly args: string;
}

export interface BootMenu {
  readonly entries: readonly BootEntry[];
  /** Index of the entry to boot when nobody chooses. */
  readonly default: number;
}
