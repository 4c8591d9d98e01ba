/** TPMS_ATTEST of a TPM2_Quote (TPM 2.0 library specification, part 2, section 10.12), and the PCRs it speaks of. */
import { type CryptoProvider, concatBytes, MalformedError } from '@haca/primitives';
import { FieldReader } from '../field-reader.ts';

export const PCR_COUNT = 24;
export const PCR_BYTES = 32;

/** TPM_GENERATED_VALUE: a TPM signs nothing from outside that begins with it. */
const MAGIC = 0xff544347;
const ATTEST_QUOTE = 0x8018;
const ALG_SHA256 = 0x000b;
/** TPM2B_NAME of a key: algorithm and digest. */
const NAME_BYTES = 34;
/** The longest TPM2B_DATA: a TPMT_HA of SHA-512. */
const EXTRA_DATA_MAX_BYTES = 66;
const BITMAP_BYTES = PCR_COUNT / 8;

export interface TpmQuote {
  /** 34 bytes: which key signed, under which parents. */
  readonly qualifiedSigner: Uint8Array;
  /** What the caller of TPM2_Quote gave: the only freshness there is. */
  readonly extraData: Uint8Array;
  /** Milliseconds that the TPM has run, resets and restarts: of a TPM that the paravisor makes, so no clock of anybody's. */
  readonly resetCount: number;
  readonly restartCount: number;
  /** Selected PCRs of the SHA-256 bank, ascending; never empty. */
  readonly selected: readonly number[];
  readonly pcrDigest: Uint8Array;
}

/** Throws `MalformedError`. */
export function parseTpmQuote(bytes: Uint8Array): TpmQuote {
  const path = 'tpmQuote';
  const reader = new FieldReader(bytes, path, 'azure');
  reader.expect(MAGIC, reader.big(4, 'magic'), 'magic');
  reader.expect(ATTEST_QUOTE, reader.big(2, 'type'), 'type');
  reader.expect(NAME_BYTES, reader.big(2, 'qualifiedSigner.size'), 'qualifiedSigner.size');
  const qualifiedSigner = reader.take(NAME_BYTES, 'qualifiedSigner');
  const extraBytes = reader.big(2, 'extraData.size');
  if (extraBytes > EXTRA_DATA_MAX_BYTES)
    throw new MalformedError(
      'azure.length',
      `${path}.extraData`,
      `at most ${EXTRA_DATA_MAX_BYTES} bytes`,
      `${extraBytes}`,
    );
  const extraData = reader.take(extraBytes, 'extraData');
  reader.take(8, 'clock');
  const resetCount = reader.big(4, 'resetCount');
  const restartCount = reader.big(4, 'restartCount');
  const safe = reader.big(1, 'safe');
  if (safe > 1) reader.expect(1, safe, 'safe');
  reader.take(8, 'firmwareVersion');
  const selected = readSelection(reader, path);
  reader.expect(PCR_BYTES, reader.big(2, 'pcrDigest.size'), 'pcrDigest.size');
  const pcrDigest = reader.take(PCR_BYTES, 'pcrDigest');
  reader.end();
  return { qualifiedSigner, extraData, resetCount, restartCount, selected, pcrDigest };
}

/** TPML_PCR_SELECTION of one bank: SHA-256, with a bitmap for exactly 24 PCRs. */
function readSelection(reader: FieldReader, path: string): readonly number[] {
  reader.expect(1, reader.big(4, 'pcrSelect.count'), 'pcrSelect.count');
  reader.expect(ALG_SHA256, reader.big(2, 'pcrSelect.hash'), 'pcrSelect.hash');
  reader.expect(BITMAP_BYTES, reader.big(1, 'pcrSelect.size'), 'pcrSelect.size');
  const bitmap = reader.take(BITMAP_BYTES, 'pcrSelect.bitmap');
  const indices = Array.from({ length: PCR_COUNT }, (_, index) => index);
  const selected = indices.filter((index) => (((bitmap[index >> 3] as number) >> (index & 7)) & 1) === 1);
  if (selected.length === 0)
    throw new MalformedError('azure.pcr-selection', `${path}.pcrSelect`, 'a selected PCR', 'none');
  return selected;
}

/** SHA-256 over the values of the selected PCRs, ascending. */
export function pcrDigestOf(
  selected: readonly number[],
  pcrs: readonly Uint8Array[],
  { sha256 }: CryptoProvider,
): Uint8Array {
  return sha256(concatBytes(...selected.map((index) => pcrs[index] as Uint8Array)));
}
