/** Preloaded into a peer that has no setting for it: whatever it listens on, it is reachable from this machine alone. */
import { Server } from 'node:net';

const { listen } = Server.prototype;
Server.prototype.listen = function listenOnLoopback(this: Server, ...args: unknown[]): Server {
  const [port, ...more] = args;
  const isPort = typeof port === 'number' && typeof more[0] !== 'string';
  return Reflect.apply(listen, this, isPort ? [port, '127.0.0.1', ...more.filter(isCallback)] : args);
} as typeof listen;

function isCallback(value: unknown): boolean {
  return typeof value === 'function';
}
