import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Requests of one connection that wait for their answers at a time. Browsers and our own clients send one. */
export const PIPELINED_MAX = 16;

/**
 * Whether a request may be served. Node reads a connection on however many requests wait, and each takes some hundred times the
 * memory of its bytes: a connection with too many of them is cut off.
 */
export function createPipelineLimit(): (incoming: IncomingMessage, response: ServerResponse) => boolean {
  const waiting = new WeakMap<Socket, number>();
  return ({ socket }, response) => {
    const count = waiting.get(socket) ?? 0;
    if (count >= PIPELINED_MAX) {
      socket.destroy();
      return false;
    }
    waiting.set(socket, count + 1);
    response.once('close', () => waiting.set(socket, (waiting.get(socket) ?? 1) - 1));
    return true;
  };
}
