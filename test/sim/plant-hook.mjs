/**
 * Loads one source file with changes: the modules that import it get a changed copy, the copy's own imports are those
 * of the original. The file in the source tree is never touched.
 */
let original;
let copy;

/** @param data the URLs of the file and of its changed copy (an .mts file anywhere) */
export function initialize(data) {
  original = data.original;
  copy = data.copy;
}

export async function resolve(specifier, context, next) {
  const parentURL = context.parentURL === copy ? original : context.parentURL;
  const resolved = await next(specifier, { ...context, parentURL });
  return resolved.url === original ? { ...resolved, url: copy } : resolved;
}
