# Completion of fenton in bash, as old as that of macOS (3.2). From Fenton's role client.
_fenton_offer() {
  # shellcheck disable=SC2207 # words without spaces
  COMPREPLY=($(compgen "$@" -- "${COMP_WORDS[COMP_CWORD]}"))
}

_fenton() {
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    _fenton_offer -W '-fs -u -jn -t -o -cp run unzip status doctor jesus --help --version'
    return
  fi
  case ${COMP_WORDS[1]} in
    -cp | unzip) _fenton_offer -f ;;
    -t) _fenton_offer -W off ;;
    run) [ "$COMP_CWORD" -gt 2 ] || _fenton_offer -c ;;
    jesus) _fenton_offer -W christ ;;
  esac
}
complete -o filenames -F _fenton fenton
