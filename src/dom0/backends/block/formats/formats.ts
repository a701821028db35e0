/** The formats, one row each, and how an image is opened by the name of its format. */
import { HostFile } from '../host-file.ts';
import { type BlockImage, ImageError } from '../image.ts';
import { RawImage } from './raw.ts';

export interface OpenOptions {
  readonly readOnly: boolean;
}

/** Takes the open file over, unless it throws. */
type Opener = (file: HostFile, options: OpenOptions) => BlockImage;

const FORMATS: Readonly<Record<string, Opener>> = {
  raw: (file, o) => new RawImage(file, o.readOnly),
};

export const formatNames = (): string[] => Object.keys(FORMATS);

/** Opens an image. Throws ImageError with what the user can do. */
export function openImage(path: string, format: string, options: OpenOptions): BlockImage {
  const open = Object.hasOwn(FORMATS, format) ? FORMATS[format] : undefined;
  if (!open) throw new ImageError(`${path}: there is no image format ${format}; there are ${formatNames().join(', ')}`);
  const file = new HostFile(path, options);
  try {
    return open(file, options);
  } catch (e) {
    file.close();
    throw e;
  }
}
