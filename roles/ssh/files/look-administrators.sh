# For each user given: a line "NAME ok", or "NAME" and what is missing.
for name do
  home=$(getent passwd "$name" | cut -d: -f6)
  if [ -z "$home" ]; then echo "$name has no account"; continue; fi
  if ! grep -qE '^[^#[:space:]]' "$home/.ssh/authorized_keys" 2>/dev/null; then
    echo "$name has no key in $home/.ssh/authorized_keys"; continue
  fi
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
