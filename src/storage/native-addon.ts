import { createRequire } from 'node:module';

/** The surface of native-aio that the disk uses; native-aio/addon.d.ts has the whole of it. */
export type NativeAddon = typeof import('../../native-aio/addon.d.ts');

/** Exactly one of the two: the addon, or why there is none. */
export type LoadedAddon =
  | { readonly addon: NativeAddon; readonly reason?: undefined }
  | { readonly addon?: undefined; readonly reason: string };

/** From src/storage and, compiled, from dist/src/storage. */
const PLACES = ['../../native-aio/index.js', '../../../native-aio/index.js'];

/** Loads the addon where it was built. Never throws. */
export function loadNativeAddon(): LoadedAddon {
  const require = createRequire(import.meta.url);
  for (const place of PLACES) {
    try {
      return require(place) as LoadedAddon;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') {
        return { reason: (error as Error).message };
      }
    }
  }
  return { reason: 'native-aio is not installed' };
}
