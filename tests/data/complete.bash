# Completes the line $2 as readline would, with the completion script $1, and prints the answers, one a line. Its `rsx`
# knows a few apps, one of which would leave a file behind if a shell evaluated its name.
source "$1"

rsx() {
    [[ $1 == complete-names ]] && printf '%s\twhat it is\n' all api 'my app' shop:web '$(touch evaluated)' 0
}

# There is no readline to tell.
compopt() { :; }

COMP_LINE=$2
COMP_POINT=${#COMP_LINE}
COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
read -ra COMP_WORDS <<<"${COMP_LINE//:/ : }"
[[ $COMP_LINE == *[:[:blank:]] ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_rsx_live rsx "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}"
