/**
 * Every check of the zkML verifier by name, and the gate they go through. A check is named finer than its id in the
 * verdict, so that a test can take out one equation at a time and show that a cheat then passes.
 */
import { type Ext, extEqual } from '@haca/primitives/zk';
import { type Check, failed, notApplicable, passed, skipped, type Verdict, verdictOf } from '@haca/protocol';

/** In the order in which they are reported. */
export const ZK_CHECK_IDS = [
  'zk.key',
  'zk.length',
  'zk.header',
  'zk.public',
  'zk.encoding',
  'zk.gkr-root',
  'zk.degenerate',
  'zk.gkr-layer',
  'zk.lookup',
  'zk.step',
  'zk.output',
  'zk.public-evaluation',
  'zk.rows',
  'zk.fold',
  'zk.final',
  'zk.pow',
  'zk.merkle',
  'zk.query',
  'zk.trailing',
  'zk.internal',
] as const;
export type ZkCheckId = (typeof ZK_CHECK_IDS)[number];

interface CheckRule {
  readonly id: ZkCheckId;
  readonly code: string;
  readonly expected: string;
}

const rule = (id: ZkCheckId, code: string, expected: string): CheckRule => ({ id, code, expected });
const final = (what: string): CheckRule =>
  rule('zk.step', 'E_SUMCHECK', `the last claim of the sumcheck to be ${what}`);

export const CHECKS = {
  key: rule('zk.key', 'E_KEY', 'a verifying key that means one thing'),
  'key-hash': rule('zk.key', 'E_KEY', 'the key that the statement names'),
  length: rule('zk.length', 'E_LENGTH', 'the length that key and batch size fix'),
  magic: rule('zk.header', 'E_HEADER', 'HZK1'),
  profile: rule('zk.header', 'E_HEADER', 'the profile of the key'),
  batch: rule('zk.header', 'E_HEADER', 'the batch size of the statement'),
  purpose: rule('zk.public', 'E_PUBLIC', 'a statement of the purpose of the program'),
  'batch-statement': rule('zk.public', 'E_PUBLIC', 'the batch size of the program'),
  ids: rule('zk.public', 'E_PUBLIC', 'ids of 32 bytes'),
  'public-count': rule('zk.public', 'E_PUBLIC', 'one byte string for each input and output of the key'),
  'public-values': rule('zk.public', 'E_PUBLIC', 'tensors of the right size with values in their intervals'),
  encoding: rule('zk.encoding', 'E_ENCODING', 'field elements below p'),
  'gkr-root': rule('zk.gkr-root', 'E_GKR_ROOT', 'fractions that add up to zero'),
  'zero-denominator': rule('zk.degenerate', 'E_DEGENERATE', 'no denominator of zero'),
  'zero-coordinate': rule('zk.degenerate', 'E_DEGENERATE', 'no coordinate of zero'),
  'gkr-layer': rule('zk.gkr-layer', 'E_GKR_LAYER', 'nodes that are the sums of their children'),
  numerator: rule('zk.lookup', 'E_LOGUP', 'the numerator of the leaves'),
  denominator: rule('zk.lookup', 'E_LOGUP', 'the denominator of the leaves'),
  sum: rule('zk.step', 'E_SUM', 'terms that add up to the claim'),
  aggregate: final('the combined claim'),
  contract: final('the product of the operands'),
  wire: final('the operand times its relations'),
  gather: final('the table times its selection'),
  output: rule('zk.output', 'E_OUTPUT', 'the outputs of the statement'),
  'public-evaluation': rule('zk.public-evaluation', 'E_PUBLIC_EVAL', 'the value of the public tensor'),
  rows: rule('zk.rows', 'E_ROWS', 'column values that give the claims'),
  fold: rule('zk.fold', 'E_FOLD', 'a round that agrees with the claim'),
  final: rule('zk.final', 'E_FINAL', 'a final vector with the value claimed'),
  pow: rule('zk.pow', 'E_POW', 'a nonce with the work of the profile'),
  'merkle-weights': rule('zk.merkle', 'E_MERKLE', 'rows of the weights that lead to the cap of the key'),
  'merkle-witness': rule('zk.merkle', 'E_MERKLE', 'rows of the witness that lead to its cap'),
  'merkle-fold': rule('zk.merkle', 'E_MERKLE', 'folded values that lead to the cap of their layer'),
  query: rule('zk.query', 'E_QUERY', 'the word of the final vector'),
  trailing: rule('zk.trailing', 'E_TRAILING', 'the end of the proof'),
  plan: rule('zk.internal', 'E_PLAN', 'every entry of the program executed once'),
} as const satisfies Readonly<Record<string, CheckRule>>;
export type CheckName = keyof typeof CHECKS;

/** Ends verification. Never leaves the package: the verdict carries what it says. */
export class Rejection extends Error {
  override readonly name = 'Rejection';
  readonly check: Check & { readonly id: ZkCheckId };

  constructor(name: CheckName, got: string, code: string = CHECKS[name].code) {
    super(`${CHECKS[name].id}: ${got}`);
    const { id, expected } = CHECKS[name];
    this.check = { ...failed(id, code, expected, got), id };
  }
}

/** What all checks of one verification go through. */
export interface Gate {
  /** Throws `Rejection` unless the check holds; `got` says what there was instead, and where. */
  readonly require: (name: CheckName, holds: boolean, got: string) => void;
  /** Two values of one thing: what was sent or computed, and what it has to be. */
  readonly requireEqual: (name: CheckName, value: Ext, expected: Ext, place: string) => void;
  /** Nothing more is checked under these ids. */
  readonly close: (...ids: readonly ZkCheckId[]) => void;
  readonly verdict: (rejection?: Rejection) => Verdict;
}

/** `omit` holds the checks that a test takes out. */
export function createGate(omit?: ReadonlySet<CheckName>): Gate {
  const counts = new Map<ZkCheckId, number>();
  const closed = new Set<ZkCheckId>();
  const count = ({ id }: CheckRule): void => {
    counts.set(id, (counts.get(id) ?? 0) + 1);
  };
  return {
    require: (name, holds, got) => {
      count(CHECKS[name]);
      if (!holds && omit?.has(name) !== true) throw new Rejection(name, got);
    },
    requireEqual: (name, value, expected, place) => {
      count(CHECKS[name]);
      if (extEqual(value, expected) || omit?.has(name) === true) return;
      throw new Rejection(name, `${place}: [${value}], not [${expected}]`);
    },
    close: (...ids) => {
      for (const id of ids) closed.add(id);
    },
    verdict: (rejection) =>
      verdictOf(
        ZK_CHECK_IDS.map((id) => {
          if (rejection?.check.id === id) return rejection.check;
          if (!closed.has(id)) return skipped(id, 'E_NOT_REACHED', 'verification ended before');
          return (counts.get(id) ?? 0) > 0 ? passed(id) : notApplicable(id, 'this key has none');
        }),
      ),
  };
}
