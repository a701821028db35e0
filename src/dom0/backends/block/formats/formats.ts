/** The formats, one row each, and how an image is opened by the name of its format. */
import { existsSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { HostFile } from '../host-file.ts';
import { type BlockImage, ImageError } from '../image.ts';
import { Qcow2Image } from './qcow2/image.ts';
import { RawImage } from './raw.ts';
import { VhdImage } from './vhd/image.ts';

export interface OpenOptions {
  readonly readOnly: boolean;
  /** As HostFileOptions.lock, of all images of the chain. */
  readonly lock?: boolean;
}

/** Images in a chain of backing files: more are taken for a mistake. */
const MAX_CHAIN = 64;

/** Opens what lies behind an image: `names` in order of preference, relative to the image's folder. Read-only. */
type OpenBehind = (names: readonly string[], format: string | undefined) => BlockImage;

/** Takes the open file over, unless it throws. */
type Opener = (file: HostFile, options: OpenOptions, behind: OpenBehind) => BlockImage;

const FORMATS: Readonly<Record<string, Opener>> = {
  raw: (file, o) => new RawImage(file, o.readOnly),
  qcow2: (file, o, behind) => new Qcow2Image(file, { ...o, openBacking: (name, format) => behind([name], format) }),
  vhd: (file, o, behind) => new VhdImage(file, { ...o, openParent: (names) => behind(names, 'vhd') }),
};

export const formatNames = (): string[] => Object.keys(FORMATS);

/** Opens an image. Throws ImageError with what the user can do. */
export function openImage(path: string, format: string, options: OpenOptions): BlockImage {
  return open(path, format, options, []);
}

/** `chain`: identities of the images that this one lies behind. */
function open(path: string, format: string, options: OpenOptions, chain: readonly string[]): BlockImage {
  const opener = Object.hasOwn(FORMATS, format) ? FORMATS[format] : undefined;
  if (!opener)
    throw new ImageError(`${path}: there is no image format ${format}; there are ${formatNames().join(', ')}`);
  const file = new HostFile(path, options);
  try {
    if (chain.includes(file.identity)) throw new ImageError(`${path} lies behind itself in a chain of backing files`);
    if (chain.length >= MAX_CHAIN) throw new ImageError(`${path}: a chain of more than ${MAX_CHAIN} backing files`);
    return opener(file, options, (names, behind) =>
      openBehind(path, names, behind, { readOnly: true, lock: options.lock }, [...chain, file.identity]),
    );
  } catch (e) {
    file.close();
    throw e;
  }
}

function openBehind(
  image: string,
  names: readonly string[],
  format: string | undefined,
  options: OpenOptions,
  chain: readonly string[],
): BlockImage {
  // Guessing would let a guest choose how the file behind its disk is read.
  if (format === undefined) {
    throw new ImageError(
      `${image} does not say what format its backing file has: qemu-img rebase -u -F FORMAT sets it`,
    );
  }
  const paths = names.map((name) => (isAbsolute(name) ? name : resolve(dirname(image), name)));
  const path = paths.find((p) => existsSync(p));
  if (!path) throw new ImageError(`${image}: its backing file ${names[0] ?? ''} is not there`);
  return open(path, format === 'vpc' ? 'vhd' : format, options, chain);
}
