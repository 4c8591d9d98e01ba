import {
  type Codec,
  type CoseSign1,
  type CryptoProvider,
  coseHash,
  decode,
  decodeCose,
  encode,
  encodeCose,
  type SignEd25519,
  signCose,
  UsageError,
  verifyCose,
} from '@haca/primitives';

/** A signed object as received: its value, its name and what is needed to check the signature. */
export interface SignedObject<T> {
  readonly value: T;
  /** Over protected header and payload; the name of the object. */
  readonly hash: Uint8Array;
  readonly cose: CoseSign1;
  /** The whole COSE_Sign1 as it came. */
  readonly bytes: Uint8Array;
}

/** One kind of signed object: payload codec, domain and size limit, with the three things one does to it. */
export interface SignedKind<T> {
  readonly domain: string;
  readonly codec: Codec<T>;
  readonly maxBytes: number;
  /** Throws `UsageError` for a value that `decode` would not give back. */
  readonly sign: (value: T, sign: SignEd25519) => SignedObject<T>;
  /** Throws `MalformedError` on anything but the one canonical form. Verifies no signature. */
  readonly decode: (bytes: Uint8Array) => SignedObject<T>;
  readonly verify: (crypto: CryptoProvider, object: SignedObject<T>, publicKey: Uint8Array) => boolean;
  readonly hash: (value: T) => Uint8Array;
  /** The same from the payload as it was signed, without decoding it. */
  readonly hashOfPayload: (payload: Uint8Array) => Uint8Array;
}

export function signedKind<T>(name: string, codec: Codec<T>, maxBytes: number): SignedKind<T> {
  const domain = `haca/${name}/1`;
  const hashDomain = `haca/${name}-hash/1`;
  const decodeSigned = (bytes: Uint8Array): SignedObject<T> => {
    const cose = decodeCose(bytes, maxBytes, name);
    return {
      value: decode(codec, cose.payload, name),
      hash: coseHash(hashDomain, cose.payload),
      cose,
      bytes,
    };
  };
  return {
    domain,
    codec,
    maxBytes,
    sign: (value, sign) => {
      const payload = encode(codec, value);
      if (payload.length > maxBytes) {
        throw new UsageError(`a ${name} has at most ${maxBytes} bytes, this has ${payload.length}`);
      }
      const cose = signCose(domain, payload, sign);
      return { value, hash: coseHash(hashDomain, payload), cose, bytes: encodeCose(cose) };
    },
    decode: decodeSigned,
    verify: (crypto, object, publicKey) => verifyCose(crypto, domain, object.cose, publicKey),
    hash: (value) => coseHash(hashDomain, encode(codec, value)),
    hashOfPayload: (payload) => coseHash(hashDomain, payload),
  };
}
