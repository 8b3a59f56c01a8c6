#!/bin/sh
# The measure of the first run: what a careful administrator would type on one server, straight through, no checks, no second run.
# Same packages, environments and services as site.yml; run as root on a bare server with KEY, URL, SHA256 and PYTHON set.
set -eu
: "${KEY:?}" "${URL:?}" "${SHA256:?}" "${PYTHON:?}"
export DEBIAN_FRONTEND=noninteractive UV_SYSTEM_CERTS=1
user=tom password=$(head -c 15 /dev/urandom | base64)

# --- base
# What listens gets its settings before it starts.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get update -qq
apt-get install -y -qq --no-install-recommends \
  acl bash-completion build-essential bzip2 ca-certificates curl dbus-user-session earlyoom file git htop jq less libpam-systemd lsof man-db nano \
  libjs-chart.js needrestart nftables nginx openssh-client openssl pciutils prometheus prometheus-alertmanager prometheus-blackbox-exporter \
  prometheus-node-exporter prometheus-node-exporter-collectors python3-apt python3-debian python3-venv rsync sudo systemd-timesyncd \
  tmux tzdata unattended-upgrades unzip vim wget xz-utils zip
rm /usr/sbin/policy-rc.d
useradd -m -s /bin/bash -G sudo,adm,systemd-journal "$user"
install -d -m 700 -o "$user" -g "$user" "/home/$user/.ssh"
echo "$KEY" >"/home/$user/.ssh/authorized_keys"
chown "$user:$user" "/home/$user/.ssh/authorized_keys"
echo "$user ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/95-administrators
chmod 440 /etc/sudoers.d/95-administrators
ln -sf /usr/share/zoneinfo/Etc/UTC /etc/localtime
mkdir -p /etc/systemd/journald.conf.d /etc/fenton
printf '[Journal]\nSystemMaxUse=1G\n' >/etc/systemd/journald.conf.d/fenton.conf
systemctl restart systemd-journald
printf 'EARLYOOM_ARGS="-m 3 -s 100 -r 3600"\n' >/etc/default/earlyoom
systemctl start earlyoom
echo 'Unattended-Upgrade::Package-Blacklist { "nvidia-"; "libnvidia-"; };' >/etc/apt/apt.conf.d/52fenton-updates
cat >/etc/fenton/firewall.nft <<'RULES'
table inet fenton {
  chain input {
    type filter hook input priority 0; policy drop;
    iif lo accept
    ct state established,related accept
    meta l4proto { icmp, ipv6-icmp } accept
    tcp dport { 22, 8888, 9443 } accept
  }
}
RULES
nft -f /etc/fenton/firewall.nft

# --- ssh
ssh-keygen -q -t rsa -b 4096 -N '' -f /etc/ssh/ssh_host_rsa_key.new
mv /etc/ssh/ssh_host_rsa_key.new /etc/ssh/ssh_host_rsa_key
mv /etc/ssh/ssh_host_rsa_key.new.pub /etc/ssh/ssh_host_rsa_key.pub
printf 'PermitRootLogin no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n' >/etc/ssh/sshd_config.d/00-plain.conf
sshd -t
systemctl reload ssh

# --- session
loginctl enable-linger "$user"

# --- tls
install -d -m 755 /etc/fenton/tls
cd /etc/fenton/tls
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -keyout ca.key -out ca.pem -subj "/CN=$(hostname)" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout privkey.pem -out leaf.csr -subj "/CN=$(hostname)" 2>/dev/null
printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' "$(hostname)" >leaf.ext
openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -days 397 -extfile leaf.ext -out fullchain.pem 2>/dev/null
cat ca.pem >>fullchain.pem
chown "$user" privkey.pem
cd - >/dev/null

