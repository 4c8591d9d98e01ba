/**
 * Evidence of NVIDIA GPUs through a command of the operator's, as the vendor's tools are Python and C++ libraries: it gets the
 * nonce and prints what the GPUs answered, as JSON of the vendor's own form.
 */
import { X509Certificate } from 'node:crypto';
import { BASE64, bytesEqual, encode, readBase64, toHex } from '@haca/primitives';
import { GPUS_MAX, nvidiaDocumentCodec } from '@haca/protocol';
import {
  AttesterError,
  type GpuAttester,
  messageOf,
  requireDocumentSize,
  requireLength,
} from './attester.ts';
import { runCommand } from './command.ts';

export interface NvidiaOptions {
  /** Program and arguments; every argument `{nonce}` becomes the nonce in hex, which is on standard input too. */
  readonly command: readonly [string, ...string[]];
  /** 60 s without. */
  readonly timeoutMs?: number;
}

const OUTPUT_MAX_BYTES = 1024 * 1024;
const CERTIFICATES_MAX = 8;
/** Where the nonce of the request begins in the report: behind the header of SPDM GET_MEASUREMENTS. */
const NONCE_AT = 4;
const NONCE_BYTES = 32;
const PURPOSE = 'name a program that prints the evidence of the GPUs (docs/attester.md says in which form)';

export function openNvidiaAttester({ command, timeoutMs = 60_000 }: NvidiaOptions): GpuAttester {
  return {
    isSimulated: false,
    attest: async (nonce) => {
      requireLength('nonce', nonce, NONCE_BYTES);
      const hex = toHex(nonce);
      const [program, ...args] = command;
      const output = await runCommand({
        argv: [program, ...args.map((each) => (each === '{nonce}' ? hex : each))],
        stdin: Buffer.from(`${hex}\n`),
        timeoutMs,
        outputMaxBytes: OUTPUT_MAX_BYTES,
        purpose: PURPOSE,
      });
      return parseNvidiaEvidence(Buffer.from(output).toString('utf8'), nonce);
    },
  };
}

/**
 * A JSON list with an object for each GPU: `arch` (text), `certificate` (base64 of a PEM chain, the device's first), `evidence`
 * (base64 of SPDM request and response) and `nonce` (hex). Other members are left alone. Throws `AttesterError`.
 */
export function parseNvidiaEvidence(text: string, nonce: Uint8Array): readonly Uint8Array[] {
  const list = jsonOf(text);
  if (!Array.isArray(list) || list.length === 0 || list.length > GPUS_MAX)
    throw malformed(`a list of 1 to ${GPUS_MAX} GPUs was expected`);
  const documents = list.map((value, i) => documentOf(value, `GPU ${i}`, nonce));
  const distinct = new Set(documents.map((document) => toHex(document)));
  if (distinct.size < documents.length) throw malformed('two GPUs gave the same document');
  return documents;
}

function documentOf(value: unknown, where: string, nonce: Uint8Array): Uint8Array {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw malformed(`${where} is no object`);
  const members = value as Readonly<Record<string, unknown>>;
  const { arch, nonce: stated } = members;
  if (typeof arch !== 'string' || typeof stated !== 'string')
    throw malformed(`${where} has no arch or nonce`);
  const report = base64(members['evidence'], `${where}: evidence`);
  const asked = report.subarray(NONCE_AT, NONCE_AT + NONCE_BYTES);
  if (stated.toLowerCase() !== toHex(nonce) || !bytesEqual(asked, nonce))
    throw new AttesterError('attester.mismatch', `${where} answered another nonce, ${toHex(asked)}`);
  const certificates = chainOf(base64(members['certificate'], `${where}: certificate`), where);
  try {
    return requireDocumentSize(encode(nvidiaDocumentCodec, { report, certificates: [...certificates] }));
  } catch (error) {
    throw malformed(`${where}: ${messageOf(error)}`, error);
  }
}

/** DER, root first. */
function chainOf(pem: Uint8Array, where: string): readonly Uint8Array[] {
  const blocks = Buffer.from(pem)
    .toString('latin1')
    .match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g);
  if (blocks === null || blocks.length > CERTIFICATES_MAX)
    throw malformed(`${where} has no chain of 1 to ${CERTIFICATES_MAX} certificates`);
  try {
    return blocks.map((block) => new Uint8Array(new X509Certificate(block).raw)).reverse();
  } catch (error) {
    throw malformed(`${where}: ${messageOf(error)}`, error);
  }
}

function base64(value: unknown, where: string): Uint8Array {
  if (typeof value !== 'string' || value === '') throw malformed(`${where} is no text`);
  const reading = readBase64(value, BASE64);
  if (!reading.ok) throw malformed(`${where} is not base64`);
  return reading.bytes;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw malformed('it is not JSON', error);
  }
}

function malformed(what: string, cause?: unknown): AttesterError {
  return new AttesterError('attester.malformed', `the GPU command's output can't be used: ${what}`, cause);
}
