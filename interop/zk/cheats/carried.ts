/** A lie carried from one check to the next by messages that are chosen so that the check before holds. */
import { type Ext, extInverse, extMul, extNeg } from '@haca/primitives/zk';
import type { CheckName } from '@haca/verifier/zk-testing';
import { addTo, type Lies, solveFor, withLies } from '../verify-cheats.ts';
import type { Subject } from '../verify-harness.ts';

/** A rung: the check that has to catch the lie, and the prover that comes so far. */
export interface Rung {
  readonly name: CheckName;
  readonly prover: Subject;
}

/** Makes the two fractions of the root cancel each other out. */
const cancelled: Lies = {
  top: ([, p1, q0, q1]) => [
    extNeg(extMul(extMul(p1 as Ext, q0 as Ext), extInverse(q1 as Ext))),
    p1 as Ext,
    q0 as Ext,
    q1 as Ext,
  ],
};

/**
 * All rungs for a subject whose root is false, with one lookup: its digit and multiplicities are all that is handed over. The last layer lies about numerators or about denominators.
 */
export async function climb(lying: Subject, about: 'numerator' | 'denominator'): Promise<Rung[]> {
  const { program } = lying;
  const rungs: Rung[] = [{ name: 'gkr-root', prover: lying }];
  let lies = cancelled;
  const rung = (name: CheckName): void => {
    rungs.push({ name, prover: withLies(lying, lies) });
  };
  const carry = async (name: CheckName, next: (before: Lies, delta: Ext) => Lies): Promise<void> => {
    const before = lies;
    lies = await solveFor(name, lying, (delta) => next(before, delta));
  };

  rung('gkr-layer');
  for (let level = 1; level < program.treeBits; level++) {
    const index = about === 'denominator' && level === program.treeBits - 1 ? 2 : 0;
    await carry('gkr-layer', (before, delta) => ({
      ...before,
      layer: (at, values) =>
        at === level ? addTo(values, index, delta) : (before.layer?.(at, values) ?? values),
    }));
  }
  rung(about);
  const handedOver = about === 'numerator' ? program.tables[0]?.bits : program.lookups[0]?.bits;
  await carry(about, (before, delta) => ({
    ...before,
    evaluated: (cells, values) => (cells === 2 ** (handedOver ?? 0) ? addTo(values, 0, delta) : values),
  }));
  rung('rows');
  await carry('rows', (before, delta) => ({ ...before, columnValues: (values) => addTo(values, 0, delta) }));
  rung('fold');
  const rounds = program.opening.folds.reduce((sum, fold) => sum + fold, 0);
  for (let round = 0; round < rounds; round++)
    await carry('fold', (before, delta) => ({
      ...before,
      foldRound: (at, line) =>
        at === round ? addTo(line, 0, delta) : (before.foldRound?.(at, line) ?? line),
    }));
  rung('final');
  await carry('final', (before, delta) => ({ ...before, final: (values) => addTo(values, 0, delta) }));
  rung('query');
  return rungs;
}
