/**
 * JSON as the text it came in: vendors sign the bytes of an object, so a member is cut out of its text and never written anew.
 * A text here is one JSON value with nothing around it but blanks.
 */

const TEXT_MAX_CHARS = 32 * 1024 * 1024;
/** Nesting that is followed. */
export const JSON_DEPTH_MAX = 8;

/** Whether the text is one JSON value. */
export function isJson(text: string): boolean {
  return jsonValue(text) !== undefined;
}

/** The value; undefined where the text is none. */
export function jsonValue(text: string): unknown {
  if (text.length > TEXT_MAX_CHARS) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** The text's string; null where it is another value. */
export function jsonString(text: string): string | null {
  if (!text.trimStart().startsWith('"')) return null;
  const value = jsonValue(text);
  return typeof value === 'string' ? value : null;
}

/**
 * Texts of an object's members in their order, cut out as they stand. Null where the text is no object, or names a member
 * twice. What it says of a text that is no JSON has no meaning.
 */
export function jsonMembers(text: string): ReadonlyMap<string, string> | null {
  const items = itemsOf(text, '{');
  if (items === null) return null;
  const members = new Map<string, string>();
  for (const item of items) {
    const keyEnd = stringEnd(item, 0);
    const key = jsonString(item.slice(0, keyEnd));
    if (key === null || members.has(key)) return null;
    members.set(key, item.slice(item.indexOf(':', keyEnd) + 1).trim());
  }
  return members;
}

/** Texts of an array's elements; null where the text is no array; as above. */
export function jsonElements(text: string): readonly string[] | null {
  return itemsOf(text, '[');
}

/** What stands between the commas of the outermost brackets, without blanks around. */
function itemsOf(text: string, open: '{' | '['): readonly string[] | null {
  const start = text.length - text.trimStart().length;
  if (text[start] !== open) return null;
  const items: string[] = [];
  let depth = 0;
  let itemStart = start + 1;
  for (let i = start; i < text.length; i++) {
    const character = text[i];
    if (character === '"') i = stringEnd(text, i) - 1;
    else if (character === '{' || character === '[') depth++;
    else if (character === '}' || character === ']') depth--;
    const isEnd = depth === 0;
    if (!isEnd && !(depth === 1 && character === ',')) continue;
    const item = text.slice(itemStart, i).trim();
    if (item !== '') items.push(item);
    itemStart = i + 1;
    if (isEnd) return items;
  }
  return null;
}

/** Position after the string that begins at `start`. */
function stringEnd(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '"') return i + 1;
  }
  return text.length;
}
