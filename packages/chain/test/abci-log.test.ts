import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { type CallLogEntry, openCallLog, readCallLog } from '../src/abci-socket/call-log.ts';
import { checkAbciGrammar, type GrammarVerdict } from '../src/abci-socket/grammar.ts';
import { ABCI_METHODS, type AbciMethod } from '../src/abci-socket/requests.ts';
import { temporaryFolder } from './engine-fixture.ts';

const WRITER = new URL('abci-log-writer.ts', import.meta.url).pathname;

/**
 * Calls in short: `info`, `info=5` (which said height 5), `finalize@7` (of height 7), `offer=reject`, `peer`, `process`.
 */
function calls(text: string): CallLogEntry[] {
  return text
    .split(/\s+/)
    .filter((word) => word !== '')
    .flatMap((word): CallLogEntry[] => {
      const [, name, height, answer] = /^([a-z-]+)(?:@(\d+))?(?:=([a-z0-9-]+))?$/.exec(word) as unknown as [
        string,
        string,
        string | undefined,
        string | undefined,
      ];
      if (name === 'peer') return [{ event: 'peer' }];
      if (name === 'process') return [{ event: 'process', pid: 1, timeMs: 1 }];
      const method = NAMES[name] as AbciMethod;
      assert.ok(method !== undefined, name);
      const request: CallLogEntry = {
        event: 'request',
        connection: 1,
        method,
        ...(height === undefined ? {} : { height: Number(height) }),
      };
      if (answer === undefined) return [request];
      const facts = method === 'info' ? { height: Number(answer) } : { result: answer };
      return [request, { event: 'response', connection: 1, method, ...facts }];
    });
}

const NAMES: Readonly<Record<string, AbciMethod>> = {
  ...Object.fromEntries(ABCI_METHODS.map((method) => [method, method])),
  init: 'init-chain',
  prepare: 'prepare-proposal',
  propose: 'process-proposal',
  extend: 'extend-vote',
  vote: 'verify-vote-extension',
  finalize: 'finalize-block',
  offer: 'offer-snapshot',
  apply: 'apply-snapshot-chunk',
  load: 'load-snapshot-chunk',
  list: 'list-snapshots',
  check: 'check-tx',
};

const ACCEPTED: readonly (readonly [string, string])[] = [
  ['nothing', ''],
  ['a new chain', 'process peer info init prepare propose finalize commit'],
  [
    'heights that follow each other',
    'info=0 init@1 prepare@1 propose@1 finalize@1 commit propose@2 finalize@2 commit',
  ],
  ['a chain that begins later', 'info=0 init@100 finalize@100 commit finalize@101 commit'],
  ['a run that ends after any call', 'info init prepare propose finalize'],
  ['rounds that fail', 'info init prepare propose propose prepare finalize commit'],
  ['a block without a round: catching up', 'info init finalize commit finalize commit'],
  [
    'vote extensions at any time of a height',
    'info init vote propose vote extend vote finalize commit vote extend',
  ],
  ['recovery', 'peer info=5 propose@6 finalize@6 commit'],
  ['recovery of an application without state', 'peer info=0 init@1 finalize@1 commit'],
  [
    'a block again after a crash before its commit',
    'info=0 init@1 finalize@1 process peer info=0 init@1 finalize@1 commit',
  ],
  ['replay of blocks', 'info=3 finalize@4 commit finalize@5 commit propose@6 finalize@6 commit'],
  [
    'CometBFT started again while the application lives',
    'info=0 init@1 finalize@1 commit peer info=1 propose@2 finalize@2 commit',
  ],
  ['state sync', 'offer=accept apply apply info=10 finalize@11 commit'],
  [
    'state sync after rejected offers',
    'offer=reject offer=reject-format offer=accept apply info=10 propose@11',
  ],
  [
    'an offer whose answer is not on file, after a rejected one',
    'offer=reject offer apply info=10 finalize@11',
  ],
  [
    'state sync in several attempts',
    'offer=accept apply apply offer=accept apply info=10 finalize@11 commit',
  ],
  [
    'state sync with a snapshot that was not the right one',
    'offer apply info=9 offer apply info=10 finalize@11 commit',
  ],
  [
    'Info by RPC at any time',
    'info=0 info=0 offer=accept info=0 apply info=0 apply info=7 propose@8 info=7 finalize@8 info=8 commit info=8',
  ],
  [
    'calls that may come at any time',
    'echo flush check query list load info check init flush finalize check query commit list',
  ],
];

