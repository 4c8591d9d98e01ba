/** dstack and Azure evidence, as their tools write JSON. */
import { MalformedError } from '@haca/primitives';
import { azureDocumentCodec, dstackDocumentCodec } from '@haca/protocol';
import type { CollateralLibrary } from '../collateral-files/library.ts';
import { parseAzureJson } from '../tee/azure/from-json.ts';
import { parseDstackJson } from '../tee/dstack/from-json.ts';
import { jsonObjects, jsonOf } from './blobs.ts';
import { certificatesOfJson, entriesOf } from './read-snp.ts';
import { type EvidenceReading, encodeDocument, oneDocument, type ReadingTrust } from './reading.ts';
import { amdIssuersOf } from './snp-chain.ts';

/** Throws `MalformedError`. */
export function readDstackFile(file: Uint8Array): EvidenceReading {
  const json = quoteAndLog(jsonText(file, 'quote and event_log'));
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

const QUOTE_NAMES = ['quote', 'intelquote', 'tdxquote'];

/** Quote and log alone, wherever a service's answer has them and however it spells their names. */
function quoteAndLog(text: string): string {
  for (const members of jsonObjects(text)) {
    const quote = QUOTE_NAMES.map((name) => members.get(name)).find((value) => value !== undefined);
    const log = members.get('eventlog');
    if (quote !== undefined && log !== undefined) return `{"quote":${quote},"event_log":${log}}`;
  }
  return text;
}