# --- anaconda
installer=/var/cache/${URL##*/}
curl -fsS -o "$installer" "$URL"
echo "$SHA256  $installer" | sha256sum -c --quiet
sh "$installer" -b -p /opt/conda >/dev/null
rm "$installer"
python3 -m venv /usr/local/lib/uv
/usr/local/lib/uv/bin/pip install -q --disable-pip-version-check --require-hashes -r roles/anaconda/files/locks/uv.txt
for environment in science jupyter; do
  /opt/conda/bin/conda create -y -q -p "/opt/conda/envs/$environment" "python=$PYTHON" >/dev/null
  /usr/local/lib/uv/bin/uv pip install -q --python "/opt/conda/envs/$environment/bin/python" --require-hashes --compile-bytecode \
    -r "$(ls roles/*/files/locks/$environment.txt)"
done
/opt/conda/envs/science/bin/python -m ipykernel install --prefix /usr/local --name science >/dev/null

# --- jupyter
hash=$(/opt/conda/envs/jupyter/bin/python -c 'import sys; from jupyter_server.auth import passwd; print(passwd(sys.argv[1]))' "$password")
mkdir -p /etc/jupyter
cat >/etc/jupyter/$user.py <<CONFIG
c = get_config()
c.ServerApp.ip = ""
c.ServerApp.port = 8888
c.ServerApp.open_browser = False
c.ServerApp.certfile = "/etc/fenton/tls/fullchain.pem"
c.ServerApp.keyfile = "/etc/fenton/tls/privkey.pem"
c.IdentityProvider.token = ""
c.PasswordIdentityProvider.hashed_password = "$hash"
c.PasswordIdentityProvider.password_required = True
CONFIG
chown "$user" /etc/jupyter/$user.py
chmod 400 /etc/jupyter/$user.py
cat >/etc/systemd/system/jupyter@.service <<'UNIT'
[Service]
User=%i
WorkingDirectory=~
ExecStart=/opt/conda/envs/jupyter/bin/python -m jupyterlab --config=/etc/jupyter/%i.py
Restart=always
[Install]
WantedBy=multi-user.target
UNIT

# --- exporters, monitoring
starts() { # unit, command
  mkdir -p "/etc/systemd/system/$1.service.d"
  printf '[Service]\nExecStart=\nExecStart=%s\n' "$2" >"/etc/systemd/system/$1.service.d/plain.conf"
}
starts prometheus-node-exporter "/usr/bin/prometheus-node-exporter --web.listen-address=127.0.0.1:9100 --collector.systemd \
  --collector.textfile.directory=/var/lib/prometheus/node-exporter"
starts prometheus-blackbox-exporter "/usr/bin/prometheus-blackbox-exporter --web.listen-address=127.0.0.1:9115 \
  --config.file=/etc/prometheus/blackbox.yml"
starts prometheus "/usr/bin/prometheus --config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=/var/lib/prometheus/metrics2 \
  --storage.tsdb.retention.time=30d --web.listen-address=127.0.0.1:9090"
starts prometheus-alertmanager "/usr/bin/prometheus-alertmanager --config.file=/etc/prometheus/alertmanager.yml \
  --storage.path=/var/lib/prometheus/alertmanager --web.listen-address=127.0.0.1:9093 --cluster.listen-address="
cp -r roles/monitoring/files/rules /etc/prometheus/
cat >/etc/prometheus/prometheus.yml <<'CONFIG'
global: {scrape_interval: 15s, evaluation_interval: 15s}
rule_files: [/etc/prometheus/rules/*.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:9093"]}]}]}
scrape_configs:
  - {job_name: node, static_configs: [{targets: ["127.0.0.1:9100"]}]}
  - job_name: probe
    metrics_path: /probe
    params: {module: [http_2xx], target: ["https://127.0.0.1:8888/api"]}
    static_configs: [{targets: ["127.0.0.1:9115"]}]
CONFIG
promtool check config --syntax-only /etc/prometheus/prometheus.yml >/dev/null
printf 'route: {receiver: nobody}\nreceivers: [{name: nobody}]\n' >/etc/prometheus/alertmanager.yml

# --- dashboard
python3 -m venv --without-pip /usr/local/lib/glances
/usr/local/lib/uv/bin/uv pip install -q --python /usr/local/lib/glances/bin/python --require-hashes --compile-bytecode \
  -r roles/dashboard/files/locks/glances.txt
useradd -r glances
cat >/etc/systemd/system/glances.service <<'UNIT'
[Service]
User=glances
ExecStart=/usr/local/lib/glances/bin/glances -w -B 127.0.0.1 -p 61208 --disable-autodiscover
[Install]
WantedBy=multi-user.target
UNIT
cp -r roles/dashboard/files/page /usr/local/share/plain-page
echo "$user:$(openssl passwd -6 "$password")" >/etc/nginx/users
chown root:www-data /etc/nginx/users
chmod 640 /etc/nginx/users
rm -f /etc/nginx/sites-enabled/default
cat >/etc/nginx/conf.d/plain.conf <<'CONFIG'
server {
  listen 9443 ssl;
  ssl_certificate /etc/fenton/tls/fullchain.pem;
  ssl_certificate_key /etc/fenton/tls/privkey.pem;
  auth_basic Servers;
  auth_basic_user_file /etc/nginx/users;
  root /usr/local/share/plain-page;
  location = /chart.js { alias /usr/share/javascript/chart.js/chart.min.js; }
  location /api/ { proxy_pass http://127.0.0.1:9090/api/v1/; }
  location /live/ { proxy_pass http://127.0.0.1:61208/; }
}
CONFIG
nginx -t -q
systemctl daemon-reload
systemctl enable -q --now "jupyter@$user" glances nginx prometheus prometheus-alertmanager prometheus-blackbox-exporter prometheus-node-exporter
for _ in $(seq 60); do
  curl -fsSk https://127.0.0.1:8888/api >/dev/null 2>&1 && exit 0
  sleep 0.5
done
echo "JupyterLab does not answer" >&2
exit 1
