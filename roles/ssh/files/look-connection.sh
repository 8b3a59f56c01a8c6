# How the control node came in: its user, its address, the address and the port here. sudo drops SSH_CONNECTION, so ask the ancestors.
pid=$$
while [ "$pid" -gt 1 ] && ! tr '\0' '\n' <"/proc/$pid/environ" | grep -q '^SSH_CONNECTION='; do
  pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
done
if [ "$pid" -gt 1 ]; then
  tr '\0' '\n' <"/proc/$pid/environ" | sed -n 's/^USER=//p'
  # client's address, client's port, server's address, server's port
  tr '\0' '\n' <"/proc/$pid/environ" | sed -n 's/^SSH_CONNECTION=\([^ ]*\) [^ ]* \([^ ]*\) \([^ ]*\)$/\1\n\2\n\3/p'
fi
