/** The genuine documents of every kind, each with the trust it is accepted under. */
import { AWS_NITRO_ROOT_G1, appraiseNitro } from '@haca/verifier';
import type { GenuineDocument } from './appraisals.ts';
import { vectorFile, vectorJson } from './corpus.ts';

interface NitroManifest {
  readonly vectors: readonly {
    readonly id: string;
    readonly files: readonly { readonly file: string }[];
    readonly expect: { readonly verify_at_ms: number };
  }[];
}

/** Empty where the vectors are missing. */
export function genuineDocuments(): readonly GenuineDocument[] {
  return nitroDocuments();
}

function nitroDocuments(): readonly GenuineDocument[] {
  const { vectors = [] } = vectorJson<NitroManifest>('nitro', 'manifest.json') ?? {};
  return vectors
    .filter(({ id }) => id.includes('prod'))
    .map(({ id, files, expect }) => ({
      kind: 'nitro',
      id,
      form: 'cbor',
      bytes: vectorFile('nitro', files[0]?.file ?? ''),
      appraise: (bytes, crypto) =>
        appraiseNitro(bytes, {
          crypto,
          nowMs: expect.verify_at_ms,
          roots: [AWS_NITRO_ROOT_G1],
          revoked: [],
          policy: {
            allowDebug: false,
            measurements: 'allow-any',
            maxAgeMs: 'allow-any',
            maxFutureSkewMs: 'allow-any',
            userData: 'allow-any',
            nonce: 'allow-any',
            publicKey: 'allow-any',
          },
        }),
    }));
}
