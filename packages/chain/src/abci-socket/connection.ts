/** One connection of the ABCI server: what was asked on it and waits, and what goes out on it. */
import type { Socket } from 'node:net';
import { createFrameParser, type FrameParser } from './frames.ts';
import type { AbciRequest } from './requests.ts';
import { takeOutput, type WireWriter, wireWriter } from './wire-writer.ts';

export interface ConnectionLimits {
  /** Largest message of a request. */
  readonly frameBytes: number;
  /** A connection with more requests waiting than this is not read from. */
  readonly queuedRequests: number;
  /** The same in bytes of requests. One request may exceed it. */
  readonly queuedBytes: number;
}

export interface Connection {
  readonly id: number;
  /** Connections of one CometBFT process share it. */
  readonly peer: number;
  readonly socket: Socket;
  readonly frames: FrameParser;
  readonly out: WireWriter;
  /** Resolves when the connection is gone. */
  readonly ended: Promise<void>;
  readonly end: () => void;
  /** Requests that were read and not begun, the oldest at `queueStart`. */
  queue: Waiting[];
  queueStart: number;
  queuedBytes: number;
  hasCalled: boolean;
  /** A request is being answered. */
  isBusy: boolean;
  /** Nothing that arrives is read any more. */
  isRefused: boolean;
  /** The peer is gone, or is being sent away. */
  isOver: boolean;
  needsDrain: boolean;
  isPaused: boolean;
}

export type Waiting =
  | { readonly request: AbciRequest; readonly sizeBytes: number }
  | { readonly refusal: string; readonly sizeBytes: number };

const QUEUE_TRIM = 1024;

export function connectionOf(socket: Socket, id: number, peer: number, frameBytesMax: number): Connection {
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  return {
    id,
    peer,
    socket,
    frames: createFrameParser(frameBytesMax),
    out: wireWriter(),
    ended,
    end,
    queue: [],
    queueStart: 0,
    queuedBytes: 0,
    hasCalled: false,
    isBusy: false,
    isRefused: false,
    isOver: false,
    needsDrain: false,
    isPaused: false,
  };
}

export function addWaiting(connection: Connection, waiting: Waiting): void {
  connection.queue.push(waiting);
  connection.queuedBytes += waiting.sizeBytes;
}

export function takeWaiting(connection: Connection): Waiting | undefined {
  const waiting = connection.queue[connection.queueStart];
  if (waiting === undefined) return undefined;
  connection.queueStart++;
  connection.queuedBytes -= waiting.sizeBytes;
  if (connection.queueStart === connection.queue.length || connection.queueStart >= QUEUE_TRIM) {
    connection.queue.splice(0, connection.queueStart);
    connection.queueStart = 0;
  }
  return waiting;
}

export function dropWaiting(connection: Connection): void {
  connection.queue = [];
  connection.queueStart = 0;
  connection.queuedBytes = 0;
}

export function send(connection: Connection): void {
  if (connection.out.length === 0) return;
  const bytes = takeOutput(connection.out);
  if (connection.isOver || !connection.socket.writable) return;
  connection.needsDrain = !connection.socket.write(bytes);
}

/** Stops reading where the peer does not read, or asks faster than it is answered; goes on when that has changed. */
export function regulate(connection: Connection, limits: ConnectionLimits): void {
  if (connection.isOver) return;
  const waiting = connection.queue.length - connection.queueStart;
  const isFull = waiting > limits.queuedRequests || connection.queuedBytes > limits.queuedBytes;
  const shouldPause = connection.needsDrain || isFull;
  if (shouldPause === connection.isPaused) return;
  connection.isPaused = shouldPause;
  if (shouldPause) connection.socket.pause();
  else connection.socket.resume();
}
