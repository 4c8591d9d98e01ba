/**
 * Verdicts of pure checks, by content: whether these bytes pass this check is the same for ever and on every machine. So a
 * cache, whatever it holds, changes no result; it only saves time.
 */
import type { CryptoProvider } from '@haca/primitives';
import { type Check, type Checker, isProofCheck, type ProofCheck } from './proof-checks.ts';

export interface VerdictTable {
  readonly find: (name: string) => boolean | undefined;
  readonly put: (name: string, verdict: boolean) => void;
  readonly size: () => number;
}

/** When full, the older half is dropped at once: at least the newest `verdictsMax / 2` that were used are there. */
export function createVerdictTable(verdictsMax: number): VerdictTable {
  let recent = new Map<string, boolean>();
  let older = new Map<string, boolean>();
  const put = (name: string, verdict: boolean): void => {
    if (!recent.has(name) && 2 * (recent.size + 1) > verdictsMax) {
      older = recent;
      recent = new Map();
    }
    recent.set(name, verdict);
  };
  return {
    find: (name) => {
      const known = recent.get(name);
      if (known !== undefined) return known;
      const old = older.get(name);
      if (old !== undefined) put(name, old);
      return old;
    },
    put,
    size: () => recent.size + older.size,
  };
}

const SCHEME_TAGS: Readonly<Record<Check['scheme'], number>> = {
  ed25519: 1,
  'ecdsa-p256': 2,
  'ecdsa-p384': 3,
  'zk-proof': 4,
  'zk-registration': 5,
  'rsa-pss-sha384': 6,
  'rsa-pkcs1-sha256': 7,
};

/** SHA-256 over scheme, lengths, key, signature and message: nobody finds two checks of one name. */
export function verdictName(sha256: CryptoProvider['sha256'], check: Check): string {
  const { publicKey, signature, message } = check;
  const input = new Uint8Array(9 + publicKey.length + signature.length + message.length);
  input[0] = SCHEME_TAGS[check.scheme];
  const lengths = new DataView(input.buffer);
  lengths.setUint32(1, publicKey.length);
  lengths.setUint32(5, signature.length);
  input.set(publicKey, 9);
  input.set(signature, 9 + publicKey.length);
  input.set(message, 9 + publicKey.length + signature.length);
  const { buffer, byteOffset, length } = sha256(input);
  return Buffer.from(buffer, byteOffset, length).toString('latin1');
}

/** `crypto`, its signature checks and those of proofs answered by `answer`. */
export function answeringCrypto(
  crypto: CryptoProvider,
  answer: (check: Check) => boolean,
  guesses: () => number = () => 0,
): Checker {
  const checkOf =
    (scheme: Exclude<Check, ProofCheck>['scheme']) =>
    (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean =>
      answer({ scheme, publicKey, message, signature });
  return {
    ...crypto,
    verifyEd25519: checkOf('ed25519'),
    verifyEcdsaP256: checkOf('ecdsa-p256'),
    verifyEcdsaP384: checkOf('ecdsa-p384'),
    verifyRsaPssSha384: checkOf('rsa-pss-sha384'),
    verifyRsaPkcs1Sha256: checkOf('rsa-pkcs1-sha256'),
    verifyProof: answer,
    guesses,
  };
}

const VERIFIERS = {
  ed25519: 'verifyEd25519',
  'ecdsa-p256': 'verifyEcdsaP256',
  'ecdsa-p384': 'verifyEcdsaP384',
  'rsa-pss-sha384': 'verifyRsaPssSha384',
  'rsa-pkcs1-sha256': 'verifyRsaPkcs1Sha256',
} as const;

/** The check as `crypto` and `proofs` themselves answer it, on this thread. */
export function answerNow(
  crypto: CryptoProvider,
  proofs: (check: ProofCheck) => boolean,
  check: Check,
): boolean {
  if (isProofCheck(check)) return proofs(check);
  const { scheme, publicKey, message, signature } = check;
  return crypto[VERIFIERS[scheme]](publicKey, message, signature);
}
