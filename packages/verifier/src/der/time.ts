/** Certificate times (RFC 5280 section 4.1.2.5) to milliseconds since the Unix epoch, without a platform calendar. */

const DAYS_BEFORE_MONTH = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334] as const;
const DAYS_IN_MONTH = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const;
const MS_PER_DAY = 86_400_000;

/** `YYMMDDHHMMSSZ`; years 50 to 99 are 19xx. Null for every other text and for dates that do not exist. */
export function parseUtcTime(text: Uint8Array, from = 0, to = text.length): number | null {
  if (!isDigitsAndZ(text, from, to, 12)) return null;
  const year = twoDigits(text, from);
  return millisecondsOf(year >= 50 ? 1900 + year : 2000 + year, text, from + 2);
}

/** `YYYYMMDDHHMMSSZ`, no fraction. Null for every other text and for dates that do not exist. */
export function parseGeneralizedTime(text: Uint8Array, from = 0, to = text.length): number | null {
  if (!isDigitsAndZ(text, from, to, 14)) return null;
  return millisecondsOf(twoDigits(text, from) * 100 + twoDigits(text, from + 2), text, from + 4);
}

function isDigitsAndZ(text: Uint8Array, from: number, to: number, count: number): boolean {
  if (to - from !== count + 1 || text[to - 1] !== 0x5a) return false;
  for (let at = from; at < to - 1; at++) {
    const digit = (text[at] as number) - 0x30;
    if (digit < 0 || digit > 9) return false;
  }
  return true;
}

function twoDigits(text: Uint8Array, at: number): number {
  return ((text[at] as number) - 0x30) * 10 + (text[at + 1] as number) - 0x30;
}

/** Reads month to second from `text` at `at`. A leap second has no place in the Unix time line and is refused. */
function millisecondsOf(year: number, text: Uint8Array, at: number): number | null {
  const month = twoDigits(text, at);
  const day = twoDigits(text, at + 2);
  const hour = twoDigits(text, at + 4);
  const minute = twoDigits(text, at + 6);
  const second = twoDigits(text, at + 8);
  if (month < 1 || month > 12 || hour > 23 || minute > 59 || second > 59) return null;
  const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const daysInMonth = (DAYS_IN_MONTH[month - 1] as number) + (isLeap && month === 2 ? 1 : 0);
  if (day < 1 || day > daysInMonth) return null;
  const leapDayPassed = isLeap && month > 2 ? 1 : 0;
  const days = daysBeforeYear(year) + (DAYS_BEFORE_MONTH[month - 1] as number) + leapDayPassed + day - 1;
  return days * MS_PER_DAY + ((hour * 60 + minute) * 60 + second) * 1000;
}

/** Days from 1970-01-01 to January 1 of `year` in the Gregorian calendar; negative before 1970. */
function daysBeforeYear(year: number): number {
  const leapDaysTo = (y: number): number => Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400);
  return (year - 1970) * 365 + leapDaysTo(year - 1) - leapDaysTo(1969);
}
