/** Runs in a browser: proof files, verified with plain and with compiled kernels. */
import { parseProofFile } from '@haca/circuit';
import { wasmZkKernels } from '@haca/platform/zk-kernels';
import { fromHex, MalformedError } from '@haca/primitives';
import { portableZkKernels, type ZkKernels } from '@haca/primitives/zk';
import { verifyProofFile } from '@haca/verifier';

interface Case {
  readonly file: string;
  readonly verifyingKeyHash: string;
  readonly context: string;
}

const dataOf = async (name: string): Promise<unknown> => (await fetch(`/data/${name}`)).json();
const bytesOf = (base64: string): Uint8Array => Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0));

function outcome({ file, verifyingKeyHash, context }: Case, kernels: ZkKernels): unknown {
  try {
    const hash = fromHex(verifyingKeyHash, 'hash');
    return verifyProofFile(parseProofFile(bytesOf(file)), { verifyingKeyHash: hash, context, kernels });
  } catch (error) {
    if (error instanceof MalformedError) return { malformed: error.message };
    throw error;
  }
}

const kernels = [portableZkKernels, wasmZkKernels(bytesOf((await dataOf('kernels')) as string))];
const results: Record<string, unknown> = {};
for (const name of (await dataOf('names')) as string[]) {
  const one = (await dataOf(name)) as Case;
  results[name] = kernels.map((each) => outcome(one, each));
}
const names = kernels.map(({ name }) => name);
await fetch('/result', {
  method: 'POST',
  body: JSON.stringify({ userAgent: navigator.userAgent, kernels: names, results }),
});
