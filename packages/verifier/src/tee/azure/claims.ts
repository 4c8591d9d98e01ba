import { arrayOf, bytesOf, domainHash, encode, field, oneOf, struct } from '@haca/primitives';
import type { TeeClaims } from '../claims.ts';
import type { TdxClaims } from '../intel/tdx.ts';
import type { SnpClaims } from '../snp/claims.ts';
import type { AzureHardware } from './hcl-report.ts';
import type { AzureRuntimeData, AzureVmConfiguration } from './runtime-data.ts';
import { PCR_BYTES, PCR_COUNT, type TpmQuote } from './tpm-quote.ts';

export type AzureHardwareClaims = TdxClaims | SnpClaims;

/** What an Azure confidential VM says once hardware, paravisor and virtual TPM were verified, each by the one before. */
export interface AzureClaims extends TeeClaims {
  readonly kind: 'azure';
  /**
   * The hardware's, so mostly null, though the format is Azure's: the chain of signatures ends in the chip, and anybody who owns
   * such a chip can launch a paravisor on it. What vouches for it being Azure's code is the measurement.
   */
  readonly cloud: string | null;
  readonly hardwareKind: AzureHardware;
  /** The report below the paravisor. Its report data is the hash of the runtime data and says nothing of its own. */
  readonly inner: AzureHardwareClaims;
  readonly vmConfiguration: AzureVmConfiguration;
  /** What the guest had put into the runtime data; null where it says nothing. Not fresh: the report is kept. */
  readonly userData: Uint8Array | null;
  /** What the guest had the TPM sign: the only freshness there is. */
  readonly extraData: Uint8Array;
  /** PCRs that the TPM quoted, SHA-256 bank. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
}

export const azureFactsCodec = struct({
  hardwareKind: field(0, oneOf('snp', 'tdx')),
  /** In the form of the hardware's own kind. */
  facts: field(1, bytesOf(1, 4096)),
});

const identityCodec = struct({
  inner: field(0, bytesOf(32)),
  runtimeData: field(1, bytesOf(32)),
  tpmQuote: field(2, bytesOf(1, 2048)),
  pcrs: field(3, arrayOf(bytesOf(PCR_BYTES), PCR_COUNT)),
});

/** What was authenticated, each part by the one before. */
export interface AzureParts {
  readonly hardwareKind: AzureHardware;
  readonly inner: AzureHardwareClaims;
  /** SHA-256 of the runtime data. */
  readonly runtimeDigest: Uint8Array;
  readonly runtime: AzureRuntimeData;
  /** TPMS_ATTEST as signed. */
  readonly signedQuote: Uint8Array;
  readonly quote: TpmQuote;
  /** All 24. */
  readonly pcrs: readonly Uint8Array[];
}

export function azureClaimsOf(parts: AzureParts): AzureClaims {
  const { hardwareKind, inner, runtimeDigest, runtime, signedQuote, quote } = parts;
  const { isSimulated, isDebug, evidenceEndMs, collateralEndMs, cloud, hardware } = inner;
  const pcrs = new Map(quote.selected.map((index) => [index, parts.pcrs[index] as Uint8Array]));
  const identity = {
    inner: inner.claimsDigest,
    runtimeData: runtimeDigest,
    tpmQuote: signedQuote,
    pcrs: [...pcrs.values()],
  };
  return {
    kind: 'azure',
    ...{ isSimulated, isDebug, evidenceEndMs, collateralEndMs, cloud, hardware },
    ...{ hardwareKind, inner, pcrs },
    registers: registersOf(hardwareKind, inner, pcrs),
    vmConfiguration: runtime.vmConfiguration,
    userData: runtime.userData,
    extraData: quote.extraData,
    claimsDigest: domainHash('haca/azure-claims/1', encode(identityCodec, identity)),
    facts: encode(azureFactsCodec, { hardwareKind, facts: inner.facts }),
  };
}

/** Those of the hardware, `measurement` for what was launched on either, and `pcr0` to `pcr23` as far as they were quoted. */
function registersOf(
  hardwareKind: AzureHardware,
  { registers }: AzureHardwareClaims,
  pcrs: ReadonlyMap<number, Uint8Array>,
): ReadonlyMap<string, Uint8Array> {
  const launched = registers.get(hardwareKind === 'tdx' ? 'mrtd' : 'measurement');
  return new Map([
    ...registers,
    ...(launched === undefined ? [] : [['measurement', launched] as const]),
    ...[...pcrs].map(([index, value]) => [`pcr${index}`, value] as const),
  ]);
}
