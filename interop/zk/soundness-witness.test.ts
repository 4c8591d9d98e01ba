/**
 * Provers with a false witness and everything else as consistent as it can be made. Each is refused by the check named,
 * and accepted under a program that lacks the one equation it breaks: no equation stands there for nothing.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Program } from '@haca/circuit';
import { bytesEqual, concatBytes } from '@haca/primitives';
import { type Cheat, mutantFor, proofOfLie, tell, tellUnder } from './cheats/cheat.ts';
import {
  type Forged,
  falseLookups,
  forge,
  type Lies,
  outputOf,
  tensorNamed,
  withInputs,
} from './cheats/forged.ts';
import { GRAPH_CHEATS } from './cheats/graphs.ts';
import { withoutDefinition, withoutLookups, withoutSteps } from './cheats/mutants.ts';
import {
  gathered,
  normed,
  otherModes,
  pooled,
  probabilities,
  requantized,
  residual,
  routed,
  sixteenBits,
  twoLimbs,
  wired,
} from './cheats/networks.ts';
import { REQUANTIZE_CHEATS } from './cheats/requantize.ts';
import { ROUTING_CHEATS, SOFTMAX_CHEATS, WRAPPED_QUOTIENT } from './cheats/rows.ts';
import { lieAboutDefinition, lieAboutLookup, lieAboutTie } from './cheats/search.ts';
import { assertAccepted, failureOf, proofOf, subjectOf, verdictOn } from './verify-harness.ts';

const published = ({ statement }: Forged): Uint8Array => concatBytes(...statement.outputs);

/** Equations that some cheat breaks alone, as `lookup NAME`, `definition NAME` or `tie NAME`. */
const shown = new Set<string>();

async function assertLoadBearing(cheat: Cheat): Promise<void> {
  const told = await tell(cheat);
  const { honest, lying } = told;
  const { lookups = [], definition, tie } = cheat.broken;
  const lies = cheat.lies(honest);
  assert.deepEqual(falseLookups(lying).toSorted(), lookups.toSorted());
  assert.equal(
    bytesEqual(published(honest), published(lying)),
    cheat.hidden === true,
    'shows in the outputs',
  );
  assert.equal(failureOf(verdictOn(lying, await proofOfLie(lying, lies))), cheat.refusedBy);
  const mutant = tellUnder(cheat, told, mutantFor(lying.program, cheat.broken));
  assertAccepted(verdictOn(mutant, await proofOfLie(mutant, lies)));
  if (lookups.length + (definition === undefined ? 0 : 1) + (tie === undefined ? 0 : 1) > 1) return;
  if (lookups.length === 1) shown.add(`lookup ${lookups[0]}`);
  if (definition !== undefined) shown.add(`definition ${definition}`);
  if (tie !== undefined) shown.add(`tie ${tie}`);
}

for (const [what, cheats] of [
  ['ZK-14 requantization', REQUANTIZE_CHEATS],
  ['ZK-15 softmax', SOFTMAX_CHEATS],
  ['ZK-24 routing', ROUTING_CHEATS],
  ['ZK-24 graph', GRAPH_CHEATS],
] as const)
  for (const cheat of cheats) test(`${what}: ${cheat.name}`, () => assertLoadBearing(cheat));

interface Equation {
  readonly name: string;
  readonly lies: (honest: Forged) => Lies | null;
  readonly mutant: Program;
}

/** Everything a program looks up, defines and ties. */
function equationsOf({ program }: Forged): Equation[] {
  const nameOf = (id: number): string => program.tensors[id]?.name ?? '';
  return [
    ...program.lookups.map((lookup) => ({
      name: `lookup ${lookup.name}`,
      lies: (honest: Forged) => lieAboutLookup(honest, lookup),
      mutant: withoutLookups(program, (name) => name === lookup.name),
    })),
    ...program.tensors
      .filter(({ storage }) => storage === 'virtual')
      .map(({ id, name }) => ({
        name: `definition ${name}`,
        lies: (honest: Forged) => lieAboutDefinition(honest, id),
        mutant: withoutDefinition(program, id),
      })),
    ...program.steps
      .filter((step) => step.kind === 'tie')
      .map((step) => ({
        name: `tie ${nameOf(step.claim.tensor)}`,
        lies: (honest: Forged) => lieAboutTie(honest, step.claim.tensor),
        mutant: withoutSteps(program, (each) => each === step),
      })),
  ];
}

const NETWORKS = {
  requantization: () => requantized(false),
  'two limbs': twoLimbs,
  'other modes': otherModes,
  'sixteen bits': sixteenBits,
  softmax: () => probabilities(false),
  'causal softmax': () => probabilities(true),
  routing: routed,
  pooling: pooled,
  norm: normed,
  wires: wired,
  gather: gathered,
  residual,
};

for (const [name, network] of Object.entries(NETWORKS))
  test(`ZK-19 ZK-24 each equation of the program is load-bearing: ${name}`, async () => {
    const honest = forge(await subjectOf(network()));
    for (const { name: equation, lies: find, mutant } of equationsOf(honest)) {
      if (shown.has(equation)) continue;
      const lies = find(honest);
      assert.ok(lies !== null, `no lie breaks ${equation} alone`);
      const lying = forge(honest, lies);
      assert.notEqual(failureOf(verdictOn(lying, await proofOfLie(lying, lies))), 'zk.public', equation);
      const without = forge(honest, lies, mutant);
      assertAccepted(verdictOn(without, await proofOfLie(without, lies)));
    }
  });

test('ZK-15 a reciprocal four bits wider than its rule lets false quotients pass', async () => {
  const told = await tell(WRAPPED_QUOTIENT);
  const { program } = told.honest;
  const lookups = program.lookups.map((lookup) => {
    if (!lookup.name.endsWith('reciprocal limb 2')) return lookup;
    const [limb, , zero] = lookup.tuple;
    const width = { kind: 'constant' as const, value: 9 };
    return { ...lookup, tuple: [limb, width, zero] as const };
  });
  const mutant = tellUnder(WRAPPED_QUOTIENT, told, { ...program, lookups });
  assert.deepEqual(falseLookups(mutant), []);
  assertAccepted(verdictOn(mutant, await proofOf(mutant)));
  assert.notDeepEqual(outputOf(mutant), outputOf(told.honest));
});

test('ZK-13 any place of the largest entry proves the same probabilities', async () => {
  const subject = withInputs(await subjectOf(probabilities(false)), [[3, 9, 5, 6, 6, 1, 2, 15, 4]]);
  const honest = forge(subject);
  const second = forge(
    subject,
    new Map([[tensorNamed(subject, 'place of the maximum').id, (cells) => cells.splice(4, 2, 0, 1)]]),
  );
  assert.deepEqual(outputOf(second), outputOf(honest));
  assertAccepted(verdictOn(second, await proofOf(second)));
});
