# shellcheck shell=bash
# Shared settings and helpers of the lab cloud. Sourced, never run.
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
: "${OSLAB_DIR:=/tmp/oslab}"              # everything this lab writes
: "${OSLAB_STATE:=$OSLAB_DIR/state}"      # databases, logs, pids, configuration
: "${OSLAB_GUESTS:=$OSLAB_DIR/guests}"    # what guests/hook writes
: "${OSLAB_BRIDGE:=br-lab}"               # the guests' bridge, and the subnet whose first address it has
: "${OSLAB_SUBNET:=10.77.0.0/16}"
: "${OSLAB_CACHE:=/var/cache/slurm-powersave/openstack-lab}"
# Debian's Python (3.9 to 3.12) is built with optimisations, a pyenv one is
# not: it makes the whole cloud half as fast again.
: "${OSLAB_PYTHON:=/usr/bin/python3}"
# The services' virtual environment, kept between runs under what it was made from.
: "${OSLAB_VENV:=$OSLAB_CACHE/$({ "$OSLAB_PYTHON" --version; cat "$HERE/requirements.lock"; } | sha256sum | cut -c1-16)}"
: "${OSLAB_COMPUTES:=fake-01 fake-02 fake-03}"   # one nova-compute each
: "${OSLAB_WORKERS:=2}"
: "${OSLAB_PORT_OFFSET:=0}"              # of all ports: for a second lab
: "${OSLAB_KEYSTONE_PORT:=$((5000 + OSLAB_PORT_OFFSET))}"
: "${OSLAB_NOVA_PORT:=$((8774 + OSLAB_PORT_OFFSET))}"
: "${OSLAB_PLACEMENT_PORT:=$((8778 + OSLAB_PORT_OFFSET))}"
: "${OSLAB_NEUTRON_PORT:=$((9696 + OSLAB_PORT_OFFSET))}"
: "${OSLAB_GLANCE_PORT:=$((9292 + OSLAB_PORT_OFFSET))}"
: "${OSLAB_RABBIT_PORT:=$((5673 + OSLAB_PORT_OFFSET))}"
: "${OSLAB_RABBIT_DIST_PORT:=$((25673 + OSLAB_PORT_OFFSET))}"
: "${OSLAB_EPMD_PORT:=$((4370 + OSLAB_PORT_OFFSET))}"
: "${OSLAB_MEMCACHE_PORT:=$((11212 + OSLAB_PORT_OFFSET))}"
: "${OSLAB_COMPUTE_VCPUS:=400}"           # of each fake hypervisor
: "${OSLAB_COMPUTE_MEMORY_MB:=1600000}"
: "${OSLAB_COMPUTE_DISK_GB:=20000}"
: "${OSLAB_HOOK:=}"                       # program called on spawn/destroy/reboot/rebuild
export OSLAB_DIR OSLAB_VENV OSLAB_STATE OSLAB_GUESTS OSLAB_BRIDGE OSLAB_SUBNET
BIN="$OSLAB_VENV/bin"
ETC="$OSLAB_STATE/etc"
LOGS="$OSLAB_STATE/log"
PIDS="$OSLAB_STATE/pid"
SERVICES="mariadb epmd rabbitmq memcached keystone placement glance neutron nova-conductor nova-scheduler nova-api"
# No proxy may come between services on loopback.
export NO_PROXY="127.0.0.1,localhost${NO_PROXY:+,$NO_PROXY}" no_proxy="127.0.0.1,localhost${no_proxy:+,$no_proxy}"

# Everybody knows /tmp/oslab, and may make something in its place: what is written there must not be led elsewhere.
own_dir() {
  mkdir -p -m 755 "$OSLAB_DIR"
  [ -z "$(find "$OSLAB_DIR" -maxdepth 0 \( ! -type d -o ! -user "$(id -u)" -o -perm /022 \))" ] \
    || die "$OSLAB_DIR is not ours alone: find out who made it, and remove it"
}

say() { awk -v a="${T0:-0}" -v b="$(date +%s.%N)" -v m="$*" 'BEGIN{printf "%7.1fs %s\n", b-a, m}'; }
die() { echo "oslab: $*" >&2; exit 1; }

starttime() { # of a pid, in clock ticks since boot: tells a recycled pid apart
  sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
state_of() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f1; }

alive() { # NAME: is the process we started under that name still running
  local pid st
  [ -s "$PIDS/$1" ] || return 1
  read -r pid st < "$PIDS/$1" || return 1
  [ -n "$st" ] && [ "$(starttime "$pid")" = "$st" ] && [ "$(state_of "$pid")" != Z ]; }

launch() { # NAME COMMAND...: start detached, in its own session, unless running
  local name=$1; shift
  alive "$name" && return 0
  setsid "$@" >> "$LOGS/$name.log" 2>&1 < /dev/null 9>&- &
  local pid=$!
  disown "$pid" 2>/dev/null
  echo "$pid $(starttime "$pid")" > "$PIDS/$name"; }

halt() { # NAME [SECONDS]: TERM, then KILL, the process group we started
  local pid st n=0 limit=$(( ${2:-15} * 10 ))
  if alive "$1"; then
    read -r pid st < "$PIDS/$1"
    kill -TERM "$pid" 2>/dev/null
    while alive "$1" && [ $n -lt $limit ]; do sleep 0.1; n=$((n+1)); done
    kill -KILL -- "-$pid" 2>/dev/null
    n=0; while alive "$1" && [ $n -lt 50 ]; do sleep 0.1; n=$((n+1)); done
  fi
  rm -f "$PIDS/$1"; }

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
wait_port() { # NAME PORT SECONDS
  local n=0
  until port_open "$2"; do
    alive "$1" || { tail -20 "$LOGS/$1.log" >&2; die "$1 died while starting (log: $LOGS/$1.log)"; }
    n=$((n+1)); [ $n -gt $(( $3 * 5 )) ] && die "$1 does not answer on port $2 after $3 s"
    sleep 0.2
  done; }
