#!/usr/bin/env bash
# Puts the tools that check what is deployed into FOLDER/bin, unless they are at hand: bash tests/deploy/tools.sh FOLDER
#
# promtool comes out of Debian's package of Prometheus, which is not installed: that would start a server.
# dclint (npm) knows the schema of compose files; without npm its test is skipped.
set -euo pipefail
folder=$(cd "$1" && pwd)
mkdir -p "$folder/bin"
if ! command -v promtool > /dev/null && [ ! -x "$folder/bin/promtool" ]; then
  if [ "$(id -u)" = 0 ]; then as_root=(); else as_root=(sudo -n); fi
  "${as_root[@]}" apt-get update -qq
  unpacked=$(mktemp -d)
  (cd "$unpacked" && apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb .)
  install "$unpacked/usr/bin/promtool" "$folder/bin/promtool"
  rm -r "$unpacked"
fi
if ! command -v dclint > /dev/null && [ ! -e "$folder/bin/dclint" ] && command -v npm > /dev/null; then
  npm install --silent --no-audit --no-fund --prefix "$folder/npm" dclint@3.1.0
  ln -s ../npm/node_modules/.bin/dclint "$folder/bin/dclint"
fi
