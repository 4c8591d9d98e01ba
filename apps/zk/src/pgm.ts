/** Binary PGM (netpbm): `P5`, width, height and maxval in decimal between white space and comments, then the pixels. */
import { MalformedError } from '@haca/primitives';

const PIXELS_MAX = 2 ** 22;

export function pixelsOfPgm(bytes: Uint8Array): Uint8Array | Uint16Array {
  const head =
    /^P5((?:\s+|#[^\n]*\n)+)(\d{1,7})((?:\s+|#[^\n]*\n)+)(\d{1,7})((?:\s+|#[^\n]*\n)+)(\d{1,5})\s/.exec(
      new TextDecoder('latin1').decode(bytes.subarray(0, 1_024)),
    );
  if (head === null)
    throw new MalformedError('input.pgm', 'input', 'P5, width, height, maxval', 'something else');
  const [width, height, maxval] = [Number(head[2]), Number(head[4]), Number(head[6])];
  const pixels = width * height;
  if (pixels < 1 || pixels > PIXELS_MAX || maxval < 1 || maxval > 65_535)
    throw new MalformedError(
      'input.pgm',
      'input',
      `1 to ${PIXELS_MAX} pixels up to 65535`,
      `${width} x ${height}, ${maxval}`,
    );
  const size = maxval < 256 ? 1 : 2;
  const body = bytes.subarray(head[0].length);
  if (body.length !== size * pixels)
    throw new MalformedError('input.pgm', 'input', `${size * pixels} bytes of pixels`, `${body.length}`);
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  return size === 1 ? body : Uint16Array.from({ length: pixels }, (_, i) => view.getUint16(2 * i));
}
