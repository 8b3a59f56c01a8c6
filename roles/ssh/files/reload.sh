# Let sshd read its configuration; sessions go on. Under ssh.socket systemd holds the port, and a generator has read it.
if systemctl is-active --quiet ssh.socket; then
  systemctl daemon-reload
  systemctl stop ssh.service
  systemctl restart ssh.socket
else
  # A server that a socket has started, and that has lost it, cannot open the port again by itself and ends.
  systemctl reload-or-restart ssh.service || systemctl restart ssh.service
fi
sleep 0.5
