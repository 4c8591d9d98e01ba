import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { type Ed25519Signer, ed25519SignerFromSeed } from '@haca/platform';
import { fromHex, MalformedError, toHex } from '@haca/primitives';

const KIND = 'haca-validator';

/** Makes a validator key file (mode 0600); refuses to overwrite one. Without a seed: a fresh key. */
export function createValidatorKeyFile(path: string, seed: Uint8Array = randomBytes(32)): Ed25519Signer {
  const signer = ed25519SignerFromSeed(seed);
  const document = { version: 1, kind: KIND, publicKey: toHex(signer.publicKey), seed: toHex(seed) };
  const file = openSync(path, 'wx', 0o600);
  try {
    writeSync(file, `${JSON.stringify(document, null, 2)}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  return signer;
}

/** The seed in a validator key file. Throws `MalformedError` where the file is something else. */
export function readValidatorKeyFile(path: string): Uint8Array {
  const document = JSON.parse(readFileSync(path, 'utf8')) as Readonly<Record<string, unknown>> | null;
  const seed = document?.['seed'];
  if (
    document?.['version'] !== 1 ||
    document['kind'] !== KIND ||
    typeof seed !== 'string' ||
    seed.length !== 64
  ) {
    throw new MalformedError(
      'validator-key.form',
      path,
      `version 1, kind ${KIND} and a seed`,
      'another document',
    );
  }
  return fromHex(seed, path);
}
