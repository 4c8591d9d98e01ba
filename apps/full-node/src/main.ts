/** The program of a full node: run it, or prepare a folder for one. */
import { INIT_HELP, initFullNode } from './init.ts';
import { MAINTAIN_HELP, reindexFullNode, rollbackFullNode } from './maintain.ts';
import { exitCodeOf } from './process-log.ts';
import { runFullNode } from './run.ts';

const HELP = `Usage: haca node full --config FILE      run a full node; one JSON line on standard output when it is ready
       haca node full init [flags]        prepare a folder to join a network
       haca node full rollback | reindex  mend the data of a node that is stopped

${INIT_HELP}
${MAINTAIN_HELP}`;

const EXIT_USAGE = 2;

const WORK: Readonly<Record<string, (args: readonly string[]) => Promise<string>>> = {
  init: initFullNode,
  rollback: rollbackFullNode,
  reindex: reindexFullNode,
};

async function main(args: readonly string[]): Promise<void> {
  const [first = '', second] = args;
  const work = Object.hasOwn(WORK, first) ? WORK[first] : undefined;
  if (args.includes('--help') || args.includes('-h')) process.stdout.write(HELP);
  else if (work !== undefined) process.stdout.write(await work(args.slice(1)));
  else if (first === '--config' && second !== undefined) await runFullNode(second);
  else if (first !== '' && args.length === 1 && !first.startsWith('-')) await runFullNode(first);
  else {
    process.stderr.write(HELP);
    process.exit(EXIT_USAGE);
  }
}

await main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`haca node full: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(exitCodeOf(error));
});
