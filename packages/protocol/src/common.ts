import {
  bytesOf,
  type Codec,
  domainHash,
  encode,
  field,
  oneOf,
  struct,
  type TypeOf,
  textOf,
  UsageError,
  uint,
} from '@haca/primitives';

/** Every object starts with its format version. */
export const version: Codec<1> = {
  cddl: '1',
  write: (writer, value) => {
    if (value !== 1) throw new UsageError(`version ${value} is not known`);
    writer.uint(value);
  },
  read: (reader) => {
    const got = reader.uint();
    return got === 1 ? 1 : reader.fail('version.unknown', 'version 1', `${got}`);
  },
};

/** CometBFT's limit on a chain id is 50 bytes. */
export const chainIdCodec = textOf(1, 50);
export const digest32 = bytesOf(32);
export const signature64 = bytesOf(64);
export const heightCodec = uint();

export const ZERO_DIGEST: Uint8Array = new Uint8Array(32);

/** How an answer can be checked by the network. */
export const METHODS = ['zk', 'tee', 'signed'] as const;
export type Method = (typeof METHODS)[number];
export const methodCodec = oneOf(...METHODS);

/**
 * What a person is told about an answer. `tee-simulated` is a test enclave, `signed` a key without evidence, `proxied` a
 * provider's own claim passed on. One is never shown as another.
 */
export const ASSURANCES = ['zk', 'tee', 'tee-simulated', 'signed', 'proxied'] as const;
export type Assurance = (typeof ASSURANCES)[number];

/**
 * How much is known about who can touch the hardware behind a `tee` key, recorded when it opens: a test enclave, anybody's
 * machine, a chip that the validators entered as standing with a known provider, a cloud's own data centre by its evidence.
 */
export const ASSURANCE_TIERS = ['simulated', 'unknown-host', 'registered-hardware', 'cloud'] as const;
export type AssuranceTier = (typeof ASSURANCE_TIERS)[number];

/** Key types of accounts. Numbers 2 (P-256) and 3 (secp256k1) are reserved. */
export const accountKeyCodec = struct({
  algorithm: field(0, oneOf('ed25519')),
  publicKey: field(1, bytesOf(32)),
});
export type AccountKey = TypeOf<typeof accountKeyCodec>;

/** The account a key controls: 32 bytes. */
export function accountIdOf(key: AccountKey): Uint8Array {
  return domainHash('haca/account/1', encode(accountKeyCodec, key));
}
