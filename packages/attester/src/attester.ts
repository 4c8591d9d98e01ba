/**
 * What an inference node asks of its TEE, whichever it is. The software test enclave implements it in this package; the
 * Nitro Security Module (`/dev/nsm`, present only inside a Nitro enclave) will implement the same interface.
 */
export interface Attester {
  readonly kind: 'nitro';
  /** True if the evidence proves nothing about hardware, because its root is a test root. */
  readonly isSimulated: boolean;
  /** A fresh document over the three fields. Throws `UsageError` where a field is over its limit. */
  readonly attest: (request: AttestationRequest) => Promise<Uint8Array>;
}

/** Fields an enclave puts into its document; `null` leaves one out. */
export interface AttestationRequest {
  /** At most 1024 bytes each. */
  readonly userData: Uint8Array | null;
  readonly publicKey: Uint8Array | null;
  readonly nonce: Uint8Array | null;
}
