/** Writes a call log as fast as it can until it is killed or a million entries are written; says when the first hundred entries are handed over. */
import { openCallLog } from '../src/abci-socket/call-log.ts';

const log = openCallLog(process.argv[2] as string);
for (let height = 0; height < 1_000_000; height++) {
  log.record({ event: 'request', connection: 1, method: 'finalize-block', height, hash: 'ab'.repeat(32) });
  if (height % 7 === 0) log.flush();
  if (height !== 99) continue;
  log.flush();
  process.stdout.write('flushed 100\n');
  await new Promise((resolve) => setImmediate(resolve));
}
