/** The addon, or the reason why this host has none: exactly one of the two. */
declare const loaded:
  | { readonly addon: typeof import('./addon.js'); readonly reason?: undefined }
  | { readonly addon?: undefined; readonly reason: string };
export = loaded;
