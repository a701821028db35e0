/** What a host has beyond domains and their consoles, loaded only where it is wanted: devices, life cycles from specs, gdb. */
import { GdbServers } from './gdbserver/gdbserver.ts';
import { Devices } from './toolstack/devices/devices.ts';
import { Guests } from './toolstack/guests.ts';
import { XenStoreSocket } from './xenstored/socket.ts';

export const SERVICES = { Devices, Guests, GdbServers, XenStoreSocket } as const;
export type ServiceClasses = typeof SERVICES;
