/** CometBFT's key files, in its own JSON, out of this project's keys. */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { ED25519_KEY_TYPE, fromBase64, toBase64, toUpperHex, validatorAddress } from '@haca/light-client';
import { ed25519SignerFromSeed } from '@haca/platform';
import { concatBytes, MalformedError, toHex } from '@haca/primitives';
import { writeFileDurably } from './write-file.ts';

const PRIVATE_KEY_TYPE = 'tendermint/PrivKeyEd25519';

/** CometBFT keeps seed and public key together. */
function privateKeyJson(seed: Uint8Array, publicKey: Uint8Array): object {
  return { type: PRIVATE_KEY_TYPE, value: toBase64(concatBytes(seed, publicKey)) };
}

export function writeValidatorKey(path: string, seed: Uint8Array): void {
  const { publicKey } = ed25519SignerFromSeed(seed);
  const document = {
    address: toUpperHex(validatorAddress(publicKey)),
    pub_key: { type: ED25519_KEY_TYPE, value: toBase64(publicKey) },
    priv_key: privateKeyJson(seed, publicKey),
  };
  writeFileDurably(path, `${JSON.stringify(document, null, 2)}\n`);
}

/** Name of a node in the peer-to-peer network: lower-case hex of the address of its key. */
export type PeerId = string;

/** Makes the key file where there is none. */
export function ensureNodeKey(path: string, seed: Uint8Array = randomBytes(32)): PeerId {
  if (!existsSync(path)) {
    const { publicKey } = ed25519SignerFromSeed(seed);
    writeFileDurably(path, `${JSON.stringify({ priv_key: privateKeyJson(seed, publicKey) })}\n`);
  }
  return readPeerId(path);
}

/** Throws `MalformedError` where the file is no node key of CometBFT. */
export function readPeerId(path: string): PeerId {
  const document = JSON.parse(readFileSync(path, 'utf8')) as { priv_key?: { type?: string; value?: string } };
  const { type, value } = document.priv_key ?? {};
  const bytes = type === PRIVATE_KEY_TYPE && value !== undefined ? fromBase64(value, 'priv_key') : undefined;
  if (bytes?.length !== 64) {
    throw new MalformedError(
      'node-key.form',
      path,
      `priv_key of type ${PRIVATE_KEY_TYPE}`,
      'another document',
    );
  }
  return toHex(validatorAddress(bytes.slice(32)));
}
