/** The signatures that an appraisal verifies, verified alone: what no verifier of the same evidence on the same library can undercut. */
import { constants, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { nodeCrypto } from '@haca/platform';
import type { CryptoProvider } from '@haca/primitives';

const SCHEMES = [
  'verifyEd25519',
  'verifyEcdsaP256',
  'verifyEcdsaP384',
  'verifyRsaPssSha384',
  'verifyRsaPkcs1Sha256',
] as const;
export type Scheme = (typeof SCHEMES)[number];

export interface SignatureCall {
  readonly scheme: Scheme;
  readonly publicKey: Uint8Array;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}

/** The signatures that `appraise` asks its provider for, in order. */
export function signaturesOf(appraise: (crypto: CryptoProvider) => unknown): readonly SignatureCall[] {
  const calls: SignatureCall[] = [];
  const recorded = Object.fromEntries(
    SCHEMES.map((scheme) => [
      scheme,
      (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean => {
        const parts = { publicKey, message, signature };
        calls.push({ scheme, ...structuredClone(parts) });
        return nodeCrypto[scheme](publicKey, message, signature);
      },
    ]),
  );
  appraise({ ...nodeCrypto, ...recorded });
  return calls;
}

/** A certificate or a signed JSON text: what is the same for many documents, while the rest is signed for one. */
export function recurs({ message }: Pick<SignatureCall, 'message'>): boolean {
  return message[0] === 0x30 || message[0] === 0x7b;
}

interface PreparedCall {
  /** Names the key. */
  readonly name: string;
  readonly hashName: string | null;
  readonly message: Uint8Array;
  readonly key: { readonly key: Buffer; readonly format: 'der'; readonly type: 'spki' | 'pkcs1' };
  readonly options: { readonly padding?: number; readonly saltLength?: number; readonly dsaEncoding?: 'der' };
  readonly signature: Uint8Array;
  readonly imported: KeyObject;
}

const SPKI_PREFIX = {
  verifyEd25519: '302a300506032b6570032100',
  verifyEcdsaP256: '3059301306072a8648ce3d020106082a8648ce3d030107034200',
  verifyEcdsaP384: '3076301006072a8648ce3d020106052b81040022036200',
} as const;

const HASHES: Readonly<Record<Scheme, string | null>> = {
  verifyEd25519: null,
  verifyEcdsaP256: 'sha256',
  verifyEcdsaP384: 'sha384',
  verifyRsaPssSha384: 'sha384',
  verifyRsaPkcs1Sha256: 'sha256',
};

function prepare({ scheme, publicKey, message, signature }: SignatureCall): PreparedCall {
  const isRsa = scheme === 'verifyRsaPssSha384' || scheme === 'verifyRsaPkcs1Sha256';
  const key = isRsa
    ? ({ key: Buffer.from(publicKey), format: 'der', type: 'pkcs1' } as const)
    : ({
        key: Buffer.concat([Buffer.from(SPKI_PREFIX[scheme], 'hex'), publicKey]),
        format: 'der',
        type: 'spki',
      } as const);
  const padding =
    scheme === 'verifyRsaPssSha384' ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 } : {};
  return {
    name: key.key.toString('latin1'),
    hashName: HASHES[scheme],
    message,
    key,
    options: padding,
    signature: isRsa || scheme === 'verifyEd25519' ? signature : derSignature(signature),
    imported: createPublicKey(key),
  };
}

/** OpenSSL takes r and s as DER at less cost than side by side. */
function derSignature(raw: Uint8Array): Uint8Array {
  const integer = (bytes: Uint8Array): Buffer => {
    const start = bytes.findIndex((byte) => byte !== 0);
    const digits = Buffer.from(bytes.subarray(start));
    const content = (digits[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), digits]) : digits;
    return Buffer.concat([Buffer.of(2, content.length), content]);
  };
  const body = Buffer.concat([
    integer(raw.subarray(0, raw.length / 2)),
    integer(raw.subarray(raw.length / 2)),
  ]);
  return Buffer.concat([Buffer.of(0x30, body.length), body]);
}

/** Verifies all of them through `node:crypto`: with every key imported anew, once, and with keys imported before. */
export function bareSignatures(calls: readonly SignatureCall[]): {
  readonly cold: () => void;
  readonly warm: () => void;
} {
  const prepared = calls.map(prepare);
  const run = (keyOf: (call: PreparedCall) => KeyObject): void => {
    for (const call of prepared) {
      const { hashName, message, options, signature } = call;
      const key = keyOf(call);
      const withOptions = options.padding === undefined ? key : { key, ...options };
      if (!verify(hashName, message, withOptions, signature)) throw new Error('a good signature failed');
    }
  };
  const cold = (): void => {
    const keys = new Map<string, KeyObject>();
    run(({ name, key }) => {
      const known = keys.get(name);
      if (known !== undefined) return known;
      const imported = createPublicKey(key);
      keys.set(name, imported);
      return imported;
    });
  };
  return { cold, warm: () => run(({ imported }) => imported) };
}
