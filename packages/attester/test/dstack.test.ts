/** Evidence of a dstack app, from a guest agent of the test's own on a Unix socket. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { decode, fromHex, toHex } from '@haca/primitives';
import { dstackDocumentCodec } from '@haca/protocol';
import { AttesterError, type AttesterErrorCode, openDstackAttester } from '../src/index.ts';
import { makeFolder } from './fake-tsm.ts';
import { ASKED, unsignedQuote, vectorPath, vectorsMissing } from './real-vectors.ts';

type Answer = (body: string, response: ServerResponse, request: IncomingMessage) => void;

async function startAgent(t: TestContext, answer: Answer): Promise<string> {
  const folder = makeFolder();
  const socketPath = join(folder, 'dstack.sock');
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => answer(body, response, request));
  });
  server.listen(socketPath);
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return socketPath;
}

interface LogEvent {
  imr?: unknown;
  event_type?: unknown;
  digest?: unknown;
  event?: unknown;
  event_payload?: unknown;
  version?: unknown;
}

const BOOT = { imr: 0, event_type: 10, digest: 'ab'.repeat(48), event: '', event_payload: '00ff' };
const RUNTIME = {
  imr: 3,
  event_type: 134_217_729,
  digest: 'f9974020ef507068183313d0ca808e0d1ca9b2d1ad0c61f5784e7157c362c06536f5ddacdad4451693f48fcc72fff624',
  event: 'system-preparing',
  event_payload: '',
};

function answerOf(events: unknown, quote = unsignedQuote(ASKED.bindingHash, 4, 70)): string {
  const event_log = typeof events === 'string' ? events : JSON.stringify(events);
  return JSON.stringify({ quote: toHex(quote), event_log, report_data: '', vm_config: '{}' });
}

async function refused(
  t: TestContext,
  answer: Answer,
  code: AttesterErrorCode,
  message: RegExp,
  timeoutMs = 5_000,
) {
  const socketPath = await startAgent(t, answer);
  await assert.rejects(openDstackAttester({ socketPath, timeoutMs }).attest(ASKED), (error: unknown) => {
    assert.ok(error instanceof AttesterError, `${error}`);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

test('quote and event log become one document', async (t) => {
  const asked: string[] = [];
  const socketPath = await startAgent(t, (body, response, request) => {
    asked.push(`${request.method} ${request.url} ${body}`);
    response.end(answerOf([BOOT, RUNTIME, { ...RUNTIME, digest: '' }, { ...RUNTIME, digest: undefined }]));
  });
  const attester = openDstackAttester({ socketPath });
  assert.deepEqual([attester.kind, attester.isSimulated], ['dstack', false]);
  const document = decode(dstackDocumentCodec, await attester.attest(ASKED), 'document');
  assert.deepEqual(asked, [`POST /GetQuote {"report_data":"${toHex(ASKED.bindingHash)}"}`]);
  assert.deepEqual(document.quote, unsignedQuote(ASKED.bindingHash));
  const runtime = {
    imr: 3,
    eventType: 134_217_729,
    digest: null,
    name: 'system-preparing',
    payload: new Uint8Array(0),
  };
  // Nothing but the digest of a boot event is measured.
  const boot = {
    imr: 0,
    eventType: 0,
    digest: fromHex(BOOT.digest),
    name: '',
    payload: new Uint8Array(0),
  };
  assert.deepEqual(document.events, [boot, runtime, runtime, runtime]);
});

test('the answer of a real agent is carried whole', { skip: vectorsMissing }, async (t) => {
  const recorded = readFileSync(vectorPath('dstack/quote-report.json'), 'utf8');
  const { quote, event_log, report_data } = JSON.parse(recorded) as Record<string, string>;
  const socketPath = await startAgent(t, (_body, response) => response.end(recorded));
  const asked = { ...ASKED, bindingHash: fromHex(report_data as string) };
  const document = decode(
    dstackDocumentCodec,
    await openDstackAttester({ socketPath }).attest(asked),
    'document',
  );
  const events = JSON.parse(event_log as string) as readonly { digest: string; event: string }[];
  assert.ok((quote as string).startsWith(toHex(document.quote)));
  assert.match((quote as string).slice(2 * document.quote.length), /^(00)*$/);
  assert.equal(document.events.length, events.length);
  for (const [i, { digest, name }] of document.events.entries()) {
    assert.equal(name, events[i]?.event);
    if (digest !== null) assert.equal(toHex(digest), events[i]?.digest);
  }
  assert.deepEqual(
    document.events.filter(({ digest }) => digest === null).map(({ name }) => name),
    events.filter(({ event }) => event !== '').map(({ event }) => event),
  );
});

test('events of version 2 keep their version, and colons move as the digest has them', async (t) => {
  const two = { ...RUNTIME, digest: '', event: 'a:b', event_payload: 'ff' };
  const socketPath = await startAgent(t, (_body, response) =>
    response.end(answerOf([{ ...two, version: 2 }, two, { ...two, version: 1 }])),
  );
  const bytes = await openDstackAttester({ socketPath }).attest(ASKED);
  const { events } = decode(dstackDocumentCodec, bytes, 'document');
  const common = { imr: 3, eventType: 134_217_729, digest: null };
  const one = { ...common, name: 'a', payload: Uint8Array.of(0x62, 0x3a, 0xff) };
  assert.deepEqual(events, [{ ...common, name: 'a:b', payload: Uint8Array.of(0xff), version: 2 }, one, one]);
});

test('answers that cannot be used are refused', async (t) => {
  const say =
    (text: string): Answer =>
    (_body, response) =>
      response.end(text);
  const bad = (event: LogEvent): Answer => say(answerOf([event]));
  const malformed: readonly (readonly [Answer, RegExp])[] = [
    [say('no json'), /json\.syntax at answer/],
    [say('[]'), /an object/],
    [say('{"quote": 7}'), /answer\.quote/],
    [say(answerOf('{}')), /a list of/],
    [say(answerOf('[')), /event_log/],
    [say(answerOf([7])), /event_log\.0/],
    [bad({ ...BOOT, imr: 4 }), /imr/],
    [bad({ ...BOOT, imr: -1 }), /imr/],
    [bad({ ...BOOT, event_type: 2 ** 32 }), /event_type/],
    [bad({ ...BOOT, digest: 'ab' }), /digest/],
    [bad({ ...BOOT, digest: undefined }), /digest/],
    [bad({ ...RUNTIME, digest: '', event: 'x'.repeat(129) }), /event-length at event_log\.0\.event:/],
    [bad({ ...RUNTIME, event_payload: '0' }), /event_payload/],
    [bad({ ...RUNTIME, digest: '', version: 3 }), /version/],
    [bad({ ...RUNTIME, version: 2 }), /dstack\.event-digest/],
    [
      bad({ ...RUNTIME, digest: '', event_payload: '00'.repeat(4_097) }),
      /event-length at event_log\.0\.event_payload/,
    ],
    [bad({ ...RUNTIME, event: 'system-prepared' }), /dstack\.event-digest/],
    [bad({ ...RUNTIME, event_payload: '00' }), /dstack\.event-digest/],
    [say(answerOf(Array.from({ length: 257 }, () => BOOT))), /at most 256 events/],
    [say(answerOf([BOOT], unsignedQuote(ASKED.bindingHash).subarray(1))), /no TDX quote|version/],
  ];
  for (const [answer, message] of malformed) await refused(t, answer, 'attester.malformed', message);
  const other = answerOf([], unsignedQuote(new Uint8Array(64)));
  await refused(t, say(other), 'attester.mismatch', /the report is over/);
  await refused(t, say('x'.repeat(1_100_000)), 'attester.refused', /more than 1048576 bytes/);
});

test('an agent that refuses, is silent or is not there is named as that', async (t) => {
  const refusing: Answer = (_body, response) => {
    response.statusCode = 400;
    response.end('{"error": "no quote here"}');
  };
  await refused(t, refusing, 'attester.refused', /status 400: .*no quote here/);
  await refused(t, () => undefined, 'attester.unavailable', /silent for 30 ms/, 30);
  await refused(t, (_body, response) => response.destroy(), 'attester.refused', /failed/);
  await assert.rejects(openDstackAttester({ socketPath: '/nowhere/dstack.sock' }).attest(ASKED), {
    name: 'AttesterError',
    code: 'attester.missing',
    message: /no dstack guest agent at .*mount the socket/,
  });
});
