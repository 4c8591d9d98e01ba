/** The program of a full node: run it, or prepare a folder for one. */
import { MalformedError, UsageError } from '@haca/primitives';
import { INIT_HELP, initFullNode } from './init.ts';
import { MAINTAIN_HELP, reindexFullNode, rollbackFullNode } from './maintain.ts';
import { runFullNode } from './run.ts';

const HELP = `Usage: haca node full --config FILE      run a full node; one JSON line on standard output when it is ready
       haca node full init [flags]        prepare a folder to join a network
       haca node full rollback | reindex  mend the data of a node that is stopped

${INIT_HELP}
${MAINTAIN_HELP}`;

const EXIT_USAGE = 2;

async function main(args: readonly string[]): Promise<void> {
  const [first, second] = args;
  if (first === 'init') return await initFullNode(args.slice(1));
  if (first === 'rollback') return await rollbackFullNode(args.slice(1));
  if (first === 'reindex') return await reindexFullNode(args.slice(1));
  if (first === '--config' && second !== undefined) return await runFullNode(second);
  if (first !== undefined && args.length === 1 && !first.startsWith('-')) return await runFullNode(first);
  process.stderr.write(HELP);
  process.exit(args.includes('--help') || args.includes('-h') ? 0 : EXIT_USAGE);
}

await main(process.argv.slice(2)).catch((error: unknown) => {
  const { code = '' } = error as { code?: string };
  const isInput =
    error instanceof UsageError || error instanceof MalformedError || code.startsWith('ERR_PARSE_ARGS');
  process.stderr.write(`haca node full: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(isInput ? EXIT_USAGE : 1);
});
