// The generated tables (scripts/gen-abi.ts), under one name: the engine's state and machine layout, and Xen's public
// structures and constants.
export * from "../../build/abi/engine";
export * from "../../build/abi/xen";
