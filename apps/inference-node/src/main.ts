/** `node apps/inference-node/src/main.ts CONFIG.json`: one inference node as a process. */
import { readFileSync } from 'node:fs';
import { ConfigError, parseNodeConfig, startInferenceNode } from '@haca/inference-node';
import { untilAskedToStop } from '@haca/platform';
import { toHex } from '@haca/primitives';

const [file] = process.argv.slice(2);
if (file === undefined || file === '--help') {
  process.stderr.write('Usage: node apps/inference-node/src/main.ts CONFIG.json\n');
  process.exit(file === undefined ? 2 : 0);
}

const log = (line: string): void => {
  process.stderr.write(`${new Date().toISOString()} ${line}\n`);
};

try {
  const node = await startInferenceNode(parseNodeConfig(JSON.parse(readFileSync(file, 'utf8')), file), log);
  void untilAskedToStop().then((reason) => {
    log(`${reason}: finishing and settling what was accepted`);
    void node.close().then(() => process.exit(0));
  });
  const ready = { ready: true, url: node.url, nodeId: toHex(node.nodeId), keyId: toHex(node.keyId()) };
  process.stdout.write(`${JSON.stringify(ready)}\n`);
} catch (error) {
  log(
    error instanceof Error
      ? error instanceof ConfigError
        ? error.message
        : (error.stack ?? error.message)
      : String(error),
  );
  process.exit(error instanceof ConfigError ? 2 : 1);
}
