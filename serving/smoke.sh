#!/usr/bin/env bash
# Asks the official image for a mask, through both protocols. Skipped, and said so, without Docker.
#   serving/smoke.sh photo.jpg "man in yellow shirt"
set -euo pipefail
cd "$(dirname "$0")/.."
if ! docker info >/dev/null 2>&1; then
  echo "smoke.sh: SKIPPED, nothing was tested: Docker is not there or does not run" >&2
  exit 0
fi
[ $# = 2 ] || { echo 'usage: serving/smoke.sh IMAGE "EXPRESSION"' >&2; exit 2; }
[ -d saved_models/cmsa ] || {
  echo "smoke.sh: saved_models/cmsa is missing: keras-cmsa export saved_models/cmsa --model RUN" >&2
  exit 2
}
docker compose -f serving/compose.yaml up --detach
trap 'docker compose -f serving/compose.yaml down' EXIT
for _ in $(seq 60); do
  curl --fail --silent http://127.0.0.1:8501/v1/models/cmsa | grep -q AVAILABLE && break
  sleep 2
done
.venv/bin/python - "$1" "$2" <<'PYTHON'
import sys

from keras_cmsa.serving.client import Client

image, expression = sys.argv[1:]
masks = []
for url in ("http://127.0.0.1:8501", "grpc://127.0.0.1:8500"):
    with Client(url, timeout=120) as client:
        answer = client.segment(image, expression)
    assert answer.valid, url
    print(f"{url}: score {answer.score:.3f}, {answer.mask.sum():,} pixels")
    masks.append(answer.mask)
assert (masks[0] == masks[1]).all(), "the protocols differ"
PYTHON
