import { parseArgs } from 'node:util';

/** One flag of a command. `value` names what it takes; without it the flag is a switch. */
export interface Flag {
  readonly value?: string;
  readonly help: string;
  readonly multiple?: boolean;
}

export interface Command {
  /** As typed, e.g. `evidence verify`. */
  readonly name: string;
  readonly summary: string;
  /** What stands after the name, e.g. `"PROMPT"`. */
  readonly operands: string;
  readonly flags: Readonly<Record<string, Flag>>;
  readonly examples: readonly string[];
  /** Everything after the name goes to the program unread. */
  readonly passThrough?: boolean;
  /** Returns the exit code. */
  readonly run: (call: Call) => Promise<number>;
}

/** A command line that was understood. */
export interface Call {
  readonly command: Command;
  readonly operands: readonly string[];
  readonly raw: readonly string[];
  readonly json: boolean;
  readonly text: (flag: string) => string | undefined;
  readonly has: (flag: string) => boolean;
  readonly list: (flag: string) => readonly string[];
  readonly out: (line: string) => void;
  readonly err: (line: string) => void;
  /** Lines go to a terminal that shows colours. */
  readonly isTerminal: boolean;
}

/** Where a command writes to. */
export type Io = Pick<Call, 'out' | 'err'> & Partial<Pick<Call, 'isTerminal'>>;

/** The command line is wrong: exit code 2, and what to type instead. */
export class CommandLineError extends Error {
  override readonly name = 'CommandLineError';
}

export const JSON_FLAG: Flag = { help: 'print one JSON object on standard output' };

export function parseCall(
  command: Command,
  args: readonly string[],
  { isTerminal = false, ...lines }: Io,
): Call {
  const io = { ...lines, isTerminal };
  if (command.passThrough === true) {
    const none = { text: () => undefined, has: () => false, list: () => [] };
    return { command, operands: [], raw: args, json: args.includes('--json'), ...none, ...io };
  }
  const flags: Readonly<Record<string, Flag>> = { ...command.flags, json: JSON_FLAG };
  const options = Object.fromEntries(
    Object.entries(flags).map(([name, { value, multiple }]) => [
      name,
      { type: value === undefined ? 'boolean' : 'string', multiple: multiple ?? false } as const,
    ]),
  );
  checkFlags(args, flags, command);
  let parsed: ReturnType<typeof parseArgs>;
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new CommandLineError(`${(error as Error).message}\nTry: haca ${command.name} --help`);
  }
  const { values, positionals } = parsed;
  const list = (flag: string): readonly string[] => {
    const value = values[flag];
    return (Array.isArray(value) ? value : [value]).filter((each) => typeof each === 'string');
  };
  return {
    command,
    operands: positionals,
    raw: args,
    json: values['json'] === true,
    text: (flag) => list(flag)[0],
    has: (flag) => values[flag] !== undefined && values[flag] !== false,
    list,
    ...io,
  };
}

/** An unknown flag is answered with the nearest known one, which `parseArgs` does not do. */
function checkFlags(args: readonly string[], flags: Readonly<Record<string, Flag>>, command: Command): void {
  for (const arg of args) {
    if (arg === '--') return;
    if (!arg.startsWith('--')) continue;
    const name = arg.slice(2).split('=')[0] as string;
    if (Object.hasOwn(flags, name)) continue;
    throw new CommandLineError(
      `haca ${command.name}: unknown flag --${name}${suggestion(name, Object.keys(flags), '--')}\nTry: haca ${command.name} --help`,
    );
  }
}

/** ` (did you mean …?)` where something known is near enough. */
export function suggestion(given: string, known: readonly string[], prefix = ''): string {
  const ranked = known
    .map((name) => ({ name, distance: name.startsWith(given) ? 1 : editDistance(given, name) }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  const isNear = best !== undefined && best.distance <= Math.max(2, Math.floor(best.name.length / 3));
  return isNear ? ` (did you mean ${prefix}${best.name}?)` : '';
}

/** Levenshtein distance. */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      const above = row[j] as number;
      const left = next[j - 1] as number;
      const diagonal = row[j - 1] as number;
      next.push(Math.min(above + 1, left + 1, diagonal + cost));
    }
    row = next;
  }
  return row[b.length] as number;
}

export function commandHelp({ name, summary, operands, flags, examples }: Command): string {
  const rows = Object.entries({ ...flags, json: JSON_FLAG, help: { help: 'this text' } }).map(
    ([flag, { value, help }]: [string, Flag]) =>
      [`--${flag}${value === undefined ? '' : ` ${value}`}`, help] as const,
  );
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  return [
    `Usage: haca ${name}${operands === '' ? '' : ` ${operands}`} [flags]`,
    '',
    summary,
    '',
    ...rows.map(([left, right]) => `  ${left.padEnd(width)}${right}`),
    '',
    'Examples',
    ...examples.map((example) => `  ${example}`),
    '',
  ].join('\n');
}
