/**
 * Decrees prove themselves before they wait. They have a share of every block to themselves, so what waits for it must be what
 * validators decided, not what anybody made up; and finding that out must cost little, since a refusal costs its sender nothing.
 */
import { type CryptoProvider, toHex } from '@haca/primitives';
import type { OpOf } from '@haca/protocol';
import type { AskedSignature, Refusal } from '../state-machine/index.ts';
import { createVerdictTable, verdictName } from './verdict-cache.ts';

type Decrees = readonly OpOf<'decree'>[];

/** Good signatures that are remembered: of a few decrees of the largest validator set. */
const REMEMBERED_MAX = 2_048;

export interface DecreeProofs {
  /** Why the next block would not apply these decrees, in their order; undefined where it would. */
  readonly refusalOf: (decrees: Decrees) => Refusal | undefined;
  /** After a block. */
  readonly reset: () => void;
}

/**
 * `askFor` says which signatures decrees hang on, with power enough behind them, or refuses them without looking at any. The first bad
 * one ends it. What was good is remembered, so that copies of it cost nothing; and who signed what others did not is asked
 * after them, so that some validators together make nobody verify more than a few of theirs a block.
 */
export function createDecreeProofs(
  askFor: (decrees: Decrees) => readonly AskedSignature[] | Refusal,
  { sha256, verifyEd25519 }: Pick<CryptoProvider, 'sha256' | 'verifyEd25519'>,
): DecreeProofs {
  const good = createVerdictTable(REMEMBERED_MAX);
  /** By public key: good signatures of decrees that were refused for another. */
  const wasted = new Map<string, number>();

  const wastedBy = ({ publicKey }: AskedSignature): number => wasted.get(toHex(publicKey)) ?? 0;

  const refusalOf = (decrees: Decrees): Refusal | undefined => {
    const asked = askFor(decrees);
    if ('code' in asked) return asked;
    const ranked = asked.map((each) => ({ each, rank: wastedBy(each) })).sort((a, b) => a.rank - b.rank);
    const fresh: AskedSignature[] = [];
    for (const { each } of ranked) {
      const name = verdictName(sha256, { scheme: 'ed25519', ...each });
      if (good.find(name) !== undefined) continue;
      if (verifyEd25519(each.publicKey, each.message, each.signature)) {
        good.put(name, true);
        fresh.push(each);
        continue;
      }
      for (const before of fresh) wasted.set(toHex(before.publicKey), wastedBy(before) + 1);
      return { code: 'E_SIG', info: "expected the validator's signature over the decree, got another" };
    }
    return undefined;
  };

  return { refusalOf, reset: () => wasted.clear() };
}
