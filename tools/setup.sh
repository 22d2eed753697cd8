#!/bin/sh
# Make .venv ready for this checkout: find a Python, install the locked packages, put the checkout on the path.
# Done already: back in milliseconds. Cut off half-way: done again from the start. What stands in the way: one sentence.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
needed_mb=900

stop() {
    printf 'phananh: %s\n' "$1" >&2
    exit 1
}

# The stamp is written last; it names what was installed, and where (a virtual environment cannot be moved).
stamp=.venv/ready
wanted="$(cksum < requirements.lock) $root"
if [ "$(cat $stamp 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
    exit 0
fi

mkdir -p var 2>/dev/null && : 2>/dev/null > var/setup.lock || stop "$root cannot be written by this user, or its disk is full: set-up needs about $needed_mb MB there."
if command -v flock > /dev/null; then # two `make` at once: the second waits, and finds the work done
    exec 9> var/setup.lock
    flock 9
    if [ "$(cat $stamp 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
        exit 0
    fi
fi

python=
for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    found=$(python3 -V 2>/dev/null || echo 'no python3 at all')
    stop "Python 3.11 or newer is needed and $found was found: install one (Debian 12 or newer: apt install python3 python3-venv)."
fi
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    stop "$("$python" -V) has no venv module: install it (Debian, Ubuntu: apt install python3-venv) and start again."
free_mb=$(($(df -Pk . | awk 'NR == 2 { print $4 }') / 1024))
[ "$free_mb" -ge $needed_mb ] ||
    stop "The disk is nearly full: set-up needs about $needed_mb MB under $root, and $free_mb MB are free."

printf 'Cài đặt / set-up: %s, locked packages, about a minute …\n' "$("$python" -V)" >&2
log=var/setup.log
clear=--clear # a half-finished environment is thrown away; a whole one of an older lock file is brought up to date
[ ! -e $stamp ] || [ "$(cut -d' ' -f3- $stamp)" != "$root" ] || clear=
rm -f $stamp
{
    "$python" -m venv $clear .venv &&
        .venv/bin/python -m pip install --quiet --no-input --disable-pip-version-check --no-compile \
            --only-binary :all: --require-hashes -r requirements.lock &&
        .venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > var/purelib &&
        printf '%s\n' "$root" > "$(cat var/purelib)/phananh.pth" &&
        printf '#!/bin/sh\nexec "%s/.venv/bin/python" -m app.cli "$@"\n' "$root" > .venv/bin/phananh &&
        chmod +x .venv/bin/phananh &&
        rm var/purelib
} > $log 2>&1 || {
    if grep -qi 'no space left\|quota exceeded' $log; then
        stop "The disk is full: set-up needs about $needed_mb MB under $root (more in $log)."
    fi
    stop "Set-up failed, the next start tries again: $(grep -v '^ *$' $log | tail -n 1) (more in $log)"
}
printf '%s' "$wanted" > $stamp
