/**
 * The ABCI socket server: CometBFT connects to it four times (queries, snapshots, mempool, consensus) without saying which
 * connection is which, so a request goes where its kind says. Answers keep the order of the requests of a connection; the
 * mempool's do not wait for those of consensus.
 *
 * An application that throws is not asked again: the connection gets an exception, which stops CometBFT, and `onFatal` is
 * called. A request that cannot be read stops only the connection it came on.
 */
import { createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { MalformedError } from '@haca/primitives';
import type { Application } from '../abci.ts';
import type { CallFacts, CallRecorder } from './call-log.ts';
import { answerRequest, CONSENSUS_METHODS, factsOf, ORDERED_METHODS, UNSUPPORTED_METHODS } from './calls.ts';
import { createFrameParser, type FrameParser } from './frames.ts';
import { type AbciAddress, listenAt } from './listen.ts';
import { type AbciMethod, type AbciRequest, decodeRequest } from './requests.ts';
import { writeException } from './responses.ts';
import { takeOutput, type WireWriter, wireWriter } from './wire-writer.ts';

export interface AbciLimits {
  /** Largest message of a request. */
  readonly frameBytes: number;
  /** A connection with more requests waiting than this is not read from. */
  readonly queuedRequests: number;
  /** The same in bytes of requests. One request may exceed it. */
  readonly queuedBytes: number;
  readonly connections: number;
  /** How long a second consensus connection waits for the first to be gone before it is refused. */
  readonly takeoverMs: number;
}

export const ABCI_LIMITS: AbciLimits = {
  frameBytes: 128 * 1024 * 1024,
  queuedRequests: 4096,
  queuedBytes: 16 * 1024 * 1024,
  connections: 64,
  takeoverMs: 2000,
};

export interface AbciServerOptions {
  readonly application: Application;
  readonly address: AbciAddress;
  /** Called once, when the application threw: its state can no longer be trusted, and the process should end. */
  readonly onFatal: (error: Error) => void;
  readonly log?: (line: string) => void;
  readonly recorder?: CallRecorder;
  readonly limits?: Partial<AbciLimits>;
}

export interface AbciServer {
  /** As CometBFT's `proxy_app` takes it: `unix:///path` or `tcp://host:port`. */
  readonly address: string;
  /** Ends the connections; resolves once no method of the application runs any more. */
  readonly close: () => Promise<void>;
}

interface Connection {
  readonly id: number;
  /** Connections of one CometBFT process share it. */
  readonly peer: number;
  readonly socket: Socket;
  readonly frames: FrameParser;
  readonly out: WireWriter;
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

type Waiting =
  | { readonly request: AbciRequest; readonly sizeBytes: number }
  | { readonly refusal: string; readonly sizeBytes: number };

/** The call was refused, and only the connection suffers. */
class CallRefusedError extends Error {
  override readonly name = 'CallRefusedError';
}

/** Output is sent on once it has this size; usually it is all that one arrival of data leads to. */
const SEND_BYTES = 256 * 1024;

/** Resolves once the server listens. Rejects where it cannot. */
export async function serveAbci(options: AbciServerOptions): Promise<AbciServer> {
  const { application, recorder, onFatal } = options;
  const log = options.log ?? (() => undefined);
  const limits = { ...ABCI_LIMITS, ...options.limits };
  const connections = new Set<Connection>();
  const running = new Set<Promise<void>>();
  let isStopped = false;
  let lastConnection = 0;
  let peer = 0;
  let isPeerGone = true;
  let recordedPeer = 0;
  /** Resolves when the last ordered method that was begun or waits to begin is done. */
  let turn = Promise.resolve();
  let turnHolder: Connection | null = null;
  let consensusConnection: Connection | null = null;

  const accept = (socket: Socket): void => {
    if (isPeerGone) peer++;
    isPeerGone = false;
    const connection = connectionOf(socket, ++lastConnection, peer, limits.frameBytes);
    connections.add(connection);
    socket.on('data', (chunk) => receive(connection, chunk));
    socket.on('drain', () => {
      connection.needsDrain = false;
      answerWaiting(connection);
    });
    // The other end closing is the usual way for a CometBFT to go; an error on the way is another.
    socket.on('error', (error) => log(`ABCI connection ${connection.id}: ${error.message}`));
    socket.on('end', () => leave(connection));
    socket.on('close', () => leave(connection));
  };

  const leave = (connection: Connection): void => {
    connection.isOver = true;
    if (!connections.delete(connection)) return;
    if (connection.hasCalled && connection.peer === peer) isPeerGone = true;
    connection.queue = [];
    connection.queueStart = 0;
    connection.end();
  };

  const receive = (connection: Connection, chunk: Uint8Array): void => {
    if (connection.isRefused || connection.isOver || isStopped) return;
    try {
      connection.frames.push(chunk, (frame) => {
        enqueue(connection, frame);
        return !connection.isRefused;
      });
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      refuseLater(connection, error.message);
    }
    answerWaiting(connection);
  };

  const enqueue = (connection: Connection, frame: Uint8Array): void => {
    try {
      const request = decodeRequest(frame);
      if (UNSUPPORTED_METHODS.has(request.method)) {
        refuseLater(
          connection,
          `${request.method} belongs to the application mempool, which is not supported`,
        );
        return;
      }
      connection.queue.push({ request, sizeBytes: frame.length });
      connection.queuedBytes += frame.length;
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      refuseLater(connection, error.message);
    }
  };

  /** In its turn: what came before on the connection is still answered. */
  const refuseLater = (connection: Connection, refusal: string): void => {
    connection.isRefused = true;
    connection.queue.push({ refusal, sizeBytes: 0 });
  };

  const answerWaiting = (connection: Connection): void => {
    while (!connection.isBusy && !connection.isOver && !connection.needsDrain && !isStopped) {
      const waiting = takeWaiting(connection);
      if (waiting === undefined) break;
      if ('refusal' in waiting) refuse(connection, waiting.refusal);
      else begin(connection, waiting.request);
      if (connection.out.length >= SEND_BYTES) send(connection);
    }
    recorder?.flush();
    send(connection);
    regulate(connection, limits);
  };

  const begin = (connection: Connection, request: AbciRequest): void => {
    // A CometBFT that was started anew asks for the state: what the old one had begun counts as well.
    const waitsForOthers = request.method === 'info' && turnHolder?.isOver === true;
    if (waitsForOthers || ORDERED_METHODS.has(request.method)) {
      follow(connection, inTurn(connection, request));
      return;
    }
    try {
      recordRequest(connection, request);
      const facts = answerRequest(application, request, connection.out);
      if (facts instanceof Promise) {
        follow(
          connection,
          facts.then(
            (known) => recordResponse(connection, request.method, known),
            (error) => stop(connection, request.method, error),
          ),
        );
      } else recordResponse(connection, request.method, facts);
    } catch (error) {
      stop(connection, request.method, error);
    }
  };

  /** Nothing else of the connection is begun until the work is done. */
  const follow = (connection: Connection, work: Promise<void>): void => {
    connection.isBusy = true;
    const done = work.then(() => {
      running.delete(done);
      connection.isBusy = false;
      answerWaiting(connection);
    });
    running.add(done);
  };

  const inTurn = async (connection: Connection, request: AbciRequest): Promise<void> => {
    const { method } = request;
    try {
      if (CONSENSUS_METHODS.has(method)) await takeConsensus(connection);
      const before = turn;
      const { promise, resolve: release } = Promise.withResolvers<void>();
      turn = promise;
      try {
        await before;
        if (connection.isOver || isStopped) return;
        turnHolder = connection;
        recordRequest(connection, request);
        recorder?.flush();
        recordResponse(connection, method, await answerRequest(application, request, connection.out));
      } finally {
        turnHolder = null;
        release();
      }
    } catch (error) {
      if (error instanceof CallRefusedError) refuse(connection, error.message);
      else stop(connection, method, error);
    }
  };

  /** Two CometBFT processes on one application would each commit their own chain into it. */
  const takeConsensus = async (connection: Connection): Promise<void> => {
    const owner = consensusConnection;
    const isFree = (): boolean => consensusConnection === owner && (owner === null || owner.isOver);
    if (owner === connection) return;
    if (owner !== null && !owner.isOver) {
      await Promise.race([owner.ended, delay(limits.takeoverMs, undefined, { ref: false })]);
    }
    if (!isFree()) throw new CallRefusedError('another connection drives the consensus of this application');
    consensusConnection = connection;
  };

  const stop = (connection: Connection, method: AbciMethod, cause: unknown): void => {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    if (isStopped) return;
    isStopped = true;
    const message = `${method} failed, the application stops: ${error.message}`;
    log(`ABCI: ${message}`);
    recorder?.record({ event: 'response', connection: connection.id, method: 'exception', result: message });
    recorder?.flush();
    writeException(connection.out, message);
    send(connection);
    onFatal(error);
  };

  const refuse = (connection: Connection, reason: string): void => {
    log(`ABCI connection ${connection.id} closed: ${reason}`);
    recorder?.record({ event: 'response', connection: connection.id, method: 'exception', result: reason });
    writeException(connection.out, reason);
    send(connection);
    connection.isRefused = true;
    connection.isOver = true;
    // Reading goes on, so that the end of the other side is seen; what arrives is dropped.
    connection.socket.resume();
    connection.socket.destroySoon();
  };

  const recordRequest = (connection: Connection, request: AbciRequest): void => {
    connection.hasCalled = true;
    if (recorder === undefined) return;
    if (connection.peer > recordedPeer) {
      recordedPeer = connection.peer;
      recorder.record({ event: 'peer' });
    }
    const { id } = connection;
    recorder.record({ event: 'request', connection: id, method: request.method, ...factsOf(request) });
  };

  const recordResponse = (connection: Connection, method: AbciMethod, facts: CallFacts): void => {
    recorder?.record({ event: 'response', connection: connection.id, method, ...facts });
  };

  const server = createServer({ noDelay: true }, accept);
  server.maxConnections = limits.connections;
  const address = await listenAt(server, options.address);
  server.on('error', (error) => log(`ABCI server: ${error.message}`));
  const close = async (): Promise<void> => {
    isStopped = true;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const { socket } of connections) socket.destroy();
    await closed;
    await Promise.all(running);
    recorder?.flush();
  };
  return { address, close };
}

function connectionOf(socket: Socket, id: number, peer: number, frameBytesMax: number): Connection {
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

function takeWaiting(connection: Connection): Waiting | undefined {
  const waiting = connection.queue[connection.queueStart];
  if (waiting === undefined) return undefined;
  connection.queueStart++;
  connection.queuedBytes -= waiting.sizeBytes;
  if (connection.queueStart === connection.queue.length || connection.queueStart >= 1024) {
    connection.queue.splice(0, connection.queueStart);
    connection.queueStart = 0;
  }
  return waiting;
}

function send(connection: Connection): void {
  if (connection.out.length === 0) return;
  const bytes = takeOutput(connection.out);
  if (connection.isOver || !connection.socket.writable) return;
  connection.needsDrain = !connection.socket.write(bytes);
}

/** Stops reading where the peer does not read, or asks faster than it is answered. */
function regulate(connection: Connection, limits: AbciLimits): void {
  if (connection.isOver) return;
  const waiting = connection.queue.length - connection.queueStart;
  const isFull = waiting > limits.queuedRequests || connection.queuedBytes > limits.queuedBytes;
  const shouldPause = connection.needsDrain || isFull;
  if (shouldPause === connection.isPaused) return;
  connection.isPaused = shouldPause;
  if (shouldPause) connection.socket.pause();
  else connection.socket.resume();
}
