#!/bin/sh
# Makes a fresh checkout ready: installs the npm dependencies when they are not those of package-lock.json, then builds.
# Called by npm's pre-scripts with whatever Node the system has; --install-only stops before the build.
set -eu
cd "$(dirname "$0")/.."
stamp=node_modules/.turnout-lock
if ! cmp -s package-lock.json "$stamp" 2>/dev/null; then
  echo "turnout: installing dependencies (npm ci)" >&2
  npm ci --no-fund --no-audit --loglevel=error >&2
  cp package-lock.json "$stamp"
fi
[ "${1:-}" = --install-only ] && exit 0
node_modules/.bin/node tools/build.ts
exec node_modules/.bin/node --disable-warning=ExperimentalWarning tools/bundle.ts
