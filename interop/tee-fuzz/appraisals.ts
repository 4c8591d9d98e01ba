/** Genuine documents, changed and appraised: none may be accepted as anything but the claims it carried. */
import { nodeCrypto, rememberSignatures } from '@haca/platform';
import { type CryptoProvider, toHex } from '@haca/primitives';
import type { Appraisal, TeeClaims } from '@haca/verifier';
import {
  appraiseGenuine,
  type GenuineDocument,
  genuineDocuments,
  isAccepted,
} from '../tee-documents/genuine.ts';
import type { Fault } from './fuzz-parser.ts';
import { INPUT_TIME_MAX_MS, settledMs } from './fuzz-parser.ts';
import { openInputs } from './inputs.ts';
import { createRandom } from './random.ts';
import type { Form } from './trees.ts';

export interface AppraisalFigures {
  readonly kind: string;
  readonly inputs: number;
  /** Accepted although the bytes differ, with the digest of the genuine claims. */
  readonly accepted: number;
  readonly inputsPerSecond: number;
  readonly worstMs: number;
  readonly faults: readonly Fault[];
}

/** `inputs` in all, shared evenly between the kinds. */
export function appraiseMutations({
  seed,
  inputs,
}: {
  seed: number;
  inputs: number;
}): readonly AppraisalFigures[] {
  const documents = genuineDocuments();
  const kinds = [...new Set(documents.map(({ kind }) => kind))];
  return kinds.map((kind) => {
    const own = documents.filter((document) => document.kind === kind);
    return appraiseKind(kind, own, { seed, inputs: Math.ceil(inputs / kinds.length) });
  });
}

function appraiseKind(
  kind: string,
  documents: readonly GenuineDocument[],
  { seed, inputs }: { seed: number; inputs: number },
): AppraisalFigures {
  const crypto = rememberSignatures(nodeCrypto, 4096);
  const streams = documents.map((document) => ({
    document,
    digest: digestOf(document, crypto),
    next: openInputs([document.bytes], formOf(document), createRandom(seed, document.id)),
  }));
  const faults: Fault[] = [];
  let accepted = 0;
  let worstMs = 0;
  const startedAt = performance.now();
  for (let number = 0; number < inputs; number++) {
    const { document, digest, next } = streams[number % streams.length] as (typeof streams)[number];
    const input = next();
    const fault = (what: string): void => void faults.push({ parser: document.id, number, what, input });
    const appraise = (): readonly [number, Appraisal<TeeClaims>] => {
      const before = performance.now();
      const appraisal = appraiseGenuine(document, input, crypto);
      return [performance.now() - before, appraisal];
    };
    let ms = 0;
    try {
      const [firstMs, appraisal] = appraise();
      ms = settledMs(firstMs, () => appraise()[0]);
      if (isAccepted(appraisal) && toHex(appraisal.claims?.claimsDigest ?? new Uint8Array(0)) !== digest)
        fault('accepted with other claims');
      else if (isAccepted(appraisal) && !isSame(input, document.bytes)) accepted++;
    } catch (error) {
      fault(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
    if (ms > worstMs) worstMs = ms;
    if (ms > INPUT_TIME_MAX_MS) fault(`took ${ms} ms`);
  }
  const inputsPerSecond = Math.round((inputs * 1000) / (performance.now() - startedAt));
  return { kind, inputs, accepted, inputsPerSecond, worstMs, faults };
}

function digestOf(document: GenuineDocument, crypto: CryptoProvider): string {
  const { id, bytes } = document;
  const appraisal = appraiseGenuine(document, bytes, crypto);
  const { verdict, claims } = appraisal;
  if (!isAccepted(appraisal) || claims === null)
    throw new Error(
      `${id} is refused: ${JSON.stringify(verdict.checks.filter(({ status }) => status === 'failed'))}`,
    );
  return toHex(claims.claimsDigest);
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

/** Intel's quotes are bytes at fixed places, everything else is CBOR outside. */
function formOf({ kind }: GenuineDocument): Form {
  return kind === 'tdx' || kind === 'sgx' ? 'bytes' : 'cbor';
}
