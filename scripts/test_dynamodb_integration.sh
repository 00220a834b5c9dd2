#!/bin/sh
# The named flows on dynamodb: reads .env, checks the connection, makes what is missing, runs the flows, tells how they went.
set -eu
cd "$(dirname "$0")/.."
if [ -f .env ]; then
    set -a
    . ./.env
    set +a
fi
if [ ! -x "${PYTHON:-.venv/bin/python}" ]; then
    make .venv/.ready
fi
exec "${PYTHON:-.venv/bin/python}" scripts/integration.py dynamodb
