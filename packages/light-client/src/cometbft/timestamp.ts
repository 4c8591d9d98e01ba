/**
 * Time as CometBFT hashes it (google.protobuf.Timestamp): whole seconds since 1970 and nanoseconds. A JavaScript `Date`
 * would lose the nanoseconds, and with them the hash.
 */
import { MalformedError, UsageError } from '@haca/primitives';

export interface Timestamp {
  /** Seconds since 1970-01-01T00:00:00Z, from year 1 to year 9999. */
  readonly seconds: bigint;
  /** 0 to 999,999,999. */
  readonly nanos: number;
}

const NANOS_PER_SECOND = 1_000_000_000n;
const SECONDS_MIN = -62_135_596_800n;
const SECONDS_MAX = 253_402_300_799n;
const RFC3339 = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.(\d{0,8}[1-9]))?Z$/;

/** Go's zero time, 0001-01-01T00:00:00Z: what an absent vote carries. */
export const ZERO_TIMESTAMP: Timestamp = { seconds: SECONDS_MIN, nanos: 0 };

export function compareTimestamps(a: Timestamp, b: Timestamp): number {
  if (a.seconds !== b.seconds) return a.seconds < b.seconds ? -1 : 1;
  return a.nanos - b.nanos;
}

/** `time` later by `nanos`, which may be negative. Saturates at the ends of the range, so any sum is a time. */
export function addNanos(time: Timestamp, nanos: bigint): Timestamp {
  const total = time.seconds * NANOS_PER_SECOND + BigInt(time.nanos) + nanos;
  if (total < SECONDS_MIN * NANOS_PER_SECOND) return ZERO_TIMESTAMP;
  if (total >= (SECONDS_MAX + 1n) * NANOS_PER_SECOND) return { seconds: SECONDS_MAX, nanos: 999_999_999 };
  const rest = ((total % NANOS_PER_SECOND) + NANOS_PER_SECOND) % NANOS_PER_SECOND;
  return { seconds: (total - rest) / NANOS_PER_SECOND, nanos: Number(rest) };
}

/** From milliseconds since 1970, as clocks of JavaScript count them. */
export function timestampFromMs(timeMs: number): Timestamp {
  if (!Number.isSafeInteger(timeMs)) throw new UsageError(`${timeMs} is not a whole number of milliseconds`);
  return addNanos({ seconds: 0n, nanos: 0 }, BigInt(timeMs) * 1_000_000n);
}

/** Milliseconds since 1970, rounded down. */
export function timestampToMs(time: Timestamp): number {
  return Number(time.seconds) * 1000 + Math.floor(time.nanos / 1_000_000);
}

export function isTimestamp(time: Timestamp): boolean {
  const nanosOk = Number.isInteger(time.nanos) && time.nanos >= 0 && time.nanos <= 999_999_999;
  return nanosOk && time.seconds >= SECONDS_MIN && time.seconds <= SECONDS_MAX;
}

/** RFC 3339 in UTC with `Z` and no needless zeros, as CometBFT writes it; one time has one spelling. */
export function parseTimestamp(text: string, path = ''): Timestamp {
  const match = RFC3339.exec(text);
  const parts = match?.slice(1, 7).map(Number) ?? [];
  const [year, month, day, hour, minute, second] = parts as [number, number, number, number, number, number];
  const isTime = hour <= 23 && minute <= 59 && second <= 59;
  const isDate = year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= daysInMonth(year, month);
  if (match === null || !isTime || !isDate) {
    throw new MalformedError('time.format', path, 'a UTC time such as 2026-01-02T03:04:05.6Z', quote(text));
  }
  const seconds = BigInt(daysFromCivil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second);
  return { seconds, nanos: Number((match[7] ?? '').padEnd(9, '0')) };
}

export function formatTimestamp(time: Timestamp): string {
  if (!isTimestamp(time)) throw new UsageError(`${time.seconds} s and ${time.nanos} ns is not a time`);
  const secondOfDay = Number(((time.seconds % 86_400n) + 86_400n) % 86_400n);
  const { year, month, day } = civilFromDays(Number((time.seconds - BigInt(secondOfDay)) / 86_400n));
  const clock = [Math.floor(secondOfDay / 3600), Math.floor(secondOfDay / 60) % 60, secondOfDay % 60];
  const fraction = time.nanos === 0 ? '' : `.${String(time.nanos).padStart(9, '0').replace(/0+$/, '')}`;
  const date = `${String(year).padStart(4, '0')}-${twoDigits(month)}-${twoDigits(day)}`;
  return `${date}T${clock.map(twoDigits).join(':')}${fraction}Z`;
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 40));
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0');
}

function daysInMonth(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Days since 1970-01-01 in the proleptic Gregorian calendar; years are counted from March so that leap days come last. */
function daysFromCivil(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1;
  return (
    era * 146_097 +
    yearOfEra * 365 +
    Math.floor(yearOfEra / 4) -
    Math.floor(yearOfEra / 100) +
    dayOfYear -
    719_468
  );
}

function civilFromDays(days: number): { year: number; month: number; day: number } {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const leapDays =
    Math.floor(dayOfEra / 1460) - Math.floor(dayOfEra / 36_524) + Math.floor(dayOfEra / 146_096);
  const yearOfEra = Math.floor((dayOfEra - leapDays) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  const day = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1;
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day };
}
