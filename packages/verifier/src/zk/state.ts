/** Challenge coordinates and slots of a program while it is executed: each is written once, and read only after that. */
import { COORDINATE_ONE, COORDINATE_ZERO, type Coordinate, type Point, type Slot } from '@haca/circuit';
import { EXT_ONE, EXT_ZERO, type Ext } from '@haca/primitives/zk';
import { Rejection } from './checks.ts';

export interface State {
  readonly setCoordinates: (point: Point, values: readonly Ext[]) => void;
  readonly pointOf: (point: Point) => Ext[];
  readonly setSlot: (slot: Slot, value: Ext) => void;
  readonly slot: (slot: Slot) => Ext;
  /** Every coordinate and every slot was written. */
  readonly isComplete: () => boolean;
}

export function createState(coordinates: number, slots: number): State {
  const coordinateValues: (Ext | undefined)[] = new Array(coordinates).fill(undefined);
  const slotValues: (Ext | undefined)[] = new Array(slots).fill(undefined);
  coordinateValues[COORDINATE_ZERO] = EXT_ZERO;
  coordinateValues[COORDINATE_ONE] = EXT_ONE;
  const write = (list: (Ext | undefined)[], index: number, value: Ext, name: string): void => {
    if (index >= list.length || list[index] !== undefined)
      throw new Rejection('plan', `${name} ${index} is written twice`);
    list[index] = value;
  };
  const read = (list: readonly (Ext | undefined)[], index: number, name: string): Ext => {
    const value = list[index];
    if (value === undefined) throw new Rejection('plan', `${name} ${index} is read before it is written`);
    return value;
  };
  return {
    setCoordinates: (point: readonly Coordinate[], values) => {
      if (point.length !== values.length)
        throw new Rejection('plan', `${values.length} values for ${point.length} coordinates`);
      for (const [i, coordinate] of point.entries())
        write(coordinateValues, coordinate, values[i] as Ext, 'coordinate');
    },
    pointOf: (point) => point.map((coordinate) => read(coordinateValues, coordinate, 'coordinate')),
    setSlot: (slot, value) => write(slotValues, slot, value, 'slot'),
    slot: (slot) => read(slotValues, slot, 'slot'),
    isComplete: () => [...coordinateValues, ...slotValues].every((value) => value !== undefined),
  };
}
