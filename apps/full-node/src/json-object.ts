/** Reading a configuration: every member named, every wrong one said by name. */
import { UsageError } from '@haca/primitives';

export interface JsonObject {
  readonly has: (name: string) => boolean;
  readonly text: (name: string, otherwise?: string) => string;
  /** A list of texts; empty where there is none. */
  readonly texts: (name: string) => readonly string[];
  readonly integer: (name: string, min: number, max: number, otherwise?: number) => number;
  readonly flag: (name: string, otherwise: boolean) => boolean;
  readonly choice: <T extends string>(name: string, choices: readonly T[], otherwise: T) => T;
  /** The object of that name; empty where there is none. */
  readonly object: (name: string, members: readonly string[]) => JsonObject;
}

/** `where` names the object in errors. Throws `UsageError` for anything but an object with only `members`. */
export function readObject(where: string, json: unknown, members: readonly string[]): JsonObject {
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new UsageError(`${where} is not an object`);
  const object = json as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(object)) {
    if (!members.includes(name))
      throw new UsageError(`${where}: unknown member ${name}; known: ${members.join(', ')}`);
  }
  const read = <T>(
    name: string,
    what: string,
    otherwise: T | undefined,
    fits: (value: unknown) => boolean,
  ): T => {
    const value = object[name] ?? otherwise;
    if (value !== undefined && fits(value)) return value as T;
    throw new UsageError(`${where}: ${name} must be ${what}`);
  };
  const isText = (value: unknown): boolean => typeof value === 'string' && value !== '';
  return {
    has: (name) => object[name] !== undefined,
    text: (name, otherwise) => read(name, 'text', otherwise, isText),
    texts: (name) =>
      read<readonly string[]>(
        name,
        'a list of texts',
        [],
        (value) => Array.isArray(value) && value.every(isText),
      ),
    integer: (name, min, max, otherwise) =>
      read(
        name,
        `an integer of ${min} to ${max}`,
        otherwise,
        (value) => Number.isInteger(value) && (value as number) >= min && (value as number) <= max,
      ),
    flag: (name, otherwise) => read(name, 'true or false', otherwise, (value) => typeof value === 'boolean'),
    choice: <T extends string>(name: string, choices: readonly T[], otherwise: T) =>
      read<T>(name, `one of ${choices.join(', ')}`, otherwise, (value) => choices.includes(value as T)),
    object: (name, inner) => readObject(`${where}: ${name}`, object[name] ?? {}, inner),
  };
}
