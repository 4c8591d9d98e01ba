/** What a file seems to be: for messages to people who gave another kind, never for a verdict. */
import type { EvidenceKind } from '@haca/protocol';
import { blobOfFile, blobsOfJson, jsonObjects, jsonOf } from './blobs.ts';

const SNP_REPORT_BYTES = 1184;
/** Chains alone are longer; signatures and keys, of which one may begin alike, are not. */
const COSE_MIN_BYTES = 1024;
const TEE_TYPE_TDX = 0x81;

/** Null where nothing is recognised. */
export function likelyKind(file: Uint8Array): EvidenceKind | null {
  return likelyKinds(file)[0] ?? null;
}

/** JSON may hold evidence of several kinds, the one that says most first. */
export function likelyKinds(file: Uint8Array): readonly EvidenceKind[] {
  const json = jsonOf(file);
  if (json !== null) return kindsOfJson(json);
  const kind = isJwt(file) ? 'nvidia' : kindOfBytes(blobOfFile(file).bytes);
  return kind === null ? [] : [kind];
}

function kindsOfJson(text: string): readonly EvidenceKind[] {
  const objects = jsonObjects(text);
  const has = (...names: string[]): boolean =>
    objects.some((members) => names.every((name) => members.has(name)));
  // The quote or report inside is about the paravisor, so it is no evidence of its own.
  if (has('hclreport')) return ['azure'];
  const kinds: EvidenceKind[] = [];
  if (['quote', 'intelquote', 'tdxquote'].some((name) => has(name, 'eventlog'))) kinds.push('dstack');
  const inside = blobsOfJson(text).map(({ bytes }) => kindOfBytes(bytes));
  kinds.push(...inside.filter((kind) => kind !== null && kind !== 'nvidia'));
  if (has('evidence', 'certificate') || has('evidencelist') || /"eyJ[A-Za-z0-9_-]+\.eyJ/.test(text))
    kinds.push('nvidia');
  return [...new Set(kinds)];
}

function isJwt(file: Uint8Array): boolean {
  return file[0] === 0x65 && file[1] === 0x79 && file[2] === 0x4a && file.includes(0x2e);
}

export function kindOfBytes(bytes: Uint8Array): EvidenceKind | null {
  if (looksLikeCose(bytes) && bytes.length > COSE_MIN_BYTES) return 'nitro';
  if (looksLikeQuote(bytes)) return bytes[0] !== 3 && bytes[4] === TEE_TYPE_TDX ? 'tdx' : 'sgx';
  if (looksLikeSnpReport(bytes)) return 'snp';
  return looksLikeSpdm(bytes) ? 'nvidia' : null;
}

/** COSE_Sign1, with or without its tag: an array of four that begins with a protected header of four bytes. */
export function looksLikeCose(bytes: Uint8Array): boolean {
  const at = bytes[0] === 0xd2 ? 1 : 0;
  return bytes[at] === 0x84 && ((bytes[at + 1] ?? 0) & 0xe0) === 0x40;
}

/** Version 3 to 5, then a key type of 2 or 3. */
export function looksLikeQuote(bytes: Uint8Array): boolean {
  const [version = 0, high, type = 0, typeHigh] = bytes;
  return (
    version >= 3 &&
    version <= 5 &&
    high === 0 &&
    type >= 2 &&
    type <= 3 &&
    typeHigh === 0 &&
    bytes.length > 48
  );
}

/** A version below 16 and the one signature algorithm there is. */
export function looksLikeSnpReport(bytes: Uint8Array): boolean {
  if (bytes.length < SNP_REPORT_BYTES) return false;
  const [version = 0, ...rest] = bytes.subarray(0, 4);
  const isVersion = version >= 1 && version < 16 && rest.every((byte) => byte === 0);
  return isVersion && bytes[0x34] === 1 && bytes[0x35] === 0 && bytes[0x36] === 0 && bytes[0x37] === 0;
}

/** SPDM 1.1: GET_MEASUREMENTS. */
export function looksLikeSpdm(bytes: Uint8Array): boolean {
  return bytes[0] === 0x11 && bytes[1] === 0xe0 && bytes.length > 37;
}