for (const [name, text] of ACCEPTED) {
  test(`ABCI-17: accepted: ${name}`, () => {
    const entries = calls(text);
    assert.equal(checkAbciGrammar(entries).ok, true, JSON.stringify(checkAbciGrammar(entries)));
    for (let length = 0; length <= entries.length; length++) {
      assert.equal(checkAbciGrammar(entries.slice(0, length)).ok, true, 'a run may end anywhere');
    }
  });
}

/** Each with the call that is out of order marked by `!`, and something that could have come instead. */
const REJECTED: readonly (readonly [string, string, string])[] = [
  ['a block before anything else', '!finalize', 'info'],
  ['a proposal before anything else', 'process peer !prepare', 'info'],
  ['InitChain before Info', '!init', 'info'],
  ['a commit before anything else', '!commit', 'info'],
  ['a chunk before anything else', '!apply', 'offer-snapshot'],
  ['a commit without a block', 'info init !commit', 'finalize-block'],
  ['a commit after Info', 'info=4 !commit', 'finalize-block'],
  ['two commits', 'info init finalize commit !commit', 'finalize-block'],
  ['two blocks without a commit', 'info init finalize !finalize', 'commit'],
  ['a proposal between block and commit', 'info init finalize !prepare', 'commit'],
  ['a vote between block and commit', 'info init finalize !vote', 'commit'],
  ['a proposed block between block and commit', 'info init finalize !propose', 'commit'],
  ['an extension between block and commit', 'info init finalize !extend', 'commit'],
  ['InitChain twice', 'info init !init', 'prepare-proposal'],
  ['InitChain after a block', 'info init finalize commit !init', 'finalize-block'],
  ['InitChain between block and commit', 'info init finalize !init', 'commit'],
  ['InitChain on an application with state', 'info=5 !init', 'finalize-block'],
  ['a block on an application without state', 'info=0 !finalize', 'init-chain'],
  ['a proposal on an application without state', 'info=0 !prepare', 'init-chain'],
  ['a snapshot after genesis', 'info init !offer', 'finalize-block'],
  ['a snapshot between block and commit', 'info init finalize !offer', 'commit'],
  ['a snapshot while blocks are made', 'info=5 propose !offer', 'finalize-block'],
  ['a chunk while blocks are made', 'info=5 propose !apply', 'finalize-block'],
  ['a chunk without an offer', 'info !apply', 'offer-snapshot'],
  ['a chunk of a rejected snapshot', 'offer=reject !apply', 'offer-snapshot'],
  ['a chunk of an aborted sync', 'offer=accept apply offer=abort !apply', 'offer-snapshot'],
  ['a block after a snapshot without chunks', 'offer=accept !finalize', 'apply-snapshot-chunk'],
  [
    'a block after a snapshot without chunks, in spite of Info',
    'offer=accept info !finalize',
    'apply-snapshot-chunk',
  ],
  ['a block after a state sync without Info', 'offer=accept apply !finalize', 'info'],
  ['InitChain in a state sync', 'offer=accept apply !init', 'info'],
  ['InitChain after a state sync', 'offer=accept apply info=5 !init', 'finalize-block'],
  ['a commit after a state sync', 'offer=accept apply info=5 !commit', 'finalize-block'],
  ['no Info after CometBFT was started again', 'info init finalize commit peer !finalize', 'info'],
  ['no Info after the application was started again', 'info init finalize commit process !commit', 'info'],
  ['a height left out', 'info=0 init@1 finalize@1 commit !finalize@3', 'finalize-block at height 2'],
  ['a height twice', 'info=0 init@1 finalize@1 commit !finalize@1', 'finalize-block at height 2'],
  ['a proposal of another height', 'info=0 init@1 prepare@1 !propose@2', 'process-proposal at height 1'],
  [
    'a vote of the height before',
    'info=5 propose@6 finalize@6 commit !vote@6',
    'verify-vote-extension at height 7',
  ],
  ['a block other than Info asked for', 'info=5 !finalize@7', 'finalize-block at height 6'],
  ['a first block other than genesis says', 'info=0 init@100 !finalize@1', 'finalize-block at height 100'],
  [
    'a block other than the snapshot was of',
    'offer=accept apply info=10 !finalize@12',
    'finalize-block at height 11',
  ],
];

