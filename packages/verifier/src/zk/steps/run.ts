/** The steps of a program after the hand-over, in order. */
import type { HandoverStep, Program, Step } from '@haca/circuit';
import { Rejection } from '../checks.ts';
import type { StepContext } from '../fill.ts';
import { verifyAggregate } from './aggregate.ts';
import { verifyContract } from './contract.ts';
import { verifyGather } from './gather.ts';
import { verifyOutput } from './output.ts';
import { verifyPublic } from './public.ts';
import { verifySum } from './sum.ts';
import { verifyTie } from './tie.ts';
import { verifyWire } from './wire.ts';

/** The first step of every program, and its only one of this kind. */
export function handoverOf(program: Program): HandoverStep {
  const [first] = program.steps;
  if (first?.kind !== 'handover') throw new Rejection('plan', 'a program without hand-over');
  return first;
}

/** Runs every step but the first; returns how many. */
export function verifySteps(context: Omit<StepContext, 'place'>): number {
  let executed = 0;
  for (const [index, step] of context.program.steps.entries()) {
    if (index === 0) continue;
    verifyStep({ ...context, place: `step ${index} ${step.kind}` }, step);
    executed++;
  }
  return executed;
}

function verifyStep(context: StepContext, step: Step): void {
  if (step.kind === 'sum') verifySum(context, step);
  else if (step.kind === 'aggregate') verifyAggregate(context, step);
  else if (step.kind === 'contract') verifyContract(context, step);
  else if (step.kind === 'wire') verifyWire(context, step);
  else if (step.kind === 'gather') verifyGather(context, step);
  else if (step.kind === 'tie') verifyTie(context, step);
  else if (step.kind === 'output') verifyOutput(context, step);
  else if (step.kind === 'public') verifyPublic(context, step);
  else throw new Rejection('plan', `${context.place} stands twice`);
}
