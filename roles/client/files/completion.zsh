#compdef fenton
# Completion of fenton in zsh. From Fenton's role client.
_fenton() {
  local -a verbs=(
    '-fs:mount the home directory there'
    '-u:unmount it'
    '-jn:attach to the tmux session'
    '-t:open a tunnel to JupyterLab'
    '-o:open JupyterLab in the browser'
    '-cp:copy; what begins with a colon is there'
    'run:run a command in the tmux session'
    'unzip:unpack an archive there'
    'status:how the server is'
    'doctor:check every link between here and there'
    'jesus:christ'
    '--help:what it can do'
    '--version:which one it is'
  )
  if ((CURRENT == 2)); then
    _describe 'verb' verbs
    return
  fi
  case $words[2] in
    -cp | unzip) _files ;;
    -t) _values 'port' off ;;
    run) _command_names ;;
    jesus) _values 'word' christ ;;
  esac
}
_fenton "$@"
