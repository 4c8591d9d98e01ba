import { parseArgs } from 'node:util';

export interface DevnetOptions {
  /** Run the demo once and exit instead of staying up. */
  readonly once: boolean;
  /** One JSON object on standard output, progress on standard error. */
  readonly json: boolean;
  readonly prompt: string;
  /** Where keys, state and logs live; a fresh network is made when it is not there. */
  readonly home: string | null;
}

export const DEVNET_HELP = `Usage: npm start [-- OPTIONS]

Starts the local network: a full node with the embedded consensus engine, two inference nodes with a test
enclave, and a local paying and verifying endpoint for any OpenAI client. Runs one chat request and follows
its receipt to finality.

  --once           run the demo, print the result, stop
  --json           one JSON object on standard output (with --once)
  --prompt TEXT    what to ask (default: "What is HACA?")
  --home DIR       keep keys, chain and logs there and continue it next time (default: a fresh network)
  --engine NAME    embedded (cometbft is not part of this version)
  --help

Examples
  npm start
  npm start -- --once --json
  npm start -- --prompt "Why is the sky blue?"
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
        validators: { type: 'string', default: '1' },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) return { exitCode: 0, text: DEVNET_HELP };
    if (values.engine !== 'embedded' || values.validators !== '1') {
      return {
        exitCode: 2,
        text: 'This version runs the embedded engine with one validator; --engine cometbft is not part of it.\n',
      };
    }
    return { once: values.once, json: values.json, prompt: values.prompt, home: values.home ?? null };
  } catch (error) {
    return { exitCode: 2, text: `${(error as Error).message}\n\n${DEVNET_HELP}` };
  }
}
