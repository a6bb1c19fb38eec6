#!/bin/sh
# Installs the Debian packages that neap needs and this machine lacks (Debian 12 and 13).
#
#   src/install-deps.sh [build|test|bench|fuzz]
#
# build  what compiles and runs neap, the default
# test   build, and what tests/run.sh needs
# bench  build, and what tests/bench needs
# fuzz   build, and what the preset `fuzz` needs
#
# When nothing is missing it touches nothing and asks nobody. Else it runs apt-get, with sudo
# where it is not root. Services that come with a package are neither started nor enabled.
set -eu

build='ca-certificates curl gcc libc6-dev cmake ninja-build pkg-config
    libcurl4-openssl-dev libedit-dev libgnutls28-dev libhiredis-dev liblua5.4-dev libmicrohttpd-dev libmimalloc-dev
    libsqlite3-dev libssl-dev'
test='lua-cjson-dev ccache check chromium clang-format git haproxy iproute2 jq libsubunit-dev lua-check lua5.4 nftables
    nginx openssl procps prometheus python3 redis-server shellcheck slowhttptest socat sslscan strace testssl.sh tmux'
bench='jq libnginx-mod-http-lua lua-cjson nginx openssl procps python3 wrk'
fuzz='clang libclang-rt-dev llvm'

# Packages of the above that bring a service of the same name.
services='haproxy nginx prometheus redis-server'

set_name=${1:-build}
case $set_name in
build) wanted=$build ;;
test) wanted="$build $test" ;;
bench) wanted="$build $bench" ;;
fuzz) wanted="$build $fuzz" ;;
*)
    echo "usage: $0 [build|test|bench|fuzz]" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "$0: not a Debian system; please install what these packages hold:" >&2
    echo "$wanted" >&2
    exit 0
fi

missing=''
for package in $wanted; do
    # shellcheck disable=SC2016 # dpkg-query expands the field, not the shell
    case $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true) in
    ?i*) ;;
    *) missing="$missing $package" ;;
    esac
done

if [ -z "$missing" ]; then
    echo "packages ($set_name): all there"
    exit 0
fi

as_root=''
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "$0: these packages are missing, and without root or sudo they cannot be installed:$missing" >&2
        exit 3
    fi
    as_root=sudo
fi

echo "packages ($set_name): installing$missing"
if ! $as_root true; then
    echo "$0: sudo refused" >&2
    exit 3
fi

log=$(mktemp)
guard=/usr/sbin/policy-rc.d
guarded=''
tidy() {
    rm -f "$log"
    if [ -n "$guarded" ]; then
        $as_root rm -f "$guard"
        guarded=''
    fi
}
trap tidy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Where a policy on services stands already, it stays as it is.
if [ ! -e "$guard" ]; then
    guarded=yes
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$guard" >/dev/null
    $as_root chmod 755 "$guard"
fi

apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C \
        apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" </dev/null >>"$log" 2>&1
}

# A source that cannot be reached need not be the one that has the packages.
apt update || echo "$0: apt-get update met problems; trying to install all the same" >&2

# shellcheck disable=SC2086 # one word a package
if ! apt install --no-install-recommends $missing; then
    cat "$log" >&2
    echo "$0: apt-get could not install:$missing" >&2
    exit 3
fi

if command -v systemctl >/dev/null 2>&1; then
    for service in $services; do
        case "$missing " in
        *" $service "*) $as_root systemctl disable --quiet "$service" 2>/dev/null || true ;;
        esac
    done
fi
