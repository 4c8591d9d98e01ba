/** dstack and Azure evidence, as their tools write JSON. */
import { MalformedError } from '@haca/primitives';
import { azureDocumentCodec, dstackDocumentCodec } from '@haca/protocol';
import type { CollateralLibrary } from '../collateral-files/library.ts';
import { jsonMembers, jsonString } from '../file-forms/json-text.ts';
import { parseAzureJson } from '../tee/azure/from-json.ts';
import { parseDstackJson } from '../tee/dstack/from-json.ts';
import { jsonOf } from './blobs.ts';
import { certificatesOfJson, entriesOf } from './read-snp.ts';
import { type EvidenceReading, encodeDocument, oneDocument, type ReadingTrust } from './reading.ts';
import { amdIssuersOf } from './snp-chain.ts';

/** Throws `MalformedError`. */
export function readDstackFile(file: Uint8Array): EvidenceReading {
  const json = objectWith(jsonText(file, 'quote and event_log'), 'event_log');
  return oneDocument(encodeDocument(dstackDocumentCodec, parseDstackJson(json)), 'JSON');
}

/** Throws `MalformedError`. AMD's intermediate certificates come from the collateral: such evidence has none. */
export function readAzureFile(
  file: Uint8Array,
  library: CollateralLibrary,
  trust: ReadingTrust,
): EvidenceReading {
  const json = jsonText(file, 'hcl_report and tpm_quote');
  const [vek] = entriesOf(certificatesOfJson(json));
  const issuers =
    vek === undefined
      ? { certificates: [], used: [] }
      : amdIssuersOf(vek.certificate, library.certificates, trust);
  const document = encodeDocument(azureDocumentCodec, parseAzureJson(json, issuers.certificates));
  return oneDocument(document, 'JSON', [], issuers.used);
}

function jsonText(file: Uint8Array, what: string): string {
  const json = jsonOf(file);
  if (json === null)
    throw new MalformedError('evidence.json', 'json', `a JSON object with ${what}`, 'another file');
  return json;
}

const WRAPPERS = ['result', 'data', 'attestation', 'evidence', 'report', 'quote'];

/** The object that has the member: at the top, or where an answer of a service wraps it. */
function objectWith(text: string, member: string): string {
  const members = jsonMembers(text);
  if (members === null || members.has(member)) return text;
  for (const wrapper of WRAPPERS) {
    const value = members.get(wrapper);
    const inner = value === undefined ? undefined : (jsonString(value) ?? value);
    if (inner !== undefined && /^\s*\{/.test(inner) && jsonMembers(inner)?.has(member) === true) return inner;
  }
  return text;
}
