/** Children and their logs: what a child logged is in the file before anything that follows from it. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { AppProcessError, spawnApp, spawnProgram } from '../src/app-process.ts';

/** More than a pipe holds. */
const LOGGED = 1_000_000;

let home: string;

before(() => {
  home = mkdtempSync(join(tmpdir(), 'haca-app-process-'));
});

after(() => rmSync(home, { recursive: true }));

function appOf(name: string, code: string) {
  const entry = join(home, `${name}.mjs`);
  writeFileSync(entry, code);
  const logFile = join(home, `${name}.log`);
  return { app: spawnApp({ name, entry, configFile: 'none', logFile }), logFile };
}

test('what an app logged before it was ready is in its log when it is', async () => {
  const { app, logFile } = appOf(
    'serves',
    `process.stderr.write('x'.repeat(${LOGGED}) + 'opened');
    console.log(JSON.stringify({ ready: true, port: 7 }));
    process.stdin.resume();`,
  );
  assert.deepEqual(await app.ready, { ready: true, port: 7 });
  assert.equal(readFileSync(logFile, 'utf8').length, LOGGED + 'opened'.length);
  await app.kill();
  assert.equal(await app.exited, undefined, 'it was asked to go');
});

test('what an app said last, before it failed, is in its log when it is known to have failed', async () => {
  const { app, logFile } = appOf(
    'fails',
    `process.stderr.write('x'.repeat(${LOGGED}) + 'no seat'); process.exitCode = 3;`,
  );
  await assert.rejects(
    app.ready,
    (error) =>
      error instanceof AppProcessError && /fails ended with exit code 3; its log is/.test(error.message),
  );
  assert.match(readFileSync(logFile, 'utf8'), /x{1000}no seat$/);
});

test('each line of a program reaches who listens, and its log', async () => {
  const logFile = join(home, 'program.log');
  const lines: string[] = [];
  const args = ['-e', `console.log('one'); console.error('two'); console.log('x'.repeat(70_000))`];
  const onLine = (line: string): void => void lines.push(line);
  const program = spawnProgram({ name: 'program', command: process.execPath, args, logFile, onLine });
  assert.match(String(await program.exited), /program ended with exit code 0/);
  while (lines.length < 3) await new Promise(setImmediate);
  assert.deepEqual(
    lines.map(({ length }) => length).toSorted((a, b) => a - b),
    [3, 3, 65_536],
  );
  while (readFileSync(logFile, 'utf8').length < 70_009) await new Promise(setImmediate);
});
