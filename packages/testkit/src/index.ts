export * from './examples.ts';
export * from './golden.ts';
export * from './mutations.ts';
export * from './record-examples.ts';
