/**
 * Child process of a test: appends numbered records as fast as it can and prints the highest number that was confirmed,
 * until it is killed or the disk is full.
 */
import { openWriteAheadLog } from '@haca/inference-node';

const log = await openWriteAheadLog(process.argv[2] as string, () => undefined);
let confirmed = 0;
for (let next = 1; next < 100_000 && log.failure() === undefined; next++) {
  const bytes = Buffer.alloc(300);
  bytes.writeUInt32BE(next, 0);
  log.append(new Uint8Array(bytes)).then(
    () => {
      confirmed = Math.max(confirmed, next);
    },
    () => undefined,
  );
  if (next % 3 === 0) {
    await new Promise((settle) => setTimeout(settle, 0));
    process.stdout.write(`${confirmed}\n`);
  }
}
const later = await log.append(Uint8Array.of(1)).catch((error: Error) => error.name);
process.stdout.write(`failed after ${confirmed}, then ${later}\n`);
