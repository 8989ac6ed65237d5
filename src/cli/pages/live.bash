# The live part: names, namespaces and ids of what the daemon runs. No daemon is started; where none runs, files are
# offered as everywhere.
_rsx_live() {
    local cur=$2 word verb='' values='' first=-1 files=0 swallows=0 count=0 i
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((swallows)); then
            swallows=0
        elif [[ $word == -- ]]; then
            first=-1
            break
        elif [[ $word == -* ]]; then
            [[ $values == *" $word "* ]] && swallows=1
        elif [[ -n $verb ]]; then
            ((count += 1))
        else
            verb=$word
            case $verb in
@VERBS@
            esac
        fi
    done
    if [[ $cur == -* ]] || ((first < 0 || count < first || swallows)); then
        _rsx "$@"
        return
    fi

    # The shell takes a colon for the end of a word, but names may hold one: look at the word as it was typed.
    local rsx=rsx whole=${COMP_LINE:0:COMP_POINT} quoted=0 cut='' line
    [[ ${1##*/} == rsx ]] && rsx=$1
    whole=${whole##*[[:blank:]]}
    if [[ $whole == [\"\']* ]]; then
        quoted=1
        whole=${whole:1}
    fi
    [[ $COMP_WORDBREAKS == *:* && $whole == *:* ]] && cut=${whole%"${whole##*:}"}
    COMPREPLY=()
    while IFS=$'\t' read -r line _; do
        [[ $line == "$whole"* ]] || continue
        line=${line#"$cut"}
        ((quoted)) || printf -v line '%q' "$line"
        COMPREPLY+=("$line")
    done < <("$rsx" complete-names 2>/dev/null)

    # Without a name, the shell's own completion of files is the better one.
    ((files && ${#COMPREPLY[@]})) || return 0
    while IFS= read -r line; do
        if [[ -d $line ]]; then
            line+=/
            compopt -o nospace
        fi
        ((quoted)) || printf -v line '%q' "$line"
        COMPREPLY+=("$line")
    done < <(compgen -f -- "$cur")
}

complete -F _rsx_live -o bashdefault -o default rsx
