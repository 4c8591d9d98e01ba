/**
 * What a dstack guest says of itself in RTMR3. Until `system-ready` only the measured image extends it; afterwards the
 * application can extend whatever it likes, names of the image's own events included. So what the image says is taken from
 * before `system-ready`, and said once.
 */
import type { DstackRuntimeEvent } from './document.ts';

const READY = 'system-ready';
const BOOT_DONE = 'boot-mr-done';

/** Events that a measured image of dstack extends, with the lengths their payloads may have. */
const IMAGE_EVENTS: ReadonlyMap<string, (length: number) => boolean> = new Map([
  ['system-preparing', (length) => length === 0],
  ['app-id', (length) => length === 20],
  ['compose-hash', (length) => length === 32],
  ['instance-id', (length) => length === 0 || length === 20],
  [BOOT_DONE, (length) => length === 0],
  ['os-image-hash', (length) => length === 32],
  ['rootfs-hash', (length) => length === 32],
  ['mr-kms', (length) => length === 32],
  ['key-provider', (length) => length > 0],
  ['storage-fs', (length) => length > 0 && length <= 64],
  [READY, (length) => length === 0],
  ['upgraded-app-id', (length) => length > 0],
  ['ca-cert-hash', (length) => length > 0],
]);
const REQUIRED = ['app-id', 'compose-hash', 'instance-id', BOOT_DONE, 'key-provider', READY] as const;
/** What decides which application it is comes before the measurement that key servers look at is closed. */
const BEFORE_BOOT_DONE = ['app-id', 'compose-hash', 'instance-id'] as const;

export interface LogFault {
  readonly code: string;
  readonly expected: string;
  readonly got: string;
}

export interface SplitLog {
  /** Up to `system-ready`, which is the last; all events where there is none. */
  readonly image: readonly DstackRuntimeEvent[];
  readonly application: readonly DstackRuntimeEvent[];
}

export function splitLog(events: readonly DstackRuntimeEvent[]): SplitLog {
  const ready = events.findIndex(({ name }) => name === READY);
  const end = ready < 0 ? events.length : ready + 1;
  return { image: events.slice(0, end), application: events.slice(end) };
}

/** Null if the image's part of the log is whole: every name once, in dstack's order, payloads of the lengths they have. */
export function imageLogFault(image: readonly DstackRuntimeEvent[]): LogFault | null {
  const names = image.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    return { code: 'dstack.event-twice', expected: 'each event of the image once', got: quoted(twice) };
  const missing = REQUIRED.find((name) => !names.includes(name));
  if (missing !== undefined)
    return { code: 'dstack.event-missing', expected: REQUIRED.join(', '), got: `no ${missing}` };
  const late = BEFORE_BOOT_DONE.find((name) => names.indexOf(name) > names.indexOf(BOOT_DONE));
  if (late !== undefined)
    return { code: 'dstack.event-order', expected: `${late} before ${BOOT_DONE}`, got: 'after it' };
  const odd = image.find(({ name, payload }) => !(IMAGE_EVENTS.get(name)?.(payload.length) ?? true));
  if (odd === undefined) return null;
  const expected = `a payload of the length that ${odd.name} has`;
  return { code: 'dstack.event-length', expected, got: `${odd.payload.length} bytes` };
}

/** Null if the application extended no event under a name of the image's. */
export function applicationLogFault({ image, application }: SplitLog): LogFault | null {
  const taken = application.find(
    ({ name }) => IMAGE_EVENTS.has(name) || image.some((event) => event.name === name),
  );
  if (taken === undefined) return null;
  return {
    code: 'dstack.event-late',
    expected: `no event of the image after ${READY}`,
    got: quoted(taken.name),
  };
}

function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 64));
}
