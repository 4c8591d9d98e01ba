import type { EvidenceKind } from '@haca/protocol';

/** A piece of hardware, by the number its vendor gave it: one chip serves one operator. */
export interface HardwareIdentity {
  readonly vendor: 'intel' | 'amd' | 'nvidia';
  /** PPID (16 bytes), chip id (8 or 64 bytes), device serial. Never all zero. */
  readonly id: Uint8Array;
}

/** What authentic evidence says, as far as all kinds have it. Each kind adds its own. */
export interface TeeClaims {
  readonly kind: EvidenceKind;
  /** It hangs on the root of a test enclave. */
  readonly isSimulated: boolean;
  /** Its host can read the memory. */
  readonly isDebug: boolean;
  /** Measured registers by their names in lower case: what a measurement is matched against. */
  readonly registers: ReadonlyMap<string, Uint8Array>;
  /** The earliest end of validity in the chain: it can be accepted no later. Unix milliseconds. */
  readonly evidenceEndMs: number;
  /** 32 bytes naming the claims whatever bytes carried them: the only key for deduplication and replay. */
  readonly claimsDigest: Uint8Array;
  /** The earliest `nextUpdate` of the collateral it was judged by; null where none was used. Unix milliseconds. */
  readonly collateralEndMs: number | null;
  /** The cloud in whose data centre it provably runs, e.g. `aws`, `azure`; null where anybody may own the host. */
  readonly cloud: string | null;
  /** Empty where the vendor hides it. */
  readonly hardware: readonly HardwareIdentity[];
  /**
   * What collateral and revocations are judged against again when they change, without the document: canonical CBOR of the
   * kind's own form, at most 4 KiB.
   */
  readonly facts: Uint8Array;
}
