/** The answer of dstack's guest agent to a request for a quote, as people keep it in files. */
import { fromHex, MalformedError } from '@haca/primitives';
import {
  DSTACK_RUNTIME_EVENT_TYPE,
  type DstackDocument,
  type DstackEvent,
  dstackEventOf,
} from '@haca/protocol';
import { base64Of } from '../../file-forms/text-forms.ts';
import { stripQuotePadding } from '../intel/quote.ts';
import {
  type JsonObject,
  type JsonValue,
  jsonArray,
  jsonObject,
  jsonText,
  parseStrictJson,
} from '../strict-json.ts';

const TEXT_MAX_CHARS = 1024 * 1024;

/**
 * Reads `quote` or `intel_quote` (hex or base64) and `event_log` (an array, or the text of one) of a JSON object; other members,
 * `report_data` and `vm_config` among them, are not measured and not looked at. Throws `MalformedError`.
 */
export function parseDstackJson(text: string): DstackDocument {
  if (text.length > TEXT_MAX_CHARS)
    throw new MalformedError('dstack.json', 'json', `at most ${TEXT_MAX_CHARS} characters`, `${text.length}`);
  const root = jsonObject(parseStrictJson(text, 'json'), 'json');
  const log = root.get('event_log');
  const events = typeof log === 'string' ? parseStrictJson(log, 'json.event_log') : log;
  return {
    quote: stripQuotePadding(quoteOf(root.get('quote') ?? root.get('intel_quote'), 'json.quote')),
    events: jsonArray(events, 'json.event_log').map((entry, i) =>
      eventOf(jsonObject(entry, `json.event_log.${i}`), `json.event_log.${i}`),
    ),
  };
}

function quoteOf(value: JsonValue | undefined, path: string): Uint8Array {
  if (/^(0x)?([0-9a-f]{2})*$/i.test(jsonText(value, path))) return hexOf(value, path);
  const bytes = base64Of(jsonText(value, path));
  if (bytes === null) throw new MalformedError('dstack.json', path, 'hex or base64', 'another text');
  return bytes;
}

function eventOf(entry: JsonObject, path: string): DstackEvent {
  const eventType = uintOf(entry.get('event_type'), `${path}.event_type`);
  const isRuntime = eventType === DSTACK_RUNTIME_EVENT_TYPE;
  const version = entry.get('version');
  if (version !== undefined && version !== 1 && version !== 2)
    throw new MalformedError('dstack.json', `${path}.version`, '1 | 2', typeof version);
  return dstackEventOf({
    imr: uintOf(entry.get('imr'), `${path}.imr`),
    eventType,
    digest: isRuntime ? null : hexOf(entry.get('digest'), `${path}.digest`),
    name: isRuntime ? jsonText(entry.get('event'), `${path}.event`) : '',
    payload: isRuntime ? hexOf(entry.get('event_payload'), `${path}.event_payload`) : new Uint8Array(0),
    ...(version === 2 ? { version } : {}),
  });
}

function uintOf(value: JsonValue | undefined, path: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new MalformedError('dstack.json', path, 'an unsigned integer', typeof value);
}

function hexOf(value: JsonValue | undefined, path: string): Uint8Array {
  const text = jsonText(value, path).toLowerCase();
  return fromHex(text.startsWith('0x') ? text.slice(2) : text, path);
}
