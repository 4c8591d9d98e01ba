import { toHex } from '@haca/primitives';
import type { EventValue } from './ops/step.ts';
import type { ChainEvent } from './types.ts';

export function eventOf(type: string, attributes: Readonly<Record<string, EventValue>>): ChainEvent {
  const pairs: (readonly [string, string])[] = [];
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined) continue;
    pairs.push([name, value instanceof Uint8Array ? toHex(value) : String(value)]);
  }
  return { type, attributes: pairs };
}
