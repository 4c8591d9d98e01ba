/** Following an answer on its way to finality, for every command that asks for one. */
import { verdictExitCode } from '@haca/protocol';
import type { Answer, Lifecycle } from '@haca/sdk/node';
import { type Call, CommandLineError, type Flag } from './command.ts';
import { checkLines } from './report.ts';

const STATES = ['executed', 'settled', 'verified', 'final'] as const;
export type FollowedState = (typeof STATES)[number];

export const FOLLOW_FLAGS: Readonly<Record<string, Flag>> = {
  until: { value: 'STATE', help: 'follow to executed, settled, verified or final (default final)' },
  timeout: { value: 'SECONDS', help: 'how long to follow (default 60)' },
};

/** Throws `CommandLineError` on a state that is none. */
export function wantedState(call: Call): FollowedState {
  const until = STATES.find((state) => state === (call.text('until') ?? 'final'));
  if (until === undefined) throw new CommandLineError(`--until is one of ${STATES.join(', ')}`);
  return until;
}

export async function followAnswer(
  call: Call,
  answer: Answer,
  until: FollowedState,
): Promise<Lifecycle | null> {
  const startedAt = performance.now();
  const seconds = Number(call.text('timeout') ?? 60);
  const lifecycle = await answer.until(until, {
    timeoutMs: seconds * 1000,
    onState: ({ state, height, by }) => {
      if (call.json) return;
      const at = height === null ? '' : `height ${height}`;
      const ms = Math.round(performance.now() - startedAt);
      call.out(`${state.padEnd(11)}${at.padEnd(14)}+${`${ms}`.padStart(4)} ms  by ${by}`);
    },
  });
  if (!call.json && until === 'final') {
    for (const line of checkLines(lifecycle.verdict, call.has('checks'))) call.out(`  ${line}`);
  }
  return lifecycle;
}

export function finalExitCode({ verdict }: Lifecycle, until: string): number {
  return until === 'final' ? verdictExitCode(verdict) : 0;
}
