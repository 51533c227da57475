/** What a person may set in the environment to make a test longer or repeat it; the only place that reads it. */
function setting(name: string): string | undefined {
  // biome-ignore lint/style/noProcessEnv: the documented way to lengthen or repeat a test by hand
  return process.env[name];
}

/** A number from the environment, or `otherwise`. */
export function numberSetting(name: string, otherwise: number): number {
  const value = Number(setting(name) ?? otherwise);
  if (!Number.isFinite(value)) throw new Error(`${name} must be a number`);
  return value;
}
