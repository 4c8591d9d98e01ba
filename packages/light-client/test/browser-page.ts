/** Runs in a browser: the recorded cases of the light client, with the crypto that browsers have. */
import { portableCrypto } from '@haca/platform/portable';
import { runSingleStepCase } from './single-step-cases.ts';

const names = (await (await fetch('/data/cases')).json()) as string[];
const results: Record<string, unknown> = {};
for (const name of names) {
  results[name] = runSingleStepCase(portableCrypto, await (await fetch(`/data/${name}`)).json());
}
await fetch('/result', { method: 'POST', body: JSON.stringify({ userAgent: navigator.userAgent, results }) });
