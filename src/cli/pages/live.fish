# The live part: names, namespaces and ids of what the daemon runs. No daemon is started.
function __rsx_targets
    rsx complete-names 2>/dev/null
end

@VERBS@
