# For each user given, and the one who came in: "NAME in", or "NAME:" and which of sshd's settings keeps out. All files count, as they
# stand there, read or not. What cannot be judged here counts as in: the new login decides.
mkdir -p /run/sshd
set -f
read -r client _ server port <<END
$SSH_CONNECTION
END

# The setting $1 of $name, on one line; asked often, so without another program.
got() {
  set -- "$1" ''
  while read -r setting value; do
    [ "$setting" != "$1" ] || set -- "$1" "$2${2:+ }$value"
  done <<END
$told
END
  printf '%s\n' "$2"
}

# Whether $name, coming from $client, fits one of the patterns $1; $2 is the answer for networks, which only sshd can compare.
named() {
  for pattern in $1; do
    case $pattern in *@*) from=${pattern##*@} ;; *) from='*' ;; esac
    case $from in */*) [ "$2" = no ] || from='*' ;; esac
    # shellcheck disable=SC2254
    case $name in ${pattern%@*}) case $client in $from) return 0 ;; esac ;; esac
  done
  return 1
}

grouped() {
  for pattern in $1; do
    for group in $(id -nG "$name" 2>/dev/null); do
      # shellcheck disable=SC2254
      case $group in $pattern) return 0 ;; esac
    done
  done
  return 1
}

keyed() {
  home=$(getent passwd "$name" | cut -d: -f6)
  for file in $(got authorizedkeysfile | sed "s|%h|$home|g; s|%u|$name|g"); do
    case $file in none) continue ;; /*) ;; *) file=$home/$file ;; esac
    ! grep -qE '^[^#[:space:]]' "$file" 2>/dev/null || return 0
  done
  [ "$(got authorizedkeyscommand)" != none ]
}

# Prints the setting that keeps $name out; nothing where none does.
obstacle() {
  [ -n "$told" ] || return
  if [ "$(got passwordauthentication) $(got kbdinteractiveauthentication)" = "no no" ]; then
    if [ "$(got pubkeyauthentication)" = no ]; then echo PubkeyAuthentication; return; fi
    if ! keyed; then echo AuthorizedKeysFile; return; fi
  fi
  case " $(got authenticationmethods) " in *" any "* | *" publickey "*) ;; *) echo AuthenticationMethods; return ;; esac
  if [ "$(got forcecommand)" != none ]; then echo ForceCommand; return; fi
  case $name:$(got permitrootlogin) in root:no | root:forced-commands-only) echo PermitRootLogin; return ;; esac
  if named "$(got denyusers)" no; then echo DenyUsers; return; fi
  if [ -n "$(got allowusers)" ] && ! named "$(got allowusers)" yes; then echo AllowUsers; return; fi
  if grouped "$(got denygroups)"; then echo DenyGroups; return; fi
  if [ -n "$(got allowgroups)" ] && ! grouped "$(got allowgroups)"; then echo AllowGroups; return; fi
  case "$server: $(got listenaddress)" in :* | *" 0.0.0.0:"* | *" [::]:"* | *" $server:"* | *" [$server]:"*) ;; *) echo ListenAddress ;; esac
}

[ -n "$client" ] || client=192.0.2.1
judged=
for name in "$@" $SSH_USER; do
  case " $judged " in *" $name "*) continue ;; esac
  judged="$judged $name"
  told=$(/usr/sbin/sshd -T -C "user=$name,host=$client,addr=$client,laddr=${server:-192.0.2.2},lport=${port:-22}" 2>/dev/null)
  what=$(obstacle)
  if [ -z "$what" ]; then echo "$name in"; continue; fi
  echo "$name: $what is $(got "$(echo "$what" | tr '[:upper:]' '[:lower:]')")"
done
