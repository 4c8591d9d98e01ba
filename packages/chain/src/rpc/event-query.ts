/** CometBFT's event query language: `tm.event='Tx' AND settle.keyId='ab' AND tx.height>5`. */
import { paramsFault } from './json-rpc.ts';

const QUERY_CHARACTERS_MAX = 512;
const CONDITIONS_MAX = 16;
const TOKEN =
  /\s*(?:([A-Za-z_][A-Za-z0-9_.-]*)\s*(<=|>=|=|<|>|CONTAINS\b|EXISTS\b)\s*)(?:'([^']*)'|(-?[0-9]{1,18}))?\s*/y;

export interface Condition {
  readonly key: string;
  readonly op: '=' | '<' | '<=' | '>' | '>=' | 'CONTAINS' | 'EXISTS';
  readonly value: string;
}

/** What an event or a transaction is known by: `type.key` to all its values. */
export type EventValues = ReadonlyMap<string, readonly string[]>;

/** Throws `RpcFault` on anything but conditions joined by AND. */
export function parseEventQuery(text: string): readonly Condition[] {
  if (text.length > QUERY_CHARACTERS_MAX) throw paramsFault(`query is longer than ${QUERY_CHARACTERS_MAX}`);
  const conditions: Condition[] = [];
  let offset = 0;
  for (;;) {
    TOKEN.lastIndex = offset;
    const match = TOKEN.exec(text);
    if (match === null || conditions.length >= CONDITIONS_MAX)
      throw paramsFault(`failed to parse query at ${offset}`);
    const [, key, op, quoted, number] = match as unknown as [
      string,
      string,
      Condition['op'],
      string?,
      string?,
    ];
    const value = quoted ?? number;
    if ((value === undefined) !== (op === 'EXISTS')) throw paramsFault(`failed to parse query at ${offset}`);
    conditions.push({ key, op, value: value ?? '' });
    offset = TOKEN.lastIndex;
    if (offset === text.length) return conditions;
    if (!text.startsWith('AND ', offset))
      throw paramsFault(`failed to parse query: AND expected at ${offset}`);
    offset += 3;
  }
}

export function matchesQuery(conditions: readonly Condition[], values: EventValues): boolean {
  return conditions.every((condition) =>
    (values.get(condition.key) ?? []).some((value) => satisfies(condition, value)),
  );
}

function satisfies({ op, value: wanted }: Condition, value: string): boolean {
  if (op === 'EXISTS') return true;
  if (op === '=') return value === wanted;
  if (op === 'CONTAINS') return value.includes(wanted);
  const isNumber = /^-?[0-9]{1,40}$/;
  if (!isNumber.test(value) || !isNumber.test(wanted)) return false;
  const difference = BigInt(value) - BigInt(wanted);
  if (op === '<') return difference < 0n;
  if (op === '<=') return difference <= 0n;
  return op === '>' ? difference > 0n : difference >= 0n;
}

/** The range of heights that conditions on `key` leave open. */
export function heightRange(
  conditions: readonly Condition[],
  key: string,
  lowest: number,
  highest: number,
): readonly [first: number, last: number] {
  let first = lowest;
  let last = highest;
  for (const { key: name, op, value } of conditions) {
    const bound = Number(value);
    if (name !== key || !Number.isSafeInteger(bound)) continue;
    if (op === '=' || op === '>=') first = Math.max(first, bound);
    if (op === '>') first = Math.max(first, bound + 1);
    if (op === '=' || op === '<=') last = Math.min(last, bound);
    if (op === '<') last = Math.min(last, bound - 1);
  }
  return [first, last];
}
