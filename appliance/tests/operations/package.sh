#!/bin/sh
# Installs, upgrades, goes back, removes and purges the package as an administrator would, in a root of its own: an
# overlay over LOWER, in which nothing of larder is installed. To be run as root, in namespaces of its own for mounts,
# network and processes.
#
#     package.sh OLD.deb NEW.deb SCRATCH [LOWER]
set -eu
old=$1
new=$2
scratch=$3
lower=${4:-/}
root=$scratch/root
url='http://127.0.0.1/filestreamingservice/files/1f0c7a52-3d1e-4b8a-9c55-6f2f0b1d7e44?cacheHostOrigin=tlu.dl.delivery.mp.microsoft.com'

say() {
    echo "-- $*"
}

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

overlay() {
    mkdir -p "$1/upper" "$1/work"
    mount -t overlay overlay -o "lowerdir=$lower,upperdir=$1/upper,workdir=$1/work" "$root" 2>/dev/null
}

inside() {
    chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"
}

# Runs the service as its unit does, but for the sandbox, until it is ready.
start() {
    chroot "$root" /usr/bin/env -i PATH=/usr/bin:/bin setpriv --reuid=larder --regid=larder --clear-groups \
        larder serve --config /etc/larder/larder.toml >>"$scratch/log" 2>&1 &
    serving=$!
    turn=0
    until curl -sf -o /dev/null http://127.0.0.1:9180/readyz; do
        turn=$((turn + 1))
        kill -0 "$serving" && [ "$turn" -lt 600 ] || {
            cat "$scratch/log" >&2
            fail 'larder is not ready'
        }
        sleep 0.1
    done
}

stop() {
    kill -TERM "$serving"
    wait "$serving" || fail "larder ended with $?"
}

# The object is the right one, and comes from where it should.
comes() {
    curl -sf -D "$scratch/head" -o "$scratch/got" "$url" || fail "$1: no answer"
    grep -qi "^x-cache-status: $1" "$scratch/head" || fail "not a $1: $(cat "$scratch/head")"
    cmp "$scratch/got" "$scratch/origin/filestreamingservice/files/1f0c7a52-3d1e-4b8a-9c55-6f2f0b1d7e44"
}

keeps() {
    grep -q '^# edited' "$root/etc/larder/larder.toml" || fail "$1 took the configuration"
    [ -f "$root/etc/larder/conf.d/site.toml" ] || fail "$1 took conf.d"
    [ -f "$root/var/lib/larder/catalogue.redb" ] || fail "$1 took the store"
}

ip link set lo up
# What CAP_NET_BIND_SERVICE or systemd's socket is for.
echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start
mkdir -p "$root"
if ! overlay "$scratch"; then
    # The scratch directory is an overlay itself.
    mkdir "$scratch/memory"
    mount -t tmpfs tmpfs "$scratch/memory"
    overlay "$scratch/memory" || fail 'no overlay can be mounted'
fi
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
cp "$old" "$root/old.deb"
cp "$new" "$root/new.deb"
mkdir -p "$scratch/origin/filestreamingservice/files"
head -c 3000000 /dev/urandom >"$scratch/origin/filestreamingservice/files/1f0c7a52-3d1e-4b8a-9c55-6f2f0b1d7e44"
cat >"$scratch/nginx.conf" <<END
pid $scratch/nginx.pid;
error_log $scratch/nginx.log;
daemon off;
user root;
events {}
http { access_log off; server { listen 127.0.0.1:8000; root $scratch/origin; } }
END

# Indexing the manual pages of all of LOWER takes longer than all else.
if [ -x "$root/usr/bin/debconf-set-selections" ]; then
    echo 'man-db man-db/auto-update boolean false' | inside debconf-set-selections || true
fi

say 'install'
inside dpkg -i /old.deb
inside sh -c '[ "$(stat -c "%U:%G %a" /var/lib/larder)" = "larder:larder 700" ]' || fail 'the store is not larder'"'"'s'
inside larder check-config /etc/larder/larder.toml
echo '# edited' >>"$root/etc/larder/larder.toml"
mkdir "$root/etc/larder/conf.d"
cat >"$root/etc/larder/conf.d/site.toml" <<END
[origins.connect]
"tlu.dl.delivery.mp.microsoft.com" = "http://127.0.0.1:8000"
END
nginx -c "$scratch/nginx.conf" 2>/dev/null &
origin=$!
start
comes MISS
comes HIT
kill "$origin"
# What was stored for a second is there for good.
stop

say 'upgrade'
inside dpkg -i /new.deb
keeps 'the upgrade'
start
comes HIT
stop

say 'back to the release before'
inside dpkg -i /old.deb
keeps 'the downgrade'
start
comes HIT
stop

say 'remove'
inside dpkg --remove larder
[ ! -e "$root/usr/bin/larder" ] || fail 'the program is still there'
keeps 'the removal'
inside dpkg -i /new.deb
start
comes HIT
stop

say 'purge'
echo secret >"$root/etc/larder/key.pem"
inside dpkg --purge larder >"$scratch/purge" 2>&1 || fail "purge: $(cat "$scratch/purge")"
grep -q 'purge takes the store in /var/lib/larder (' "$scratch/purge" || fail "it does not say so: $(cat "$scratch/purge")"
grep -q '/etc/larder holds files that no package brought' "$scratch/purge" || fail 'it does not say what it leaves'
[ ! -e "$root/var/lib/larder" ] || fail 'the store is still there'
[ "$(ls "$root/etc/larder")" = key.pem ] || fail "left in /etc/larder: $(ls "$root/etc/larder")"
say 'all is well'
