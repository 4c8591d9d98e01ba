/** Collateral that anybody brings: accepted if it is authentic, current and newer than what the chain has. */
import { concatBytes, domainHash, encode, sha256, toHex } from '@haca/primitives';
import {
  type Collateral,
  type CollateralKind,
  type CollateralRecord,
  collateralIdOf,
  collateralRecordCodec,
  type OpOf,
  SUPERSEDED_COLLATERAL_MAX,
} from '@haca/protocol';
import { isDisowned, postingFault, whatKeepsOut } from '@haca/verifier';
import { changeEvidencePolicy } from '../evidence-policy.ts';
import { evidenceRules } from '../evidence-rules.ts';
import { refuse } from '../refusal.ts';
import { collaterals } from '../tables.ts';
import type { CollateralFacts } from '../types.ts';
import { verdictRefusal } from '../verdict-refusal.ts';
import type { Outcome, Step } from './step.ts';

/** In order: a piece may rest on one before it. */
export function applyPostCollateral(step: Step, { items }: OpOf<'post-collateral'>): Outcome {
  for (const item of items) {
    const refusal = postItem(step, item);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

function postItem(step: Step, item: Collateral): Outcome {
  const { state, ctx, block } = step;
  const { config, evidence, crypto } = ctx;
  const rules = evidenceRules(state, config, block.timeMs);
  const { verdict, facts } = evidence.appraiseCollateral(item, rules, crypto);
  if (!verdict.ok || facts === null) return verdictRefusal(verdict, 'E_COLLATERAL');
  const unfit = checkFacts(step, item, facts);
  if (unfit !== undefined) return unfit;
  const id = collateralIdOf(facts.ref);
  const known = collaterals.get(state, id);
  const newer =
    known === undefined
      ? null
      : whatKeepsOut(facts.version, known, (held) =>
          isDisowned(evidence.appraiseCollateral(held, rules, crypto)),
        );
  if (newer !== null) {
    const [number, issuedMs] = facts.version;
    return refuse(
      'E_COLLATERAL',
      `a number above ${newer.number}, or the same issued after ${newer.issuedMs}`,
      `${number} issued ${issuedMs}`,
    );
  }
  const record = nextRecord(step, item, facts, known);
  collaterals.put(state, record, id);
  const { number, issuedMs } = record.version;
  const change = concatBytes(id, sha256(encode(collateralRecordCodec, record)));
  changeEvidencePolicy(state, domainHash('haca/collateral-change/1', change));
  step.emit('collateral', {
    collateralId: id,
    kind: item.kind,
    scope: scopeText(facts),
    number,
    issuedMs,
    nextUpdateMs: facts.nextUpdateMs,
    simulated: facts.simulated,
  });
  return undefined;
}

/** What the verifier found has to be what the chain asked for: the row is named by it. */
function checkFacts({ ctx, block }: Step, item: Collateral, facts: CollateralFacts): Outcome {
  if (facts.ref.kind !== item.kind) return refuse('E_COLLATERAL', item.kind, facts.ref.kind);
  if (facts.simulated && !ctx.config.simulated) {
    return refuse('E_COLLATERAL', 'what a vendor signed', 'what a test root did');
  }
  const fault = postingFault(facts, block.timeMs);
  return fault === null ? undefined : refuse('E_COLLATERAL', fault.expected, fault.got);
}

/** Kinds whose number is a TCB evaluation: platforms get time to take up a higher one. */
const EVALUATED: ReadonlySet<CollateralKind> = new Set(['intel-tcb-info', 'intel-qe-identity']);

function nextRecord(
  { ctx, block }: Step,
  item: Collateral,
  { version: [number, issuedMs], nextUpdateMs, simulated }: CollateralFacts,
  known: CollateralRecord | undefined,
): CollateralRecord {
  // All of it has a lower number, but where an evaluation came back that a disowned one had taken the place of.
  const running = (known?.superseded ?? []).filter(
    ({ atMs, version }) => block.timeMs < atMs + ctx.config.params.tcbGraceMs && version.number < number,
  );
  const isRaised = known !== undefined && EVALUATED.has(item.kind) && number > known.version.number;
  // The oldest one whose grace runs stays: raising twice must not cut short the time that the first raise gave.
  const superseded = isRaised
    ? [
        ...running.slice(0, SUPERSEDED_COLLATERAL_MAX - 1),
        { item: known.item, version: known.version, atMs: block.timeMs },
      ]
    : running;
  return {
    item,
    version: { number, issuedMs },
    nextUpdateMs,
    simulated,
    height: block.height,
    superseded,
  };
}

function scopeText({ ref }: CollateralFacts): string {
  return ref.kind === 'intel-tcb-info' || ref.kind === 'intel-qe-identity'
    ? String.fromCharCode(...ref.scope)
    : toHex(ref.scope);
}
