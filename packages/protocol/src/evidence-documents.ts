/**
 * Evidence that vendors hand out in parts, as one document each: deterministic CBOR, so that there is one encoding. Nitro
 * documents and Intel quotes are documents as they are (a quote without the padding that some hosts append).
 */
import {
  arrayOf,
  bytesOf,
  concatBytes,
  field,
  nullable,
  optionalField,
  struct,
  type TypeOf,
  textOf,
  uint,
  utf8Encode,
} from '@haca/primitives';

const certificate = bytesOf(1, 4096);

/** AMD SEV-SNP: an attestation report and the chain of the key that signed it. */
export const snpDocumentCodec = struct({
  report: field(0, bytesOf(1184)),
  /** DER, root first: ARK, ASK or ASVK, VCEK or VLEK. */
  certificates: field(1, arrayOf(certificate, 3)),
});
export type SnpDocument = TypeOf<typeof snpDocumentCodec>;

/** An NVIDIA GPU or switch: SPDM GET_MEASUREMENTS request and response as signed, and the device's chain. */
export const nvidiaDocumentCodec = struct({
  report: field(0, bytesOf(1, 16_384)),
  /** DER, root first, the attestation key's certificate last. */
  certificates: field(1, arrayOf(certificate, 8)),
});
export type NvidiaDocument = TypeOf<typeof nvidiaDocumentCodec>;

/** Type of the events that a dstack guest extends into RTMR3, and of no others. */
export const DSTACK_RUNTIME_EVENT_TYPE = 0x0800_0001;

const dstackEventCodec = struct({
  /** 0 to 3: which RTMR. */
  imr: field(0, uint(3)),
  /** `DSTACK_RUNTIME_EVENT_TYPE` in RTMR3; 0 for boot events. */
  eventType: field(1, uint(0xffff_ffff)),
  /** SHA-384 for boot events; null for runtime events, whose digest is computed from the other fields. */
  digest: field(2, nullable(bytesOf(48))),
  /** Empty for boot events. */
  name: field(3, textOf(0, 128)),
  /** Empty for boot events. */
  payload: field(4, bytesOf(0, 4096)),
  /** 2 where the digest of a runtime event is that of canonical JSON, else absent. */
  version: optionalField(5, uint(2)),
});
export type DstackEvent = TypeOf<typeof dstackEventCodec>;

/**
 * A TDX quote and the log of what was extended into its RTMRs, in the order of extension within each. A document carries what is
 * measured and nothing else: make its events with `dstackEventOf`.
 */
export const dstackDocumentCodec = struct({
  /** Without padding. */
  quote: field(0, bytesOf(1, 16_384)),
  events: field(1, arrayOf(dstackEventCodec, 256)),
});
export type DstackDocument = TypeOf<typeof dstackDocumentCodec>;

/**
 * An entry of a guest's log as a document carries it. Of a boot event (RTMR0 to RTMR2) only the digest is measured, so type,
 * name and payload are left out; of a runtime event the digest follows from the rest, so it is left out. The digest of a runtime
 * event of version 1 doesn't tell a colon in the name from the one after it, so its name ends at the first.
 */
export function dstackEventOf(entry: DstackEvent): DstackEvent {
  const { imr, eventType, digest, name, payload, version } = entry;
  if (eventType !== DSTACK_RUNTIME_EVENT_TYPE)
    return { imr, eventType: 0, digest, name: '', payload: new Uint8Array(0) };
  const runtime = { imr, eventType, digest: null };
  if (version === 2) return { ...runtime, name, payload, version };
  const colon = name.indexOf(':');
  if (colon < 0) return { ...runtime, name, payload };
  const rest = concatBytes(utf8Encode(`${name.slice(colon + 1)}:`), payload);
  return { ...runtime, name: name.slice(0, colon), payload: rest };
}

/** An Azure confidential VM: hardware report inside the HCL report, whose runtime data names the vTPM key, and a TPM quote. */
export const azureDocumentCodec = struct({
  /**
   * As the paravisor stores it in NV index 0x01400001, without the zeros behind the size that it states. TDX: CPUSVN and MAC of
   * the TDREPORT, which only the CPU that made it can check, are zeros.
   */
  hclReport: field(0, bytesOf(1, 8192)),
  /** TDX: the quote over the TD report inside the HCL report. SNP: null. */
  tdQuote: field(1, nullable(bytesOf(1, 16_384))),
  /** SNP: DER, root first. TDX: empty. */
  certificates: field(2, arrayOf(certificate, 3)),
  /** TPMS_ATTEST as signed. */
  tpmQuote: field(3, bytesOf(1, 2048)),
  /** RSASSA PKCS #1 v1.5 with SHA-256 by the vTPM's attestation key. */
  tpmSignature: field(4, bytesOf(256, 512)),
  /** SHA-256 bank, PCR 0 to 23; zeros where the quote doesn't select one. */
  pcrs: field(5, arrayOf(bytesOf(32), 24, 24)),
});
export type AzureDocument = TypeOf<typeof azureDocumentCodec>;
