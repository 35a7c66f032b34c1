#!/bin/sh
# Installs Chromium for the browser tests through the system's package manager, if there is none.
# Never fails: where it cannot install, the tests say loudly that they were skipped (CI forbids it).
set -u
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "installing chromium for the browser tests"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >/dev/null 2>&1
    apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null 2>&1 && exit 0
fi
echo "no Chromium here and no way to install it: the browser tests will be skipped" >&2
exit 0
