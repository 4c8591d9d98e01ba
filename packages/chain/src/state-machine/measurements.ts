/**
 * Approved measurements. What one may do is a function of its row and the height; an index of a bounded number of them says
 * which rows there are to compare evidence with.
 */
import { compareBytes } from '@haca/primitives';
import {
  type EvidenceKind,
  type Measurement,
  type MeasurementIndexRecord,
  type MeasurementRecord,
  measurementIdOf,
} from '@haca/protocol';
import type { State } from './state.ts';
import { measurementIndexOf, measurements, putMeasurementIndex } from './tables.ts';

export type MeasurementPhase = 'proposed' | 'active' | 'deprecated' | 'revoked';

export function measurementPhase(
  { activeFrom, deprecatedAt, revokedAt }: MeasurementRecord,
  height: number,
): MeasurementPhase {
  if (revokedAt !== undefined && height >= revokedAt) return 'revoked';
  if (deprecatedAt !== undefined && height >= deprecatedAt) return 'deprecated';
  return height < activeFrom ? 'proposed' : 'active';
}

/** Those of a kind that may open a key at this height, in the order of their ids. */
export function activeMeasurements(state: State, kind: EvidenceKind, height: number): readonly Measurement[] {
  return measurementIndexOf(state)
    .filter((entry) => entry.kind === kind)
    .flatMap(({ measurementId }) => {
      const record = measurements.get(state, measurementId);
      return record !== undefined && measurementPhase(record, height) === 'active'
        ? [record.measurement]
        : [];
    });
}

/** Writes the row and lists it. The caller has seen to it that there is room and that it is new. */
export function addMeasurement(state: State, record: MeasurementRecord): void {
  const { kind } = record.measurement;
  const measurementId = measurementIdOf(record.measurement);
  measurements.put(state, record, measurementId);
  const index = [...measurementIndexOf(state), { kind, measurementId }];
  putMeasurementIndex(
    state,
    index.sort((a, b) => compareBytes(a.measurementId, b.measurementId)),
  );
}

/** What the index has to list at this height: nothing that can never open a key again. */
export function liveIndex(state: State, height: number): MeasurementIndexRecord {
  return measurementIndexOf(state).filter(({ measurementId }) => {
    const record = measurements.get(state, measurementId);
    if (record === undefined) return false;
    const phase = measurementPhase(record, height);
    return phase === 'proposed' || phase === 'active';
  });
}
