/**
 * Evidence of an Azure confidential VM as the field's tools write it: JSON of the Confidential Containers attesters (`az-snp-vtpm`,
 * `az-tdx-vtpm`, with or without a version), alone or as `evidence` beside `platform`.
 */
import { fromHex, MalformedError } from '@haca/primitives';
import type { AzureDocument } from '@haca/protocol';
import { parsePemCertificates } from '../../der/pem.ts';
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
import { canonicalHclReport } from './hcl-report.ts';
import { PCR_BYTES, PCR_COUNT, parseTpmQuote } from './tpm-quote.ts';

const TEXT_MAX_CHARS = 256 * 1024;

/**
 * `amdIssuers` are ARK and ASK in DER: such evidence carries the chip's own certificate alone. Padding and what is measured by
 * nobody is left out, so that the document has one form. Throws `MalformedError`.
 */
export function parseAzureJson(text: string, amdIssuers: readonly Uint8Array[] = []): AzureDocument {
  if (text.length > TEXT_MAX_CHARS)
    throw new MalformedError('azure.json', 'json', `at most ${TEXT_MAX_CHARS} characters`, `${text.length}`);
  const root = jsonObject(parseStrictJson(text, 'json'), 'json');
  const evidence = root.has('evidence') ? jsonObject(root.get('evidence'), 'json.evidence') : root;
  const quote = jsonObject(evidence.get('tpm_quote') ?? evidence.get('quote'), 'json.tpm_quote');
  const tdQuote = evidence.get('td_quote') ?? null;
  const vcek = evidence.get('vcek') ?? null;
  const tpmQuote = bytesOf(quote.get('message'), 'json.tpm_quote.message', fromHex);
  return {
    hclReport: canonicalHclReport(
      bytesOf(evidence.get('hcl_report') ?? evidence.get('report'), 'json.hcl_report', base64Text),
    ),
    tdQuote: tdQuote === null ? null : stripQuotePadding(bytesOf(tdQuote, 'json.td_quote', base64Text)),
    certificates: vcek === null ? [] : chainOf(vcek, amdIssuers),
    tpmQuote,
    tpmSignature: bytesOf(quote.get('signature'), 'json.tpm_quote.signature', fromHex),
    pcrs: pcrsOf(quote, tpmQuote),
  };
}

/** The certificate in base64 or PEM; PEM may bring its issuers, leaf first. */
function chainOf(vcek: JsonValue, issuers: readonly Uint8Array[]): readonly Uint8Array[] {
  const isPem = typeof vcek === 'string' && vcek.trimStart().startsWith('-----BEGIN');
  const own = isPem ? parsePemCertificates(vcek, 'json.vcek') : [bytesOf(vcek, 'json.vcek', base64Text)];
  return own.length === 1 ? [...issuers, ...own] : own.toReversed();
}

/** Values of PCRs that the quote doesn't select are nobody's word: zeros. */
function pcrsOf(quote: JsonObject, tpmQuote: Uint8Array): readonly Uint8Array[] {
  const path = 'json.tpm_quote.pcrs';
  const values = jsonArray(quote.get('pcrs'), path);
  if (values.length !== PCR_COUNT)
    throw new MalformedError('azure.json', path, `${PCR_COUNT} values`, `${values.length}`);
  const { selected } = parseTpmQuote(tpmQuote);
  return values.map((value, index) =>
    selected.includes(index) ? bytesOf(value, `${path}.${index}`, fromHex) : new Uint8Array(PCR_BYTES),
  );
}

/** Bytes as an array of numbers, or as text in the given form. */
function bytesOf(
  value: JsonValue | undefined,
  path: string,
  fromText: (text: string, path: string) => Uint8Array,
): Uint8Array {
  if (!Array.isArray(value)) return fromText(jsonText(value, path), path);
  return Uint8Array.from(value as readonly JsonValue[], (byte) => {
    if (typeof byte === 'number' && Number.isInteger(byte) && byte >= 0 && byte <= 255) return byte;
    throw new MalformedError('azure.json', path, 'numbers from 0 to 255', typeof byte);
  });
}

function base64Text(text: string, path: string): Uint8Array {
  const bytes = base64Of(text);
  if (bytes === null)
    throw new MalformedError('azure.json', path, 'base64', JSON.stringify(text.slice(0, 32)));
  return bytes;
}
