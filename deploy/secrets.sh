#!/usr/bin/env bash
# Makes the secrets that docker-compose.yml reads from files, each once: random ones, never committed.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets # the files are mounted one by one, and read by the containers' own users
for name in scorer_tokens grafana_password; do
  if [ ! -e "secrets/$name" ]; then
    (umask 077 && head -c 24 /dev/urandom | base64 | tr '+/' '-_' > "secrets/$name.new")
    chmod 444 "secrets/$name.new"
    mv "secrets/$name.new" "secrets/$name"
    echo "deploy/secrets/$name: made"
  fi
done
