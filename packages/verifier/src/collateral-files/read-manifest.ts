/** Reference manifests of NVIDIA and keys of its attestation service among files. */
import { MalformedError } from '@haca/primitives';
import { textOf } from '../file-forms/text-forms.ts';
import { parseNrasKeys } from '../tee/nvidia/nras-keys.ts';
import type { NvidiaManifestRef } from '../tee/nvidia/rim-checks.ts';
import { parseNvidiaManifest } from '../tee/nvidia/rim-manifest.ts';
import { XML_LIMITS } from '../tee/nvidia/rim-xml.ts';
import type { LibraryDraft } from './library.ts';

/** What a manifest shows by, also a damaged one. */
const MARKS = [
  'SoftwareIdentity',
  'http://standards.iso.org/iso/19770/-2/2015/schema.xsd',
  'colloquialVersion="',
  'http://www.w3.org/2001/04/xmlenc#sha384',
];
/** Of four: one may be what was damaged. */
const MARKS_MIN = 3;

/** Whether it looks like one. What is wrong with it fails where it is verified, so it is never taken for missing. */
export function addManifest(bytes: Uint8Array, origin: string, draft: LibraryDraft): boolean {
  const text = bytes.length > 2 * XML_LIMITS.bytes ? null : textOf(bytes);
  if (text === null || !text.includes('<') || MARKS.filter((mark) => text.includes(mark)).length < MARKS_MIN)
    return false;
  draft.manifests.push({ origin, bytes, about: aboutOf(bytes) });
  return true;
}

function aboutOf(bytes: Uint8Array): NvidiaManifestRef | null {
  try {
    const { kind, product, version } = parseNvidiaManifest(bytes);
    return { kind, product, version };
  } catch (error) {
    if (error instanceof MalformedError) return null;
    throw error;
  }
}

/** Whether the JSON text is a set of keys, all of it well-formed. */
export function addServiceKeys(text: string, origin: string, draft: LibraryDraft): boolean {
  try {
    draft.serviceKeys.push({ origin, keys: parseNrasKeys(text) });
    return true;
  } catch (error) {
    if (error instanceof MalformedError) return false;
    throw error;
  }
}
