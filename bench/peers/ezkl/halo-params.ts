/** Reference strings in the raw format that halo2 reads: the powers and the Lagrange basis in G1, then G2. */
import type { KzgSetup } from '../kzg-setup.ts';

export function encodeHaloParams(setup: KzgSetup, k: number): Uint8Array {
  return Buffer.concat([
    Uint8Array.of(k, 0, 0, 0),
    setup.powers(2 ** k),
    setup.lagrangeBasis(k),
    setup.generatorG2,
    setup.tauG2,
  ]);
}
