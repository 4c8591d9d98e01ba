/** dstack and Azure evidence, as their tools write JSON. */
import { MalformedError, toHex } from '@haca/primitives';
import { azureDocumentCodec, dstackDocumentCodec } from '@haca/protocol';
import type { CollateralLibrary } from '../collateral-files/library.ts';
import { jsonString } from '../file-forms/json-text.ts';
import { bytesOfText } from '../file-forms/text-forms.ts';
import { parseAzureJson } from '../tee/azure/from-json.ts';
import { parseDstackJson } from '../tee/dstack/from-json.ts';
import { SNP_REPORT_BYTES } from '../tee/snp/parse.ts';
import { jsonObjects, jsonOf } from './blobs.ts';
import { certificatesOfJson, entriesOf, reportOrNull } from './read-snp.ts';
import { type EvidenceReading, encodeDocument, oneDocument, type ReadingTrust } from './reading.ts';
import { amdIssuersOf, type SnpChain, snpChainOf } from './snp-chain.ts';

/** Throws `MalformedError`. */
export function readDstackFile(file: Uint8Array): EvidenceReading {
  const json = quoteAndLog(jsonText(file, 'quote and event_log'));
  return oneDocument(encodeDocument(dstackDocumentCodec, parseDstackJson(json)), 'JSON');
}

const HARDWARE_REPORT_AT = 32;
const NAMES: readonly (readonly [spelled: string, name: string])[] = [
  ['hclreport', 'hcl_report'],
  ['report', 'report'],
  ['tpmquote', 'tpm_quote'],
  ['quote', 'quote'],
  ['tdquote', 'td_quote'],
  ['vcek', 'vcek'],
];

/**
 * Throws `MalformedError`. AMD's intermediate certificates come from the collateral: such evidence has none; the chip's own too,
 * where the evidence was written down without it.
 */
export function readAzureFile(
  file: Uint8Array,
  library: CollateralLibrary,
  trust: ReadingTrust,
): EvidenceReading {
  const whole = jsonText(file, 'hcl_report and tpm_quote');
  const members = jsonObjects(whole).find(
    (each) => each.has('hclreport') && (each.has('tpmquote') || each.has('quote')),
  );
  const json = members === undefined ? whole : objectOf(members, null);
  const [vek] = entriesOf(certificatesOfJson(json));
  const hcl = bytesOfText(jsonString(members?.get('hclreport') ?? '') ?? '');
  if (vek !== undefined || members === undefined || hcl === null) {
    const issuers = vek === undefined ? NO_CHAIN : amdIssuersOf(vek.certificate, library.certificates, trust);
    return azureDocument(json, issuers);
  }
  const report = reportOrNull(hcl.subarray(HARDWARE_REPORT_AT, HARDWARE_REPORT_AT + SNP_REPORT_BYTES));
  const chain = report === null ? NO_CHAIN : snpChainOf(report, [], library.certificates, trust);
  const own = chain.certificates.at(-1) ?? null;
  return azureDocument(objectOf(members, own), { ...chain, certificates: chain.certificates.slice(0, -1) });
}

const NO_CHAIN: SnpChain = { certificates: [], used: [] };

function azureDocument(json: string, { certificates, used }: SnpChain): EvidenceReading {
  const document = encodeDocument(azureDocumentCodec, parseAzureJson(json, certificates));
  return oneDocument(document, 'JSON', [], used);
}

/** The members under the names that the tools they come from give them. */
function objectOf(members: ReadonlyMap<string, string>, vek: Uint8Array | null): string {
  const texts = NAMES.flatMap(([spelled, name]) => {
    const value = members.get(spelled);
    return value === undefined || (name === 'vcek' && vek !== null) ? [] : [`"${name}":${value}`];
  });
  return `{${[...texts, ...(vek === null ? [] : [`"vcek":[${vek.join(',')}]`])].join(',')}}`;
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
    const bytes = quote === undefined ? null : bytesOfText(jsonString(quote) ?? '');
    const inHex = bytes === null ? quote : `"${toHex(bytes)}"`;
    if (quote !== undefined && log !== undefined) return `{"quote":${inHex},"event_log":${log}}`;
  }
  return text;
}
