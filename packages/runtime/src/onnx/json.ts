import { MalformedError } from '@haca/primitives';

/** Checked reads out of parsed JSON; each throws `MalformedError` with the path of what is wrong. */
export type JsonRecord = Readonly<Record<string, unknown>>;

export function asRecord(value: unknown, path: string): JsonRecord {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonRecord;
  throw new MalformedError('json.type', path, 'an object', describe(value));
}

export function asText(value: unknown, path: string): string {
  if (typeof value === 'string' && value.length > 0 && value.length <= 1024) return value;
  throw new MalformedError('json.type', path, 'a text of 1 to 1024 characters', describe(value));
}

export function asInteger(value: unknown, path: string, min: number, max: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
  throw new MalformedError('json.integer', path, `an integer from ${min} to ${max}`, describe(value));
}

function describe(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value === 'number') return `${value}`;
  return Array.isArray(value) ? 'a list' : typeof value;
}
