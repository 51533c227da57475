'use strict';

/**
 * Loads the addon, or says why it cannot be had. Looks beside this file first (built here), then for the platform
 * package of the napi-rs layout (npm/*). Never throws: `addon` is undefined and `reason` tells.
 */

const { version } = require('./package.json');

function platformName() {
  if (process.platform !== 'linux') return undefined;
  const glibc = process.report.getReport().header.glibcVersionRuntime;
  return `linux-${process.arch}-${glibc === undefined ? 'musl' : 'gnu'}`;
}

function load() {
  if (process.env.NATIVE_AIO === 'off') return { reason: 'switched off by NATIVE_AIO=off' };
  const platform = platformName();
  if (platform === undefined) return { reason: `io_uring is a Linux feature, this is ${process.platform}` };
  const problems = [];
  for (const path of [`./native-aio.${platform}.node`, `@dqlited/native-aio-${platform}`]) {
    try {
      const addon = require(path);
      if (addon.version() === version) return { addon };
      problems.push(`${path} is version ${addon.version()}, not ${version}`);
    } catch (error) {
      problems.push(error.code === 'MODULE_NOT_FOUND' ? `${path} is not there` : error.message);
    }
  }
  return { reason: problems.join('; ') };
}

module.exports = load();
