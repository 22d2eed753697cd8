# Helpers of the tour in README.md; needs bash, curl 7.82 or newer and python3.
set -euo pipefail
API=${API:-http://127.0.0.1:8000}
VAR=${VAR:-var}
SINCE=$(date -u +%Y-%m-%dT%H:%M:%S)

# Stop at a refusal; ask again for a few seconds where the machine has not caught up yet.
curl() { command curl -fsS --retry 15 --retry-delay 1 --retry-all-errors "$@"; }

# A header that makes sending twice harmless.
key() { echo "Idempotency-Key: $(uuid)"; }

uuid() { python3 -c 'import uuid; print(uuid.uuid4())'; }

# Values of the answer on standard input, by their paths: json id unit.name
json() {
    python3 -c '
import functools, json, sys
answer = json.load(sys.stdin)
step = lambda value, name: value[int(name)] if isinstance(value, list) else value[name]
print(*(functools.reduce(step, path.split("."), answer) for path in sys.argv[1:]))' "$@"
}

# The newest one-time code for a phone number, once it was "sent": the console provider writes it to the outbox.
code() {
    python3 - "$VAR/outbox.jsonl" "$SINCE" "$1" << 'PYTHON'
import json, pathlib, sys, time
outbox, since, phone = sys.argv[1:]
for _ in range(150):
    lines = pathlib.Path(outbox).read_text().splitlines() if pathlib.Path(outbox).exists() else []
    codes = [line["code"] for line in map(json.loads, lines) if line["to"] == phone and line["at"] >= since]
    if codes:
        sys.exit(print(codes[-1]))
    time.sleep(0.1)
sys.exit("no code was sent")
PYTHON
}
