# Completion of fenton in fish. From Fenton's role client.
function __fenton_first
    test (count (commandline -opc)) -eq 1
end
function __fenton_verb
    set -l words (commandline -opc)
    test (count $words) -gt 1; and test $words[2] = $argv[1]
end
complete -c fenton -f
complete -c fenton -n __fenton_first -a -fs -d 'mount the home directory there'
complete -c fenton -n __fenton_first -a -u -d 'unmount it'
complete -c fenton -n __fenton_first -a -jn -d 'attach to the tmux session'
complete -c fenton -n __fenton_first -a -t -d 'open a tunnel to JupyterLab'
complete -c fenton -n __fenton_first -a -o -d 'open JupyterLab in the browser'
complete -c fenton -n __fenton_first -a -cp -d 'copy; what begins with a colon is there'
complete -c fenton -n __fenton_first -a run -d 'run a command in the tmux session'
complete -c fenton -n __fenton_first -a unzip -d 'unpack an archive there'
complete -c fenton -n __fenton_first -a status -d 'how the server is'
complete -c fenton -n __fenton_first -a doctor -d 'check every link between here and there'
complete -c fenton -n __fenton_first -a --help -d 'what it can do'
complete -c fenton -n __fenton_first -a --version -d 'which one it is'
complete -c fenton -n '__fenton_verb -t' -a off
complete -c fenton -n '__fenton_verb -cp; or __fenton_verb unzip' -F
complete -c fenton -n '__fenton_verb jesus' -a christ
