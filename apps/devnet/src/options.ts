import { parseArgs } from 'node:util';

export interface DevnetOptions {
  /** Run the demo once and exit instead of staying up. */
  readonly once: boolean;
  /** One JSON object on standard output, progress on standard error. */
  readonly json: boolean;
  readonly prompt: string;
  /** Where keys, state and logs live; a fresh network is made when it is not there. */
  readonly home: string | null;
  readonly consensus: Consensus;
}

/** What finality comes from. */
export interface Consensus {
  readonly engine: 'embedded' | 'cometbft';
  /** Full nodes, each with an equal vote. */
  readonly validators: number;
}

const VALIDATORS_MAX = 7;

export const DEVNET_HELP = `Usage: npm start [-- OPTIONS]

Starts the local network: full nodes with their consensus engine, two inference nodes in test enclaves (of Nitro's shape,
and of TDX's with a GPU; the second also proves), and a local paying and verifying endpoint for any OpenAI client. Runs
one chat request and one classification with a proof of inference, and follows both receipts to finality.

  --once           run the demo, print the result, stop
  --json           one JSON object on standard output (with --once)
  --prompt TEXT    what to ask (default: "What is HACA?")
  --home DIR       keep keys, chain and logs there and continue it next time (default: a fresh network)
  --engine NAME    embedded (default: one full node, nothing to install) or cometbft (needs Go once, to build it)
  --validators N   full nodes with a vote, 1 to 7 (default 4; with --engine cometbft)
  --help

Examples
  npm start
  npm start -- --once --json
  npm start -- --prompt "Why is the sky blue?"
  npm start -- --engine cometbft --validators 4
`;

/** The options, or the text and exit code to end with. */
export function parseOptions(
  args: readonly string[],
): DevnetOptions | { readonly exitCode: number; readonly text: string } {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        once: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        prompt: { type: 'string', default: 'What is HACA?' },
        home: { type: 'string' },
        engine: { type: 'string', default: 'embedded' },
        validators: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) return { exitCode: 0, text: DEVNET_HELP };
    const consensus = consensusOf(values.engine, values.validators);
    if (typeof consensus === 'string') return { exitCode: 2, text: `${consensus}\n` };
    const { once, json, prompt, home = null } = values;
    return { once, json, prompt, home, consensus };
  } catch (error) {
    return { exitCode: 2, text: `${(error as Error).message}\n\n${DEVNET_HELP}` };
  }
}

/** The engine and its validators, or what is wrong with them. */
function consensusOf(engine: string, validators: string | undefined): Consensus | string {
  if (engine === 'embedded') {
    if (validators === undefined || validators === '1') return { engine, validators: 1 };
    return 'the embedded engine has one validator; several need --engine cometbft';
  }
  if (engine !== 'cometbft') return `--engine is embedded or cometbft, not ${engine}`;
  const count = Number(validators ?? '4');
  if (Number.isInteger(count) && count >= 1 && count <= VALIDATORS_MAX) return { engine, validators: count };
  return `--validators is 1 to ${VALIDATORS_MAX}, not ${validators}`;
}