for (const [name, text, instead] of REJECTED) {
  test(`ABCI-17: rejected: ${name}`, () => {
    const [before, from] = text.split('!') as [string, string];
    const position = calls(before).length;
    const verdict = checkAbciGrammar(calls(`${before} ${from}`));
    assert.equal(verdict.ok, false);
    assert.equal(verdict.position, position);
    assert.ok(verdict.expected.includes(instead), `${verdict.got}; expected ${verdict.expected.join(', ')}`);
    assert.equal(checkAbciGrammar(calls(before)).ok, true, 'only the marked call is wrong');
  });
}

test('ABCI-17: the first run of a new chain must begin with genesis or a state sync', () => {
  const clean = { isFirstRunClean: true };
  assert.equal(checkAbciGrammar(calls('process peer info finalize'), clean).ok, false);
  assert.equal(checkAbciGrammar(calls('process peer info=5 finalize@6'), clean).ok, false);
  assert.equal(checkAbciGrammar(calls('process peer info init finalize commit'), clean).ok, true);
  assert.equal(checkAbciGrammar(calls('process peer offer apply info finalize'), clean).ok, true);
  assert.equal(
    checkAbciGrammar(calls('process peer info init finalize commit peer info finalize'), clean).ok,
    true,
  );
});

const LETTERS: Readonly<Record<string, string>> = {
  i: 'init',
  f: 'finalize',
  c: 'commit',
  o: 'offer',
  a: 'apply',
  p: 'prepare',
  r: 'propose',
  e: 'extend',
  v: 'vote',
};

test("ABCI-17: the verdicts are those of CometBFT's own checker", () => {
  const vectors = JSON.parse(
    readFileSync(new URL('abci-grammar-vectors.json', import.meta.url), 'utf8'),
  ) as Readonly<Record<'clean' | 'recovery' | 'both' | 'neither', string>>;
  for (const kind of ['clean', 'recovery', 'both', 'neither'] as const) {
    for (const sequence of vectors[kind].split(' ')) {
      const isSync = /^[oa]/.test(sequence);
      // That checker leaves Info out; here it must come at the start, and after the last chunk.
      const words = [...sequence]
        .map((letter) => `${LETTERS[letter]}${letter === 'a' ? ' info' : ''}`)
        .join(' ');
      const entries = calls(`${isSync ? '' : 'info'} ${words}`);
      const isClean = kind === 'clean' || kind === 'both';
      assert.equal(checkAbciGrammar(entries, { isFirstRunClean: true }).ok, isClean, sequence);
      assert.equal(checkAbciGrammar(entries).ok, kind !== 'neither', sequence);
    }
  }
});

test('ABCI-17: runs and commits are counted', () => {
  const text =
    'process peer info=0 init@1 finalize@1 commit process peer peer info=1 finalize@2 commit finalize@3 commit';
  assert.deepEqual(checkAbciGrammar(calls(text)), { ok: true, runs: 2, commits: 3 });
});

test('ABCI-17: any sequence of entries gets a verdict', () => {
  const count = fc.option(fc.nat(5), { nil: undefined });
  const entry: fc.Arbitrary<CallLogEntry> = fc.oneof(
    fc.constant<CallLogEntry>({ event: 'peer' }),
    fc.constant<CallLogEntry>({ event: 'process', pid: 1, timeMs: 1 }),
    fc
      .tuple(fc.constantFrom(...ABCI_METHODS), count, fc.constantFrom('accept', 'reject'), fc.boolean())
      .map(([method, height, result, isRequest]): CallLogEntry => {
        const facts = { connection: 1, method, result, ...(height === undefined ? {} : { height }) };
        return isRequest ? { event: 'request', ...facts } : { event: 'response', ...facts };
      }),
  );
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 40 }), (entries) => {
      const verdict: GrammarVerdict = checkAbciGrammar(entries);
      if (verdict.ok) return;
      assert.ok(verdict.position >= 0 && verdict.position < entries.length);
      assert.equal(checkAbciGrammar(entries.slice(0, verdict.position)).ok, true);
      assert.ok(verdict.expected.length > 0);
    }),
    { numRuns: 2000 },
  );
});

