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
        return 1
    fi
}

# Prints the packages of the named groups that are not installed.
missing_packages() {
    local group
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
        set -e
        made=
        if [ ! -e /usr/sbin/policy-rc.d ]; then
            printf "#!/bin/sh\nexit 101\n" >/usr/sbin/policy-rc.d
            chmod +x /usr/sbin/policy-rc.d
            made=yes
        fi
        trap "[ -z \"$made\" ] || rm -f /usr/sbin/policy-rc.d" EXIT
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/tmp/roost-apt.$$ 2>&1 ||
            { tail -30 /tmp/roost-apt.$$; exit 1; }
        rm -f /tmp/roost-apt.$$
    ' sh $missing || die "could not install: $missing
Install them as root (apt-get install $missing), then use --no-install."
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

# configure and make in $build; further arguments go to configure.
build_roost() {
    mkdir -p "$build"
    if [ ! -x "$top/configure" ] || [ "$top/configure.ac" -nt "$top/configure" ]; then
        say "Preparing the build (autoreconf)"
        (cd "$top" && autoreconf -fi >"$build/autoreconf.log" 2>&1) ||
            { tail -20 "$build/autoreconf.log"; die "autoreconf failed"; }
    fi
    if [ ! -f "$build/Makefile" ] || [ "$top/configure" -nt "$build/config.status" ]; then
        say "Configuring in $build"
        (cd "$build" && "$top/configure" -q "$@" >"$build/configure.log" 2>&1) ||
            { tail -40 "$build/configure.log"; die "configure failed"; }
    fi
    say "Building in $build"
    make -C "$build" -j"$(nproc)" all >"$build/make.log" 2>&1 ||
        { grep -E 'error|Error' "$build/make.log" | head -40; die "the build failed; see $build/make.log"; }
}
