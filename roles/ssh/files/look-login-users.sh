# What sshd would do for each account that may have a shell, with all Match blocks taken into account.
getent passwd | awk -F: '($3 == 0 || $3 >= 1000) && $7 !~ /(nologin|false|sync)$/ { print $1 }' | head -n 50 |
  while read -r name; do
    /usr/sbin/sshd -T -C "user=$name,host=localhost,addr=192.0.2.1" |
      awk -v name="$name" '/^(passwordauthentication|kbdinteractiveauthentication|permitemptypasswords) / { print name, $0 }'
  done
