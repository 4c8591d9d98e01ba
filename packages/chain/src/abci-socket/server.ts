/**
 * The ABCI socket server: CometBFT connects to it four times (queries, snapshots, mempool, consensus) without saying which
 * connection is which, so a request goes where its kind says. Answers keep the order of the requests of a connection; the
 * mempool's do not wait for those of consensus.
 *
 * An application that throws is not asked again: the connection gets an exception, which stops CometBFT, and `onFatal` is
 * called. A request that cannot be read stops only the connection it came on.
 */
import { createServer, type Socket } from 'node:net';
import { MalformedError } from '@haca/primitives';
import type { Application } from '../abci.ts';
import type { CallFacts, CallRecorder } from './call-log.ts';
import { answerRequest, CONSENSUS_METHODS, factsOf, ORDERED_METHODS, UNSUPPORTED_METHODS } from './calls.ts';
import {
  addWaiting,
  type Connection,
  type ConnectionLimits,
  connectionOf,
  dropWaiting,
  regulate,
  send,
  takeWaiting,
} from './connection.ts';
import { type AbciAddress, listenAt } from './listen.ts';
import { type AbciMethod, type AbciRequest, decodeRequest } from './requests.ts';
import { writeException } from './responses.ts';
import { CallRefusedError, createTurns } from './turns.ts';

export interface AbciLimits extends ConnectionLimits {
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

/** Output is sent on once it has this size; usually it is all that one arrival of data leads to. */
const SEND_BYTES = 256 * 1024;

/** Resolves once the server listens. Rejects where it cannot. */
export async function serveAbci(options: AbciServerOptions): Promise<AbciServer> {
  const { application, recorder, onFatal } = options;
  const log = options.log ?? (() => undefined);
  const limits = { ...ABCI_LIMITS, ...options.limits };
  const connections = new Set<Connection>();
  const running = new Set<Promise<void>>();
  const turns = createTurns(limits.takeoverMs);
  let isStopped = false;
  let lastConnection = 0;
  let peer = 0;
  let isPeerGone = true;
  let recordedPeer = 0;

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
    dropWaiting(connection);
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
      addWaiting(connection, { request, sizeBytes: frame.length });
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      refuseLater(connection, error.message);
    }
  };

  /** In its turn: what came before on the connection is still answered. */
  const refuseLater = (connection: Connection, refusal: string): void => {
    connection.isRefused = true;
    addWaiting(connection, { refusal, sizeBytes: 0 });
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
    const waitsForOthers = request.method === 'info' && turns.isOrphanRunning();
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
      if (CONSENSUS_METHODS.has(method)) await turns.takeConsensus(connection);
      await turns.run(connection, async () => {
        if (isStopped) return;
        recordRequest(connection, request);
        recorder?.flush();
        recordResponse(connection, method, await answerRequest(application, request, connection.out));
      });
    } catch (error) {
      if (error instanceof CallRefusedError) refuse(connection, error.message);
      else stop(connection, method, error);
    }
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
