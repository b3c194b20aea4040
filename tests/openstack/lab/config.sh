# shellcheck shell=bash
# Writes every service's configuration under $ETC. Sourced by up.
write_config() {
mkdir -p "$ETC" "$LOGS" "$PIDS" "$OSLAB_STATE"/{glance/store,glance/staging,glance/tasks,lock,cache,neutron,nova}
chmod 700 "$OSLAB_STATE"
if [ ! -s "$ETC/secrets" ]; then
  ( umask 077
    for n in ADMIN SERVICE USER METADATA; do
      echo "${n}_PASSWORD=$(head -c 18 /dev/urandom | base64 | tr -d '+/=')"
    done > "$ETC/secrets" )
fi
. "$ETC/secrets"

db() { # NAME: the SQLAlchemy address of a database
  echo "mysql+pymysql://root@localhost/$1?unix_socket=$OSLAB_STATE/mariadb/sock&charset=utf8mb4"; }
BUS="rabbit://guest:guest@127.0.0.1:$OSLAB_RABBIT_PORT/"
KS="http://127.0.0.1:$OSLAB_KEYSTONE_PORT/v3"

common() { cat <<X
[oslo_concurrency]
lock_path = $OSLAB_STATE/lock
[oslo_messaging_rabbit]
# On loopback there is nothing to detect, and idle WSGI workers miss beats.
heartbeat_timeout_threshold = 0
[oslo_messaging_notifications]
driver = noop
[database]
max_pool_size = 20
max_overflow = 50
max_retries = 30
X
}
auth() { cat <<X
auth_type = password
auth_url = $KS
project_domain_id = default
user_domain_id = default
project_name = service
username = $1
password = $SERVICE_PASSWORD
region_name = RegionOne
X
}
token() { echo "[keystone_authtoken]"; auth "$1"; cat <<X
www_authenticate_uri = $KS
memcached_servers = 127.0.0.1:$OSLAB_MEMCACHE_PORT
token_cache_time = 300
service_token_roles = service
service_token_roles_required = true
X
}

mkdir -p "$ETC/keystone" "$ETC/placement" "$ETC/glance" "$ETC/neutron" "$ETC/nova"
cat > "$ETC/keystone/keystone.conf" <<X
[DEFAULT]
log_dir =
use_stderr = true
[database]
connection = $(db keystone)
[token]
provider = fernet
expiration = 86400
[fernet_tokens]
key_repository = $ETC/keystone/fernet
[credential]
key_repository = $ETC/keystone/credential
[identity]
# 4 rounds instead of 12: 1 ms instead of 250 ms a login. Tests only.
password_hash_rounds = 4
[cache]
enabled = true
backend = dogpile.cache.memcached
memcache_servers = 127.0.0.1:$OSLAB_MEMCACHE_PORT
[oslo_messaging_notifications]
driver = noop
X

cat > "$ETC/placement/placement.conf" <<X
[DEFAULT]
[placement_database]
connection = $(db placement)
[api]
auth_strategy = keystone
X
token placement >> "$ETC/placement/placement.conf"

cat > "$ETC/glance/glance-api.conf" <<X
[DEFAULT]
bind_host = 127.0.0.1
bind_port = $OSLAB_GLANCE_PORT
workers = 1
enabled_backends = fs:file
enabled_import_methods = [glance-direct]
[glance_store]
default_backend = fs
[fs]
filesystem_store_datadir = $OSLAB_STATE/glance/store
[os_glance_staging_store]
filesystem_store_datadir = $OSLAB_STATE/glance/staging
[os_glance_tasks_store]
filesystem_store_datadir = $OSLAB_STATE/glance/tasks
[paste_deploy]
flavor = keystone
config_file = $OSLAB_VENV/etc/glance/glance-api-paste.ini
X
{ common; echo "connection = $(db glance)"; token glance; } >> "$ETC/glance/glance-api.conf"

cat > "$ETC/neutron/neutron.conf" <<X
[DEFAULT]
bind_host = 127.0.0.1
bind_port = $OSLAB_NEUTRON_PORT
api_workers = $OSLAB_WORKERS
rpc_workers = 0
rpc_state_report_workers = 0
api_paste_config = $OSLAB_VENV/etc/neutron/api-paste.ini
state_path = $OSLAB_STATE/neutron
core_plugin = ml2
service_plugins = router
transport_url = $BUS
auth_strategy = keystone
dhcp_agent_notification = false
notify_nova_on_port_status_changes = false
notify_nova_on_port_data_changes = true
send_events_interval = 1
dns_domain = lab.internal.
[nova]
$(auth nova)
[quotas]
quota_port = 2000
[agent]
root_helper =
X
{ common; echo "connection = $(db neutron)"; token neutron; } >> "$ETC/neutron/neutron.conf"
cat > "$ETC/neutron/ml2.ini" <<X
[ml2]
type_drivers = local,flat,vlan,vxlan
tenant_network_types = vxlan
mechanism_drivers = oslab
extension_drivers = port_security,dns
[ml2_type_flat]
flat_networks = public
[ml2_type_vxlan]
vni_ranges = 1:4000
[securitygroup]
enable_security_group = true
X

cat > "$ETC/nova/nova.conf" <<X
[DEFAULT]
transport_url = $BUS
my_ip = 127.0.0.1
host = controller
state_path = $OSLAB_STATE/nova
enabled_apis = osapi_compute
osapi_compute_listen = 127.0.0.1
osapi_compute_listen_port = $OSLAB_NOVA_PORT
osapi_compute_workers = $OSLAB_WORKERS
allow_resize_to_same_host = true
resume_guests_state_on_host_boot = false
vif_plugging_is_fatal = false
vif_plugging_timeout = 0
report_interval = 5
service_down_time = 15
# Only the API reads it: what it has deleted softly nova-compute here never reclaims.
reclaim_instance_interval = ${OSLAB_SOFT_DELETE:-0}
[compute]
# Failed boots in a row must not switch a fake host off.
consecutive_build_service_disable_threshold = 0
[wsgi]
api_paste_config = $OSLAB_VENV/etc/nova/api-paste.ini
[conductor]
workers = $OSLAB_WORKERS
[scheduler]
workers = 1
discover_hosts_in_cells_interval = 30
[vnc]
enabled = false
[glance]
region_name = RegionOne
[placement]
$(auth placement)
[neutron]
$(auth neutron)
service_metadata_proxy = true
metadata_proxy_shared_secret = $METADATA_PASSWORD
[service_user]
send_service_user_token = true
$(auth nova)
[quota]
instances = 10
X
{ common; token nova; } >> "$ETC/nova/nova.conf"
# Apart: nova-compute must not know the databases.
cat > "$ETC/nova/database.conf" <<X
[database]
connection = $(db nova)
[api_database]
connection = $(db nova_api)
max_pool_size = 20
max_overflow = 50
X
local h
for h in $OSLAB_COMPUTES; do write_compute "$h"; done
}

write_compute() { # HOST
  mkdir -p "$OSLAB_STATE/nova/$1" "$ETC/nova/$1"
  cat > "$ETC/nova/$1/compute.conf" <<X
[DEFAULT]
host = $1
state_path = $OSLAB_STATE/nova/$1
instances_path = $OSLAB_STATE/nova/$1/instances
compute_driver = ${OSLAB_DRIVER:-oslab.Driver}
[oslab]
vcpus = $OSLAB_COMPUTE_VCPUS
memory_mb = $OSLAB_COMPUTE_MEMORY_MB
local_gb = $OSLAB_COMPUTE_DISK_GB
spawn_delay = ${OSLAB_SPAWN_DELAY:-0}
faults_file = $OSLAB_STATE/faults.json
hook = $OSLAB_HOOK
X
}
