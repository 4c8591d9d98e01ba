/** What a caller is told of a connection that broke in the middle of an answer: who failed, what came, what may be done now. */
import type { Receipt } from '@haca/protocol';
import { NodeError } from '../errors.ts';
import type { Attempt } from './attempt.ts';

type Asked = Pick<Attempt, 'route'>;

/** Nobody knows yet what became of the request. */
export function interruption(asked: Asked, got: string, answerId: string | null, cause: unknown): NodeError {
  const why = cause instanceof Error ? ` (${cause.message})` : '';
  const message = [
    `${brokenConnection(asked)}${why}: ${got}.`,
    'The node or the way to it failed, no check did.',
    'Sent again by this client within ten minutes it is the same request, charged at most once.',
    ...receiptNote(asked, answerId, 'What the node charges stands in its receipt, once it is signed'),
  ].join(' ');
  return new NodeError('E_INTERRUPTED', message, null, { cause, answerId: answerId || null });
}

/** The node noticed, stopped there and signed what it had done (HTTP-63): that is all there will be of this answer. */
export function stoppedByNode(
  asked: Asked,
  { usage, amount, asset }: Receipt,
  answerId: string | null,
): NodeError {
  const message = [
    `${brokenConnection(asked)}, and the node stopped there.`,
    `Nothing is wrong with what came: the node signed ${usage.outputTokens} output tokens for ${amount} base units of asset ${asset}.`,
    'Nothing more is charged, and asked again it is a new request.',
    ...receiptNote(asked, answerId, 'Its receipt'),
  ].join(' ');
  return new NodeError('E_ABORTED', message, null, { answerId: answerId || null });
}

/** The node answered and charged, and what the connection did not bring is not to be had any more. */
export function answeredBefore(asked: Asked, answerId: string): NodeError {
  const message = [
    `${brokenConnection(asked)}, and by the node's word it was answered and charged, but the answer is not kept.`,
    'Asked again it is a new request.',
    ...receiptNote(asked, answerId, 'Its receipt'),
  ].join(' ');
  return new NodeError('E_IDEMPOTENCY', message, 409, { answerId });
}

function brokenConnection({ route: { node, api } }: Asked): string {
  return `the connection to node ${node.name} at ${api.url} broke in the middle of the answer`;
}

function receiptNote({ route }: Asked, answerId: string | null, what: string): readonly string[] {
  if (answerId === null || answerId === '') return [];
  return [`${what}: ${route.api.url}/v1/receipts/${encodeURIComponent(answerId)}`];
}
