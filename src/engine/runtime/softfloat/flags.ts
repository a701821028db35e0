/** Exception bits shared by fsw/fcw and mxcsr (SDM vol. 1 figures 8-4 and 10-3), and rounding modes. */
export const IE: u32 = 1;
export const DE: u32 = 2;
export const ZE: u32 = 4;
export const OE: u32 = 8;
export const UE: u32 = 16;
export const PE: u32 = 32;
/** x87 only: stack fault. */
export const SF: u32 = 64;

export const RC_NEAR: u32 = 0;
export const RC_DOWN: u32 = 1;
export const RC_UP: u32 = 2;
export const RC_ZERO: u32 = 3;
