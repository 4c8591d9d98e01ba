/** Byte strings inside what people hand over as evidence: a raw file, hex or base64 text, strings somewhere in JSON. */
import { bytesEqual, MalformedError } from '@haca/primitives';
import { isJson, JSON_DEPTH_MAX, jsonElements, jsonMembers, jsonString } from '../file-forms/json-text.ts';
import { base64Of, hexOf, textOf } from '../file-forms/text-forms.ts';

export interface Blob {
  readonly bytes: Uint8Array;
  /** How it was written, for people: `raw bytes`, `hex text`, `member quote`. */
  readonly form: string;
  /** Name of the member it stood in; empty outside JSON. */
  readonly member: string;
}

const BLOBS_MAX = 4096;
/** Shorter ones are hashes and nonces. */
const BLOB_MIN_BYTES = 64;
/** Above any evidence, with its padding, log and certificates. */
export const EVIDENCE_FILE_MAX_BYTES = 4 * 1024 * 1024;

/** The text of a file that is JSON; null for any other. */
export function jsonOf(bytes: Uint8Array): string | null {
  const text = textOf(bytes);
  return text !== null && /^\s*[[{"]/.test(text) && isJson(text) ? text : null;
}

/** A file that is no JSON: the bytes it writes down, or is. */
export function blobOfFile(bytes: Uint8Array): Blob {
  const text = textOf(bytes);
  const hex = text === null ? null : hexOf(text);
  if (hex !== null) return { bytes: hex, form: 'hex text', member: '' };
  const base64 = text === null ? null : base64Of(text);
  if (base64 !== null) return { bytes: base64, form: 'base64 text', member: '' };
  return { bytes, form: 'raw bytes', member: '' };
}

/** Every string of a JSON text that may be bytes of some length, in the order of the text. */
export function blobsOfJson(text: string): readonly Blob[] {
  const blobs: Blob[] = [];
  for (const { member, value } of jsonStrings(text)) {
    const bytes = hexOf(value) ?? base64Of(value);
    if (bytes === null || bytes.length < BLOB_MIN_BYTES) continue;
    blobs.push({ bytes, form: member === '' ? 'JSON text' : `member ${member} of JSON`, member });
  }
  return blobs;
}

export interface JsonString {
  readonly member: string;
  readonly value: string;
}

/** Strings of a JSON text, also of JSON inside its strings, each with the name of the nearest member. */
export function jsonStrings(text: string): readonly JsonString[] {
  const found: JsonString[] = [];
  walk(text, '', 0, found);
  return found;
}

function walk(text: string, member: string, depth: number, found: JsonString[]): void {
  if (depth > JSON_DEPTH_MAX || found.length >= BLOBS_MAX) return;
  const value = jsonString(text);
  if (value !== null) {
    if (/^\s*[[{]/.test(value) && isJson(value)) walk(value, member, depth + 1, found);
    else found.push({ member, value });
    return;
  }
  for (const element of jsonElements(text) ?? []) walk(element, member, depth + 1, found);
  for (const [name, each] of jsonMembers(text) ?? []) walk(each, name, depth + 1, found);
}

/** Whether an object anywhere in the text has this member, whatever its case and separators. */
export function jsonObjects(text: string): readonly ReadonlyMap<string, string>[] {
  const found: ReadonlyMap<string, string>[] = [];
  const visit = (each: string, depth: number): void => {
    if (depth > JSON_DEPTH_MAX || found.length >= BLOBS_MAX) return;
    const inner = jsonString(each);
    if (inner !== null && /^\s*[[{]/.test(inner) && isJson(inner)) visit(inner, depth + 1);
    for (const element of jsonElements(each) ?? []) visit(element, depth + 1);
    const members = jsonMembers(each);
    if (members === null) return;
    found.push(new Map([...members].map(([name, value]) => [spelling(name), value])));
    for (const value of members.values()) if (/^[[{"]/.test(value)) visit(value, depth + 1);
  };
  visit(text, 0);
  return found;
}

/** `td_quote`, `tdQuote`, `TD-Quote`: one name. */
function spelling(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
}

/**
 * The one blob that fits: several that differ are refused, unless one of them has a name that says it is meant. Where none
 * fits, the first of such a name. Throws `MalformedError`.
 */
export function blobIn(
  text: string,
  names: readonly string[],
  what: string,
  fits: (bytes: Uint8Array) => boolean,
): Blob {
  const blobs = blobsOfJson(text);
  const isNamed = ({ member }: Blob): boolean => names.includes(spelling(member));
  const fitting = blobs.filter(({ bytes }) => fits(bytes));
  const named = fitting.filter(isNamed);
  const chosen = (named.length > 0 ? named : fitting)[0] ?? blobs.find(isNamed);
  if (chosen === undefined) throw new MalformedError('evidence.json', 'json', what, 'JSON without one');
  const others = (named.length > 0 ? named : fitting).filter(({ bytes }) => !bytesEqual(bytes, chosen.bytes));
  if (others.length > 0)
    throw new MalformedError(
      'evidence.ambiguous',
      'json',
      `${what}, one`,
      `${others.length + 1} that differ`,
    );
  return chosen;
}
