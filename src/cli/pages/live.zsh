# The live part: names, namespaces and ids of what the daemon runs. No daemon is started.
(( $+functions[_rsx_names] )) ||
_rsx_names() {
    local -a targets
    local line word
    for line in "${(@f)$(_call_program targets rsx complete-names 2>/dev/null)}"; do
        [[ -n $line ]] || continue
        word=${line%%$'\t'*}
        targets+=("${word//:/\\:}:${line#*$'\t'}")
    done
    (( $#targets )) && _describe -t targets target targets
}

(( $+functions[_rsx_targets] )) ||
_rsx_targets() {
    _rsx_names || _files
}

(( $+functions[_rsx_targets_and_files] )) ||
_rsx_targets_and_files() {
    _alternative 'targets:target:_rsx_names' 'files:file:_files'
}
