# For each user given: a line "NAME ok", or "NAME" or a sentence and what is missing.
today=$(($(date +%s) / 86400))
for name do
  IFS=: read -r _ _ _ _ _ home shell <<END
$(getent passwd "$name")
END
  if [ -z "$home" ]; then echo "$name has no account"; continue; fi
  keys=$home/.ssh/authorized_keys
  if ! grep -qE '^[^#[:space:]]' "$keys" 2>/dev/null; then
    echo "$name has no key in $keys"; continue
  fi
  # sshd reads no keys that others could have written.
  odd=$(find "$home" "$home/.ssh" "$keys" -maxdepth 0 ! -user "$name" ! -user root -printf '%p belongs to %u, not to ' -quit)
  if [ -n "$odd" ]; then echo "$odd$name"; continue; fi
  odd=$(find -L "$home" "$home/.ssh" "$keys" -maxdepth 0 -perm /022 -print -quit)
  if [ -n "$odd" ]; then echo "others may write to $odd of $name"; continue; fi
  case $shell in
    */nologin | */false) shut=yes ;;
    *) shut=; [ -x "${shell:-/bin/sh}" ] || shut=yes ;;
  esac
  if [ -n "$shut" ]; then echo "$name has the shell $shell, which lets nobody in"; continue; fi
  expired=$(getent shadow "$name" | awk -F: -v today="$today" '
    $8 != "" && $8 <= today { print "account"; exit }
    $3 == "0" || ($3 != "" && $5 != "" && $3 + $5 < today) { print "password" }')
  if [ -n "$expired" ]; then echo "the $expired of $name has expired"; continue; fi
  groups=" $(id -nG "$name") "
  case $groups in
    *" sudo "*) ;;
    *) if ! runuser -u "$name" -- sudo -n true 2>/dev/null; then echo "$name may not use sudo"; continue; fi ;;
  esac
  if [ -n "$SSH_ALLOW_GROUPS" ]; then
    in=
    for group in $SSH_ALLOW_GROUPS; do case $groups in *" $group "*) in=yes ;; esac; done
    if [ -z "$in" ]; then echo "$name is in none of the groups $SSH_ALLOW_GROUPS"; continue; fi
  fi
  echo "$name ok"
done
