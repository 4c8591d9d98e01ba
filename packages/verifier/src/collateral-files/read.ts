/**
 * Reads a set of files into a library of collateral, by what is in them. Total: what is not recognised is listed as ignored.
 * What shows by its marks that it is a damaged piece of collateral is kept, so that it fails rather than goes missing.
 */
import { MalformedError, utf8Encode } from '@haca/primitives';
import { isJson } from '../file-forms/json-text.ts';
import { pemBlocks } from '../file-forms/pem-blocks.ts';
import { bytesOfText, textOf } from '../file-forms/text-forms.ts';
import {
  type CollateralFile,
  type CollateralLibrary,
  emptyDraft,
  type IgnoredFile,
  type LibraryDraft,
} from './library.ts';
import { addCertificates, addRevocationList, readDer } from './read-binary.ts';
import { readJson } from './read-json.ts';
import { addManifest } from './read-manifest.ts';

export const COLLATERAL_LIMITS = { files: 1000, bytes: 64 * 1024 * 1024 } as const;

/** Of each sort, of one file. */
const PIECES_MAX = 512;

/** Throws `MalformedError` for more than 1,000 files or 64 MiB. */
export function readCollateral(files: readonly CollateralFile[]): CollateralLibrary {
  const size = files.reduce((sum, { bytes }) => sum + bytes.length, 0);
  if (files.length > COLLATERAL_LIMITS.files)
    throw new MalformedError(
      'collateral.files',
      '',
      `at most ${COLLATERAL_LIMITS.files} files`,
      `${files.length}`,
    );
  if (size > COLLATERAL_LIMITS.bytes)
    throw new MalformedError('collateral.size', '', `at most ${COLLATERAL_LIMITS.bytes} bytes`, `${size}`);
  const draft = emptyDraft();
  const ignored: IgnoredFile[] = [];
  for (const file of files) {
    const own = emptyDraft();
    if (readFile(file, own) || readDamaged(file, own)) {
      draft.certificates.push(...own.certificates.slice(0, PIECES_MAX));
      draft.signedJson.push(...own.signedJson.slice(0, PIECES_MAX));
      draft.revocationLists.push(...own.revocationLists.slice(0, PIECES_MAX));
      draft.manifests.push(...own.manifests.slice(0, PIECES_MAX));
      draft.serviceKeys.push(...own.serviceKeys.slice(0, PIECES_MAX));
      continue;
    }
    ignored.push({ name: file.name, reason: file.bytes.length === 0 ? 'empty' : 'no collateral in it' });
  }
  return { ...draft, ignored };
}

/** Whether anything was found. */
function readFile({ name, bytes }: CollateralFile, draft: LibraryDraft): boolean {
  const text = textOf(bytes);
  if (text === null) return readDer(bytes, name, draft);
  if (isJson(text)) return readJson(text, name, draft);
  if (addManifest(bytes, name, draft)) return true;
  const [head, body] = recordedAnswer(text);
  if (body !== null && isJson(body)) {
    addPem(head, name, draft);
    return readJson(body, name, draft);
  }
  if (addPem(text, name, draft)) return true;
  const decoded = bytesOfText(text);
  return decoded !== null && (addManifest(decoded, name, draft) || readDer(decoded, name, draft));
}

function addPem(text: string, name: string, draft: LibraryDraft): boolean {
  const { certificates, crls } = pemBlocks(text);
  for (const crl of crls) addRevocationList(crl, name, draft);
  return addCertificates(certificates, name, draft) || crls.length > 0;
}

/** An HTTP answer as `curl -i` prints it: the issuer chain stands in its head. */
function recordedAnswer(text: string): readonly [head: string, body: string | null] {
  if (!text.startsWith('HTTP/')) return [text, null];
  const end = /\r?\n\r?\n/.exec(text);
  return end === null ? [text, null] : [text.slice(0, end.index), text.slice(end.index + end[0].length)];
}

const JSON_MARKS = {
  'intel-tcb-info': ['"tcbInfo"', '"fmspc"', '"sgxtcbcomponents"', '"pceId"'],
  'intel-qe-identity': ['"enclaveIdentity"', '"isvprodid"', '"miscselectMask"', '"attributesMask"'],
} as const;
/** Of four marks: one may be what was damaged, and reports about collateral name one or two. */
const MARKS_MIN = 3;
const LIST_MARKS = ['Intel SGX', 'SEV-', 'ARK-'].map((mark) => utf8Encode(mark));
/** The OID of keyUsage, which certificates have and lists have not. */
const KEY_USAGE = Uint8Array.of(0x06, 0x03, 0x55, 0x1d, 0x0f);
const LIST_BYTES_MAX = 1024 * 1024;

function readDamaged({ name, bytes }: CollateralFile, draft: LibraryDraft): boolean {
  const text = textOf(bytes);
  for (const kind of ['intel-tcb-info', 'intel-qe-identity'] as const) {
    const marks = text === null ? 0 : JSON_MARKS[kind].filter((mark) => text.includes(mark)).length;
    if (marks < MARKS_MIN || text?.includes('signature') !== true) continue;
    draft.signedJson.push({
      origin: name,
      kind,
      body: bytes,
      signature: new Uint8Array(0),
      issuerChain: null,
      scope: null,
      facts: null,
    });
    return true;
  }
  const decoded = text === null ? bytes : (bytesOfText(text) ?? bytes);
  if (!isDamagedList(decoded, name, text)) return false;
  addRevocationList(decoded, name, draft);
  return true;
}

/** A name that says so counts here alone: it can only make a check fail. */
function isDamagedList(bytes: Uint8Array, name: string, text: string | null): boolean {
  if (bytes.length > LIST_BYTES_MAX || contains(bytes, KEY_USAGE)) return false;
  if (text?.includes('-----BEGIN X509 CRL-----') === true) return true;
  if (LIST_MARKS.some((mark) => text === null && contains(bytes, mark))) return true;
  const base = name.slice(name.lastIndexOf('/') + 1);
  return /crl[^/]*\.(?:der|pem|hex|bin|txt)$|\.crl$/i.test(base) && (text === null || bytes.length < 65_536);
}

function contains(bytes: Uint8Array, part: Uint8Array): boolean {
  const [first] = part;
  for (let at = bytes.indexOf(first as number); at >= 0; at = bytes.indexOf(first as number, at + 1)) {
    if (part.every((byte, i) => bytes[at + i] === byte)) return true;
  }
  return false;
}
