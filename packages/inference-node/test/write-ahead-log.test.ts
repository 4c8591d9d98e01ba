/** The log against crashes at any byte, damage at any bit, and a disk that says no. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openWriteAheadLog, WalCorruptError, WalFailedError } from '@haca/inference-node';
import fc from 'fast-check';

const dir = mkdtempSync(join(tmpdir(), 'haca-wal-'));
after(() => rmSync(dir, { recursive: true, force: true }));

let files = 0;
const freshFile = (): string => join(dir, `log-${files++}`);
const record = (i: number, sizeBytes = 5 + (i % 7)): Uint8Array => new Uint8Array(sizeBytes).fill(i + 1);

async function readAll(file: string): Promise<{ readonly records: Uint8Array[]; readonly places: number[] }> {
  const records: Uint8Array[] = [];
  const places: number[] = [];
  const log = await openWriteAheadLog(file, (bytes, place) => {
    records.push(bytes);
    places.push(place);
  });
  await log.close();
  return { records, places };
}

/** One frame per record, as when nothing arrives while a sync runs. */
async function writeFrames(file: string, count: number): Promise<number[]> {
  const log = await openWriteAheadLog(file, () => undefined);
  const ends: number[] = [];
  for (let i = 0; i < count; i++) {
    await log.append(record(i));
    ends.push(statSync(file).size);
  }
  await log.close();
  return ends;
}

test('HTTP-80 records come back in order, with the places they were written to, however syncs grouped them', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { maxLength: 60 }),
      fc.integer({ min: 1, max: 9 }),
      async (payloads, group) => {
        const file = freshFile();
        const log = await openWriteAheadLog(file, () => undefined);
        const places: number[] = [];
        for (let i = 0; i < payloads.length; i += group) {
          places.push(...(await Promise.all(payloads.slice(i, i + group).map((each) => log.append(each)))));
        }
        for (const [i, place] of places.entries()) assert.deepEqual(await log.read(place), payloads[i]);
        await log.close();
        assert.deepEqual(await readAll(file), { records: payloads, places });
      },
    ),
    { numRuns: 25 },
  );
});

test('HTTP-80 cut at any byte, the log keeps every record of the frames before the cut and can be written again', async () => {
  const file = freshFile();
  const ends = await writeFrames(file, 6);
  const whole = readFileSync(file);
  for (let length = 0; length <= whole.length; length++) {
    writeFileSync(file, whole.subarray(0, length));
    const kept = ends.filter((end) => end <= length).length;
    const { records } = await readAll(file);
    assert.deepEqual(
      records,
      Array.from({ length: kept }, (_, i) => record(i)),
      `cut at ${length}`,
    );
    const log = await openWriteAheadLog(file, () => undefined);
    await log.append(record(99));
    await log.close();
    assert.equal((await readAll(file)).records.length, kept + 1, `written after a cut at ${length}`);
  }
});

test('HTTP-80 a flipped bit anywhere but in the last frame: the node does not start', async () => {
  const file = freshFile();
  const ends = await writeFrames(file, 4);
  const whole = readFileSync(file);
  for (let at = 0; at < (ends[2] as number); at++) {
    for (const bit of [0, 3, 7]) {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] as number) ^ (1 << bit);
      writeFileSync(file, damaged);
      await assert.rejects(readAll(file), WalCorruptError, `byte ${at} bit ${bit}`);
      assert.deepEqual(readFileSync(file), damaged, 'what is damaged is left for a person to look at');
    }
  }
});

test('HTTP-80 zeros behind the last frame are cut off; a file of something else, or more than a crash can leave, is not touched', async () => {
  const file = freshFile();
  await writeFrames(file, 2);
  const whole = readFileSync(file);
  // A file system that extends before it writes leaves zeros.
  writeFileSync(file, Buffer.concat([whole, Buffer.alloc(5_000)]));
  assert.equal((await readAll(file)).records.length, 2);
  assert.equal(statSync(file).size, whole.length);
  writeFileSync(file, 'PK\u0003\u0004 something else entirely');
  await assert.rejects(readAll(file), WalCorruptError);
  writeFileSync(file, 'HACAWAL');
  assert.equal((await readAll(file)).records.length, 0);
  // More than a crash can leave.
  truncateSync(file, 8);
  writeFileSync(file, Buffer.concat([Buffer.from('HACAWAL1'), Buffer.alloc(6 << 20, 1)]));
  await assert.rejects(readAll(file), WalCorruptError);
});

test('HTTP-80 what was confirmed before a kill is there afterwards', async () => {
  for (let round = 0; round < 3; round++) {
    const file = freshFile();
    const child = spawn(process.execPath, [join(import.meta.dirname, 'wal-writer.ts'), file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let confirmed = 0;
    for await (const piece of child.stdout) {
      confirmed = Number(String(piece).trim().split('\n').at(-1));
      if (confirmed > 20 + 37 * round) break;
    }
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    const { records } = await readAll(file);
    assert.ok(records.length >= confirmed, `${records.length} of ${confirmed} confirmed`);
    for (const [i, bytes] of records.entries()) assert.equal(Buffer.from(bytes).readUInt32BE(0), i + 1);
  }
});

test('HTTP-85 a full disk fails what waits and every later append; what was confirmed before is kept', async () => {
  const file = freshFile();
  // A limit on file sizes is a disk that ends, for this process alone.
  const writer = `ulimit -f 8; exec "$0" "$@"`;
  const args = ['-c', writer, process.execPath, join(import.meta.dirname, 'wal-writer.ts'), file];
  const child = spawn('sh', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  for await (const piece of child.stdout) output += String(piece);
  const [, confirmed, later] = /^failed after (\d+), then (\w+)$/m.exec(output) ?? [];
  assert.equal(later, 'WalFailedError', output);
  const { records } = await readAll(file);
  assert.ok(
    Number(confirmed) > 5 && records.length >= Number(confirmed),
    `${records.length} of ${confirmed}`,
  );
});

test('a closed log takes nothing more', async () => {
  const file = freshFile();
  const open = await openWriteAheadLog(file, () => undefined);
  await open.append(record(1));
  await open.close();
  await assert.rejects(open.append(record(2)), WalFailedError);
  assert.ok(open.failure() instanceof WalFailedError);
  assert.equal((await readAll(file)).records.length, 1);
});

test('a record is 1 byte to 1 MiB; a burst of large ones is read back', async () => {
  const file = freshFile();
  const log = await openWriteAheadLog(file, () => undefined);
  await assert.rejects(log.append(new Uint8Array(0)), RangeError);
  await assert.rejects(log.append(new Uint8Array((1 << 20) + 1)), RangeError);
  const large = Array.from({ length: 12 }, (_, i) => record(i, 1 << 20));
  await Promise.all(large.map((bytes) => log.append(bytes)));
  await log.close();
  assert.deepEqual((await readAll(file)).records, large);
});
