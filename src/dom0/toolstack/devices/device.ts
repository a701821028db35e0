/** A split device in XenStore: the nodes of both ends and of the toolstack, as libxl writes them, and its end. */
import { XenbusState } from '../../../abi/xenbus.ts';
import type { XenStore } from '../../xenstored/xenstored.ts';
import { ToolstackError } from '../error.ts';
import { domainPath, libxlPath } from '../store.ts';
import { waitForNode } from './wait.ts';

/** How long ends may take for a step, in ms (libxl: 10 s). */
const STEP_MS = 10_000;

/** Names a device: its kind, the two domains, and its number. */
export interface DeviceId {
  readonly kind: string;
  readonly domid: number;
  readonly backendDomid: number;
  readonly devid: number;
}

export const frontendPath = (d: Omit<DeviceId, 'backendDomid'>): string =>
  `${domainPath(d.domid)}/device/${d.kind}/${d.devid}`;
/** Below the back end's home. */
export const backendKey = (d: Omit<DeviceId, 'backendDomid'>): string => `backend/${d.kind}/${d.domid}/${d.devid}`;
export const backendPath = (d: DeviceId): string => `${domainPath(d.backendDomid)}/${backendKey(d)}`;
export const libxlDevicePath = (d: Omit<DeviceId, 'backendDomid'>): string =>
  `${libxlPath(d.domid)}/device/${d.kind}/${d.devid}`;

export type Nodes = Readonly<Record<string, string>>;

/** Writes all nodes of a new device, both ends Initialising. `back` and `front`: those of its kind. */
export function writeDevice(store: XenStore, d: DeviceId, back: Nodes, front: Nodes): void {
  const backend = {
    frontend: frontendPath(d),
    'frontend-id': `${d.domid}`,
    online: '1',
    state: `${XenbusState.Initialising}`,
    ...back,
  };
  const frontend = {
    backend: backendPath(d),
    'backend-id': `${d.backendDomid}`,
    state: `${XenbusState.Initialising}`,
    ...front,
  };
  store.transaction((t) => {
    const write = (path: string, nodes: Nodes, perms: string) => {
      t.mkdir(path, perms);
      for (const [key, value] of Object.entries(nodes)) t.write(`${path}/${key}`, value, perms);
    };
    const libxl = libxlDevicePath(d);
    for (const [key, value] of Object.entries({ backend: backendPath(d), ...backend }))
      t.write(`${libxl}/${key}`, value);
    write(frontendPath(d), frontend, `n${d.domid},r${d.backendDomid}`);
    write(backendPath(d), backend, `n${d.backendDomid},r${d.domid}`);
  });
}

/** Resolves when the back end is ready for the front end. Throws ToolstackError if it cannot be, or takes too long. */
export async function backendReady(store: XenStore, d: DeviceId, what: string): Promise<void> {
  const path = backendPath(d);
  const early: string[] = [XenbusState.Unknown, XenbusState.Initialising].map(String);
  const got = await waitForNode(store, `${path}/state`, STEP_MS, (v) => v !== undefined && !early.includes(v));
  const ok = got && Number(got.value) < XenbusState.Closing;
  if (ok) return;
  const error = store.tryRead(`${path}/hotplug-error`);
  throw new ToolstackError(`${what}: ${error ?? `its back end in domain ${d.backendDomid} does not answer`}`);
}

/**
 * Asks both ends to close the device, and resolves when the back end has. A guest that does not let go of it within 10 s
 * loses it if `force`; otherwise ToolstackError is thrown, and the request stands.
 */
export async function closeDevice(store: XenStore, d: DeviceId, force: boolean): Promise<void> {
  const path = backendPath(d);
  const closed = (v: string | undefined) => v === undefined || v === `${XenbusState.Closed}`;
  if (!closed(store.tryRead(`${path}/state`))) {
    const front = store.tryRead(`${frontendPath(d)}/state`);
    store.transaction((t) => {
      t.write(`${path}/online`, '0');
      t.write(`${path}/state`, `${XenbusState.Closing}`);
    });
    // A front end that never started will not answer either.
    const asked = front !== undefined && front !== `${XenbusState.Initialising}`;
    if (!asked || !(await waitForNode(store, `${path}/state`, STEP_MS, closed))) {
      if (asked && !force) {
        throw new ToolstackError(
          `domain ${d.domid} has not let go of device ${d.devid} within ${STEP_MS / 1000} s; is it mounted?`,
        );
      }
      if (store.exists(frontendPath(d))) store.rm(frontendPath(d));
      await waitForNode(store, `${path}/state`, STEP_MS, closed);
    }
  }
  removeDevice(store, d);
}

export function removeDevice(store: XenStore, d: DeviceId): void {
  store.transaction((t) => {
    for (const p of [frontendPath(d), backendPath(d), libxlDevicePath(d)]) if (t.exists(p)) t.rm(p);
  });
}

/** Numbers of the domain's devices of a kind, from the toolstack's own nodes, with the domain of each one's back end. */
export function listDevices(store: XenStore, kind: string, domid: number): DeviceId[] {
  const dir = `${libxlPath(domid)}/device/${kind}`;
  if (!store.exists(dir)) return [];
  return store.directory(dir).map((name) => {
    const backend = store.read(`${dir}/${name}/backend`);
    const backendDomid = Number(/^\/local\/domain\/(\d+)\//.exec(backend)?.[1] ?? 0);
    return { kind, domid, backendDomid, devid: Number(name) };
  });
}
