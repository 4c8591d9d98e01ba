/** A page in a headless browser, driven over the DevTools protocol: real files into real inputs, results out of the page. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BROWSER_FLAGS, browserPath } from './chromium.ts';

const START_POLL_MS = 50;
const START_POLLS = 600;

export interface DrivenPage {
  /** The value of an expression, awaited if it is a promise, as JSON has it. */
  readonly evaluate: (expression: string) => Promise<unknown>;
  /** Chooses files for the input that the selector finds, as a person would. */
  readonly chooseFiles: (selector: string, paths: readonly string[]) => Promise<void>;
  /** What the page wrote to its console and the errors nobody caught. */
  readonly complaints: readonly string[];
  readonly close: () => Promise<void>;
}

type Params = Readonly<Record<string, unknown>>;

export async function drivePage(url: string): Promise<DrivenPage> {
  const profile = mkdtempSync(join(tmpdir(), 'haca-browser-'));
  const flags = [...BROWSER_FLAGS, '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank'];
  const browser = spawn(browserPath(), flags, { stdio: 'ignore' });
  const close = async (): Promise<void> => endBrowser(browser, profile);
  try {
    const port = await debuggingPort(profile, browser);
    const targets = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as readonly {
      readonly type: string;
      readonly webSocketDebuggerUrl: string;
    }[];
    const target = targets.find(({ type }) => type === 'page');
    if (target === undefined) throw new Error('the browser has no page');
    return await attach(target.webSocketDebuggerUrl, url, close);
  } catch (error) {
    await close();
    throw error;
  }
}

async function debuggingPort(profile: string, browser: ChildProcess): Promise<number> {
  const file = join(profile, 'DevToolsActivePort');
  for (let i = 0; i < START_POLLS && browser.exitCode === null; i++) {
    const port = existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : 0;
    if (port > 0) return port;
    await delay(START_POLL_MS);
  }
  throw new Error('the browser did not start');
}

async function endBrowser(browser: ChildProcess, profile: string): Promise<void> {
  if (browser.exitCode === null && browser.signalCode === null) {
    const gone = new Promise<void>((resolve) => browser.once('exit', () => resolve()));
    browser.kill('SIGKILL');
    await gone;
  }
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
}

async function attach(socketUrl: string, url: string, end: () => Promise<void>): Promise<DrivenPage> {
  const socket = new WebSocket(socketUrl);
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve, { once: true });
    socket.addEventListener('error', () => reject(new Error('no connection to the browser')), { once: true });
  });
  const complaints: string[] = [];
  const waiting = new Map<number, (answer: Params) => void>();
  const events = new Map<string, () => void>();
  socket.addEventListener('message', ({ data }) => {
    const message = JSON.parse(String(data)) as Params & { readonly id?: number; readonly method?: string };
    if (message.id !== undefined) waiting.get(message.id)?.(message);
    if (message.method === undefined) return;
    events.get(message.method)?.();
    if (['Runtime.exceptionThrown', 'Log.entryAdded'].includes(message.method))
      complaints.push(JSON.stringify(message['params']));
  });
  let lastId = 0;
  const send = async (method: string, params: Params = {}): Promise<Params> => {
    const id = ++lastId;
    const answered = new Promise<Params>((resolve) => waiting.set(id, resolve));
    socket.send(JSON.stringify({ id, method, params }));
    const { result, error } = await answered;
    if (error !== undefined) throw new Error(`${method}: ${JSON.stringify(error)}`);
    return result as Params;
  };
  const evaluate = async (expression: string): Promise<unknown> => {
    const options = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await send('Runtime.evaluate', options);
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return (result as Params)['value'];
  };
  for (const domain of ['Runtime', 'Log', 'Page', 'DOM']) await send(`${domain}.enable`);
  const loaded = new Promise<void>((resolve) => events.set('Page.loadEventFired', resolve));
  await send('Page.navigate', { url });
  await loaded;
  return {
    evaluate,
    complaints,
    chooseFiles: async (selector, files) => {
      const { root } = await send('DOM.getDocument');
      const { nodeId } = await send('DOM.querySelector', { nodeId: (root as Params)['nodeId'], selector });
      await send('DOM.setFileInputFiles', { nodeId, files });
    },
    close: async () => {
      socket.close();
      await end();
    },
  };
}
