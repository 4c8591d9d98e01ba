/**
 * Evidence that vendors hand out in parts, as one document each: deterministic CBOR, so that there is one encoding. Nitro
 * documents and Intel quotes are documents as they are (a quote without the padding that some hosts append).
 */
import { arrayOf, bytesOf, field, nullable, struct, type TypeOf, textOf, uint } from '@haca/primitives';

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

/** A TDX quote and the log of what was extended into its RTMRs. */
export const dstackDocumentCodec = struct({
  quote: field(0, bytesOf(1, 16_384)),
  events: field(
    1,
    arrayOf(
      struct({
        /** 0 to 3: which RTMR. */
        imr: field(0, uint(3)),
        eventType: field(1, uint(0xffff_ffff)),
        /** SHA-384 for boot events; null for runtime events, whose digest is computed from the other fields. */
        digest: field(2, nullable(bytesOf(48))),
        name: field(3, textOf(0, 128)),
        payload: field(4, bytesOf(0, 4096)),
      }),
      256,
    ),
  ),
});
export type DstackDocument = TypeOf<typeof dstackDocumentCodec>;

/** An Azure confidential VM: hardware report inside the HCL report, whose runtime data names the vTPM key, and a TPM quote. */
export const azureDocumentCodec = struct({
  /** As the paravisor stores it in NV index 0x01400001. */
  hclReport: field(0, bytesOf(1, 8192)),
  /** TDX: the quote over the TD report inside the HCL report. SNP: null. */
  tdQuote: field(1, nullable(bytesOf(1, 16_384))),
  /** SNP: DER, root first. TDX: empty. */
  certificates: field(2, arrayOf(certificate, 3)),
  /** TPMS_ATTEST as signed. */
  tpmQuote: field(3, bytesOf(1, 2048)),
  /** RSASSA PKCS #1 v1.5 with SHA-256 by the vTPM's attestation key. */
  tpmSignature: field(4, bytesOf(256, 512)),
  /** SHA-256 bank, PCR 0 to 23. */
  pcrs: field(5, arrayOf(bytesOf(32), 24, 24)),
});
export type AzureDocument = TypeOf<typeof azureDocumentCodec>;
