/** Certificate times (RFC 5280 section 4.1.2.5) to milliseconds since the Unix epoch, without a platform calendar. */

const DAYS_BEFORE_MONTH = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334] as const;
const DAYS_IN_MONTH = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const;
const MS_PER_DAY = 86_400_000;

/** `YYMMDDHHMMSSZ`; years 50 to 99 are 19xx. Null for every other text and for dates that do not exist. */
export function parseUtcTime(text: Uint8Array): number | null {
  const digits = digitsBeforeZ(text, 12);
  if (digits === null) return null;
  const year = twoDigits(digits, 0);
  return millisecondsOf(year >= 50 ? 1900 + year : 2000 + year, digits, 2);
}

/** `YYYYMMDDHHMMSSZ`, no fraction. Null for every other text and for dates that do not exist. */
export function parseGeneralizedTime(text: Uint8Array): number | null {
  const digits = digitsBeforeZ(text, 14);
  if (digits === null) return null;
  return millisecondsOf(twoDigits(digits, 0) * 100 + twoDigits(digits, 2), digits, 4);
}

function digitsBeforeZ(text: Uint8Array, count: number): number[] | null {
  if (text.length !== count + 1 || text[count] !== 0x5a) return null;
  const digits: number[] = [];
  for (let i = 0; i < count; i++) {
    const digit = (text[i] as number) - 0x30;
    if (digit < 0 || digit > 9) return null;
    digits.push(digit);
  }
  return digits;
}

function twoDigits(digits: readonly number[], at: number): number {
  return (digits[at] as number) * 10 + (digits[at + 1] as number);
}

/** Reads month to second from `digits` at `at`. A leap second has no place in the Unix time line and is refused. */
function millisecondsOf(year: number, digits: readonly number[], at: number): number | null {
  const month = twoDigits(digits, at);
  const day = twoDigits(digits, at + 2);
  const hour = twoDigits(digits, at + 4);
  const minute = twoDigits(digits, at + 6);
  const second = twoDigits(digits, at + 8);
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
