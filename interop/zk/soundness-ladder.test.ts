/**
 * One lie, carried on: whenever a check refuses it, the next message is chosen so that this check holds, and the next one
 * has to catch it. Each rung is refused by its own check, and accepted by a verifier that lacks just this check.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHECKS } from '@haca/verifier/zk-testing';
import { climb } from './cheats/carried.ts';
import { forge } from './cheats/forged.ts';
import { falseResult, NETWORKS } from './verify-cheats.ts';
import { assertAccepted, failureOf, proofOf, type Subject, subjectOf, verdictOn } from './verify-harness.ts';

/** More or less of the tuples of one row, nothing else. */
const falseCount =
  (row: number, by: number) =>
  (subject: Subject): Subject => {
    const multiplicity = subject.program.tables[0]?.multiplicity ?? -1;
    return forge(
      subject,
      new Map([[multiplicity, (cells) => cells.splice(row, 1, (cells[row] as number) + by)]]),
    );
  };

const LIES: Readonly<Record<string, (subject: Subject) => Subject>> = {
  'a false result': falseResult,
  'a count too high': falseCount(2, 1),
  'a count too low': falseCount(0, -1),
};

for (const [name, lie] of Object.entries(LIES))
  for (const about of ['numerator', 'denominator'] as const)
    test(`ZK-24 ladder: ${name}, carried on as a ${about}`, async () => {
      for (const batchSize of [1, 3]) {
        const lying = lie(await subjectOf(NETWORKS.rows(), { batchSize }));
        const rungs = await climb(lying, about);
        assert.deepEqual(
          rungs.map((rung) => rung.name),
          ['gkr-root', 'gkr-layer', about, 'rows', 'fold', 'final', 'query'],
        );
        for (const { name: check, prover } of rungs) {
          const proof = await proofOf(prover);
          const verdict = verdictOn(prover, proof);
          assert.equal(failureOf(verdict), CHECKS[check].id);
          const failed = verdict.checks.find(({ status }) => status === 'failed');
          assert.deepEqual([failed?.code, failed?.expected], [CHECKS[check].code, CHECKS[check].expected]);
          assertAccepted(verdictOn(prover, proof, { omit: new Set([check]) }));
        }
      }
    });