const ENTRIES: readonly CallLogEntry[] = [
  { event: 'peer' },
  { event: 'request', connection: 4, method: 'finalize-block', height: 7, hash: 'ab', txs: 3 },
  { event: 'response', connection: 4, method: 'finalize-block', height: 7, appHash: 'cd' },
  { event: 'request', connection: 2, method: 'check-tx' },
  { event: 'response', connection: 2, method: 'check-tx', result: '5' },
  { event: 'response', connection: 2, method: 'exception', result: 'a "reason"\nin two lines' },
];

test('ABCI-16: what is recorded is read back, over several processes', (t) => {
  const path = `${temporaryFolder(t)}/calls.log`;
  for (let run = 0; run < 2; run++) {
    const log = openCallLog(path);
    for (const entry of ENTRIES) log.record(entry);
    log.close();
  }
  const got = readCallLog(path).map((entry) => (entry.event === 'process' ? 'process' : entry));
  assert.deepEqual(got, ['process', ...ENTRIES, 'process', ...ENTRIES]);
});

test('ABCI-16: a log that is cut anywhere is read without its torn line, and goes on from there', (t) => {
  const path = `${temporaryFolder(t)}/calls.log`;
  const log = openCallLog(path);
  for (const entry of ENTRIES.slice(0, 3)) log.record(entry);
  log.close();
  const whole = readFileSync(path);
  for (let size = 0; size <= whole.length; size++) {
    writeFileSync(path, whole);
    truncateSync(path, size);
    const lines = whole.subarray(0, size).filter((byte) => byte === 0x0a).length;
    assert.equal(readCallLog(path).length, lines);
    const next = openCallLog(path);
    next.record({ event: 'peer' });
    next.close();
    const entries = readCallLog(path);
    assert.equal(entries.length, lines + 2);
    assert.deepEqual(entries.at(-1), { event: 'peer' });
  }
});

test('ABCI-16: a line that is no entry is an error with its number', (t) => {
  const path = `${temporaryFolder(t)}/calls.log`;
  for (const line of [
    '',
    'x',
    '{}',
    '[]',
    'null',
    '{"q":"nothing","c":1}',
    '{"q":"flush","c":-1}',
    '{"q":"flush","c":1,"height":"7"}',
  ]) {
    writeFileSync(path, '{"peer":true}\n');
    appendFileSync(path, `${line}\n{"peer":true}\n`);
    assert.throws(() => readCallLog(path), { name: 'MalformedError', path: 'line 2' }, line);
  }
  writeFileSync(path, 'x'.repeat(200_000));
  assert.throws(() => readCallLog(path), { name: 'MalformedError' });
  assert.throws(() => openCallLog(path), { name: 'MalformedError' });
  assert.equal(readFileSync(path).length, 200_000, 'what is not a log is not cut');
});

test('ABCI-16: a process that is killed leaves whole lines', async (t) => {
  const path = `${temporaryFolder(t)}/calls.log`;
  for (let kill = 0; kill < 2; kill++) {
    const child = spawn(process.execPath, [WRITER, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [told] = (await once(child.stdout, 'data')) as [Buffer];
    await delay(20 * kill);
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.equal(told.toString(), 'flushed 100\n');
    const entries = readCallLog(path);
    const starts = entries.flatMap((entry, i) => (entry.event === 'process' ? [i] : []));
    assert.equal(starts.length, kill + 1);
    // What was flushed is there, and the numbers of the blocks have no gap.
    const own = entries.slice((starts.at(-1) as number) + 1);
    assert.ok(own.length >= 100, `${own.length} entries`);
    own.forEach((entry, i) => {
      assert.equal('height' in entry ? entry.height : -1, i);
    });
  }
});
