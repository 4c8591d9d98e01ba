/** The opening parameters that make the proofs of a key smallest. */
import type { VerifyingKey } from './key.ts';
import { LIMITS } from './limits.ts';
import { KeyError } from './lowering/builder.ts';
import { CAP_BITS, capDigests, DIGEST_BYTES, EXT_BYTES, plan } from './plan.ts';
import { profileParameters, type SecurityParameters } from './soundness.ts';

interface Folds {
  readonly folds: readonly number[];
  readonly finalBits: number;
}

const MOST_FOLD = 4;
const MOST_LAYERS = 8;
const MOST_FINAL = 8;
const MOST_COLUMN_BITS = 24;

/**
 * The key with columnBits, folds and finalBits of the smallest proof for `batchSize`, among those that hold at the
 * largest batch too, and with a weight cap of zeros of the length that goes with them.
 *
 * @throws KeyError where no choice fits, with the reason of the last one tried
 */
export function chooseOpening(key: VerifyingKey, batchSize: number): VerifyingKey {
  const parameters = profileParameters(key.profile);
  let best: VerifyingKey | null = null;
  let bestBytes = Number.POSITIVE_INFINITY;
  let reason = new KeyError('E_KEY', 'parameters', 'no opening');
  let worse = 0;
  for (let columnBits = 2; columnBits <= MOST_COLUMN_BITS; columnBits++) {
    if (columnBits + parameters.blowupBits > LIMITS.codewordBits) break;
    const tried = withOpening(key, columnBits, parameters);
    try {
      const { proofBytes } = plan(tried, batchSize);
      if (key.maxBatch !== batchSize) plan(tried, key.maxBatch);
      worse = proofBytes < bestBytes ? 0 : worse + 1;
      if (proofBytes < bestBytes) {
        best = tried;
        bestBytes = proofBytes;
      }
    } catch (error) {
      if (!(error instanceof KeyError)) throw error;
      reason = error;
      if (!CURABLE.has(error.rule)) throw error;
    }
    // The columns only become longer and emptier from here on.
    if (worse >= 3) break;
  }
  if (best === null) throw reason;
  return best;
}

/** What longer columns may cure, and what shorter ones would have: neither says anything against the key itself. */
const CURABLE: ReadonlySet<string> = new Set(['columns', 'blocks', 'proof-bytes', 'security']);

function withOpening(key: VerifyingKey, columnBits: number, parameters: SecurityParameters): VerifyingKey {
  const { folds, finalBits } = bestFolds(columnBits, parameters);
  const cap = DIGEST_BYTES * capDigests(columnBits + parameters.blowupBits);
  return {
    ...key,
    columnBits,
    folds: [...folds],
    finalBits,
    weightCap: key.weightCap.length === cap ? key.weightCap : new Uint8Array(cap),
  };
}

/** Bytes of a fold layer of 2^fold values per leaf whose tree has 2^depth leaves. */
function layerBytes(fold: number, depth: number, queries: number): number {
  const path = DIGEST_BYTES * Math.max(0, depth - CAP_BITS);
  return (
    2 * fold * EXT_BYTES + DIGEST_BYTES * capDigests(depth) + queries * (EXT_BYTES * (2 ** fold - 1) + path)
  );
}

/** Over all ways to fold `columnBits` down to a final vector. */
function bestFolds(columnBits: number, { blowupBits, queries }: SecurityParameters): Folds {
  const seen = new Map<string, Folds & { readonly bytes: number }>();
  const from = (bits: number, layers: number): Folds & { readonly bytes: number } => {
    const name = `${bits} ${layers}`;
    const found = seen.get(name);
    if (found !== undefined) return found;
    let best: Folds & { readonly bytes: number } =
      layers > 0 && bits >= 1 && bits <= MOST_FINAL
        ? { folds: [], finalBits: bits, bytes: EXT_BYTES * 2 ** bits }
        : { folds: [], finalBits: 0, bytes: Number.POSITIVE_INFINITY };
    for (let fold = 1; layers < MOST_LAYERS && fold <= Math.min(MOST_FOLD, bits - 1); fold++) {
      const rest = from(bits - fold, layers + 1);
      const bytes = rest.bytes + layerBytes(fold, bits - fold + blowupBits, queries);
      if (bytes < best.bytes) best = { folds: [fold, ...rest.folds], finalBits: rest.finalBits, bytes };
    }
    seen.set(name, best);
    return best;
  };
  return from(columnBits, 0);
}
