# Shared by ./quickstart and ./run-tests: installing packages and building. Sourced, not run.
# Wants $top, the source tree. Sets $build.

build=${ROOST_BUILD:-$top/build}

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        printf '%s: not root, and there is no sudo\n' "${0##*/}" >&2
        return 1
    fi
}

# Prints the packages of the named groups that are not installed.
missing_packages() {
    local group
    command -v dpkg-query >/dev/null 2>&1 || return 0
    for group in "$@"; do
        awk -v g="$group" '$1 == g { print $2 }' "$top/test/packages"
    done | sort -u | while read -r p; do
        dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || echo "$p"
    done
}

# Installs what is missing of the named groups. Servers among them (PostgreSQL, Postfix) are not
# started: the tests run their own.
install_packages() {
    local missing
    missing=$(missing_packages "$@" | tr '\n' ' ')
    [ -z "${missing// /}" ] && return 0
    command -v apt-get >/dev/null 2>&1 ||
        die "these Debian packages are missing and apt-get is not here: $missing"
    say "Installing: $missing"
    # policy-rc.d is Debian's way to say that nothing shall be started while packages come in.
    as_root sh -c '
        made= log=$(mktemp) || exit 1
        trap "rm -f \"\$log\" \$made" EXIT
        trap "exit 130" INT TERM HUP
        if [ ! -e /usr/sbin/policy-rc.d ]; then
            made=/usr/sbin/policy-rc.d
            printf "#!/bin/sh\nexit 101\n" >"$made" && chmod +x "$made" || exit 1
        fi
        apt-get update -qq || echo "apt-get update failed; going on with the lists that are here" >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$log" 2>&1 ||
            { tail -30 "$log" >&2; exit 1; }
    ' sh $missing || die "could not install them.
Have root run:  apt-get install --no-install-recommends $missing
and then repeat this."
}

# With --no-install: says what is missing, since what follows may fail for it.
mention_packages() {
    local missing
    missing=$(missing_packages "$@" | tr '\n' ' ')
    [ -z "${missing// /}" ] || say "Not installed (apt-get install ...): $missing"
}

# The users that own the mail and run what touches none, when root starts Roost.
make_users() {
    local u
    [ "$(id -u)" = 0 ] || return 0
    for u in roost vmail; do
        getent passwd "$u" >/dev/null ||
            useradd --system --user-group --no-create-home --home-dir /nonexistent \
                --shell /usr/sbin/nologin "$u"
    done
}

# configure and make in $build; further arguments go to configure. A build made with other arguments,
# or before what the tests need was installed, is made anew; one without arguments takes any.
build_roost() {
    local wanted tool
    mkdir -p "$build" && [ -w "$build" ] ||
        die "$(id -un) cannot write in $build; use a copy of the source of your own, or ROOST_BUILD=DIR"
    [ ! -f "$top/config.status" ] ||
        die "the source directory itself was configured; run 'make distclean' there first"
    for tool in autoreconf make pkg-config cc; do
        command -v $tool >/dev/null 2>&1 ||
            die "there is no $tool; Debian: apt-get install build-essential autoconf automake pkg-config"
    done
    if [ ! -x "$top/configure" ] || [ "$top/configure.ac" -nt "$top/configure" ]; then
        say "Preparing the build (autoreconf)"
        (cd "$top" && autoreconf -fi >"$build/autoreconf.log" 2>&1) ||
            { tail -20 "$build/autoreconf.log"; die "autoreconf failed"; }
    fi
    wanted=
    [ $# = 0 ] || wanted="$* cmocka=$(pkg-config --modversion cmocka 2>/dev/null)"
    if [ -n "$wanted" ] && [ "$(cat "$build/configured-with" 2>/dev/null)" != "$wanted" ]; then
        [ ! -f "$build/Makefile" ] || make -s -C "$build" clean >/dev/null 2>&1
        rm -rf "$build/Makefile" "$build/build-asan" "$build/build-fuzz"
    fi
    if [ ! -f "$build/Makefile" ] || [ "$top/configure" -nt "$build/config.status" ]; then
        say "Configuring in $build"
        (cd "$build" && "$top/configure" -q "$@" >"$build/configure.log" 2>&1) ||
            { rm -f "$build/Makefile"; tail -40 "$build/configure.log"; die "configure failed"; }
        printf '%s\n' "$wanted" >"$build/configured-with"
    fi
    say "Building in $build"
    make -C "$build" -j"$(nproc)" all >"$build/make.log" 2>&1 ||
        { grep -E 'error|Error' "$build/make.log" | head -40; die "the build failed; see $build/make.log"; }
}
