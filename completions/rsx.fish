# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_rsx_global_optspecs
    string join \n json s/silent no-color v/version h/help
end

function __fish_rsx_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_rsx_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_rsx_using_subcommand
    set -l cmd (__fish_rsx_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c rsx -n "__fish_rsx_needs_command" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_needs_command" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_needs_command" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_needs_command" -s v -l version -d 'Print the release'
complete -c rsx -n "__fish_rsx_needs_command" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "start" -d 'Make apps run, and be ready when this returns'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "restart" -d 'Stop and start, also what is stopped; of a file: apply it, and restart what is unchanged'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "reload" -d 'Restart without downtime; in fork mode there is no such thing, and it restarts'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "startOrRestart" -d 'Apply config files, and restart what is unchanged'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "startOrReload" -d 'Apply config files, and reload what is unchanged'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "startOrGracefulReload" -d 'Apply config files, and reload what is unchanged'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "scale" -d 'Change the number of instances'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "stop" -d 'Stop, and keep in the list'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "delete" -d 'Stop and forget'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "del" -d 'Stop and forget'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "serve" -d 'Serve static files'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "ls" -d 'The table of all instances'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "list" -d 'The table of all instances'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "l" -d 'The table of all instances'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "ps" -d 'The table of all instances'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "status" -d 'The table of all instances'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "jlist" -d 'The list as JSON in the shape of PM2'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "prettylist" -d 'The same, as PM2 prints it for people'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "describe" -d 'Everything about one app'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "desc" -d 'Everything about one app'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "show" -d 'Everything about one app'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "info" -d 'Everything about one app'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "why" -d 'What happened to it, what was decided, and what comes next'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "monit" -d 'The dashboard: instances, graphs, logs, and what can be done about them'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "dash" -d 'The dashboard: instances, graphs, logs, and what can be done about them'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "dashboard" -d 'The dashboard: instances, graphs, logs, and what can be done about them'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "env" -d 'The variables that it is started with, secrets hidden'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "id" -d 'Ids'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "signal" -d 'Send a signal to its main process'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "send" -d 'Write a line to its standard input'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "reset" -d 'Set its restart counters back'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "flush" -d 'Empty log files, and remove their archives'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "rotate" -d 'Put log files away as archives'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "reload-logs" -d 'Open all log files anew, after they were moved'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "doctor" -d 'What this machine offers, what is missing, and what that costs'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "logs" -d 'History of the logs, then what comes'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "log" -d 'History of the logs, then what comes'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "pid" -d 'Process ids, one a line'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "events" -d 'The stream of changes, one a line'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "metrics" -d 'All figures, for Prometheus'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "ping" -d 'Is the daemon there'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "save" -d 'Keep a copy of the list, for `resurrect`'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "dump" -d 'Keep a copy of the list, for `resurrect`'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "resurrect" -d 'Start what was saved, and what ran before the daemon ended'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "update" -d 'Hand over to the installed rsx, or to another one; no app notices'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "kill" -d 'Stop all apps and the daemon'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "check" -d 'All problems of a config file, before it is applied'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "init" -d 'Write a commented ecosystem.toml'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "import" -d 'What PM2 has saved, as an ecosystem.toml: printed, written or started'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "version" -d 'The release'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "man" -d 'The manual page of a verb, of rsx, or of ecosystem.toml'
complete -c rsx -n "__fish_rsx_needs_command" -f -a "completions" -d 'A script that completes verbs, flags and names of apps'
complete -c rsx -n "__fish_rsx_using_subcommand start" -l env -d 'Take the variables of `env_NAME`, too' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -l only -d 'Only these apps of the file' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -l parallel -d 'Start or restart so many instances at a time; default: all' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -s i -l instances -d 'How many instances: a number, `max`, -1 for one less than there are cores' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -s n -l name -d 'Its name; default: the script\'s without extension' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -s N -l namespace -d 'The group it belongs to' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -l interpreter -l interp -d 'What executes the script; `none`: the script itself' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -l interpreter-args -l node-args -d 'Arguments before the script' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -l cwd -d 'The working directory' -r -f -a "(__fish_complete_directories)"
complete -c rsx -n "__fish_rsx_using_subcommand start" -s o -l output -l out -d 'The file for standard output' -r -F
complete -c rsx -n "__fish_rsx_using_subcommand start" -s e -l error -l err -d 'The file for standard error' -r -F
complete -c rsx -n "__fish_rsx_using_subcommand start" -s l -l log -d 'One more file for both' -r -F
complete -c rsx -n "__fish_rsx_using_subcommand start" -l log-date-format -d 'Begin each line with the time in this form: `YYYY-MM-DD HH:mm:ss`' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -l log-type -d 'What a line is: `raw`, or `json` for an object with its time, app, instance, stream and message' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -s p -l pid -d 'The file that holds its pid while it runs' -r -F
complete -c rsx -n "__fish_rsx_using_subcommand start" -l restart-delay -d 'Pause before each restart' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -l exp-backoff-restart-delay -d 'First pause of a growing one' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -l max-restarts -d 'Quick exits until it is given up' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -l min-uptime -d 'A shorter life is a quick exit' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -l retry-after -d 'When to try again what was given up; `off`: never' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -l max-memory-restart -d 'Replace it when its processes take more memory: `300M`' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -l stop-exit-codes -d 'Exit codes that mean "finished"' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -l filter-env -d 'Withhold variables of this shell whose names contain one of these; `true`: all but the necessary' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -l listen-timeout -d 'How long it may take to be ready' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -s k -l kill-timeout -d 'How long it may take to end before SIGKILL' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -l stop-signal -d 'The first signal of a stop' -r
complete -c rsx -n "__fish_rsx_using_subcommand start" -l dry-run -d 'Print the plan and change nothing'
complete -c rsx -n "__fish_rsx_using_subcommand start" -l prune -d 'Delete apps that the file no longer declares'
complete -c rsx -n "__fish_rsx_using_subcommand start" -s f -l force -d 'Take over names that another file or folder owns'
complete -c rsx -n "__fish_rsx_using_subcommand start" -s a -l update-env -d 'Existing apps take this shell\'s environment'
complete -c rsx -n "__fish_rsx_using_subcommand start" -l attach -d 'Follow the logs afterwards, until Ctrl-C'
complete -c rsx -n "__fish_rsx_using_subcommand start" -l no-wait -d 'Return as soon as the plan is accepted'
complete -c rsx -n "__fish_rsx_using_subcommand start" -s x -l fork -d 'Run instances side by side, each binding for itself'
complete -c rsx -n "__fish_rsx_using_subcommand start" -l cluster -d 'Let the instances share the ports that they bind; so it is with `--instances` alone'
complete -c rsx -n "__fish_rsx_using_subcommand start" -l no-autostart -d 'Add it to the list without starting it'
complete -c rsx -n "__fish_rsx_using_subcommand start" -l time -d 'Begin each line with the time'
complete -c rsx -n "__fish_rsx_using_subcommand start" -l merge-logs -d 'One log file for all instances'
complete -c rsx -n "__fish_rsx_using_subcommand start" -l disable-logs -d 'Write no logs'
complete -c rsx -n "__fish_rsx_using_subcommand start" -l no-autorestart -d 'Do not restart it when it ends'
complete -c rsx -n "__fish_rsx_using_subcommand start" -l wait-ready -d 'It is ready when it says so: process.send(\'ready\'), READY=1'
complete -c rsx -n "__fish_rsx_using_subcommand start" -l shutdown-with-message -d 'Ask a Node program to end by the message `shutdown`'
complete -c rsx -n "__fish_rsx_using_subcommand start" -l no-treekill -d 'Stop its main process only'
complete -c rsx -n "__fish_rsx_using_subcommand start" -s m -l mini-list -d 'Print a short table afterwards'
complete -c rsx -n "__fish_rsx_using_subcommand start" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand start" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand start" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand start" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l env -d 'Take the variables of `env_NAME`, too' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l only -d 'Only these apps of the file' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l parallel -d 'Start or restart so many instances at a time; default: all' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -s n -l name -d 'Its name; default: the script\'s without extension' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -s N -l namespace -d 'The group it belongs to' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l interpreter -l interp -d 'What executes the script; `none`: the script itself' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l interpreter-args -l node-args -d 'Arguments before the script' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l cwd -d 'The working directory' -r -f -a "(__fish_complete_directories)"
complete -c rsx -n "__fish_rsx_using_subcommand restart" -s o -l output -l out -d 'The file for standard output' -r -F
complete -c rsx -n "__fish_rsx_using_subcommand restart" -s e -l error -l err -d 'The file for standard error' -r -F
complete -c rsx -n "__fish_rsx_using_subcommand restart" -s l -l log -d 'One more file for both' -r -F
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l log-date-format -d 'Begin each line with the time in this form: `YYYY-MM-DD HH:mm:ss`' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l log-type -d 'What a line is: `raw`, or `json` for an object with its time, app, instance, stream and message' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -s p -l pid -d 'The file that holds its pid while it runs' -r -F
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l restart-delay -d 'Pause before each restart' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l exp-backoff-restart-delay -d 'First pause of a growing one' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l max-restarts -d 'Quick exits until it is given up' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l min-uptime -d 'A shorter life is a quick exit' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l retry-after -d 'When to try again what was given up; `off`: never' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l max-memory-restart -d 'Replace it when its processes take more memory: `300M`' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l stop-exit-codes -d 'Exit codes that mean "finished"' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l filter-env -d 'Withhold variables of this shell whose names contain one of these; `true`: all but the necessary' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l listen-timeout -d 'How long it may take to be ready' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -s k -l kill-timeout -d 'How long it may take to end before SIGKILL' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l stop-signal -d 'The first signal of a stop' -r
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l dry-run -d 'Print the plan and change nothing'
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l prune -d 'Delete apps that the file no longer declares'
complete -c rsx -n "__fish_rsx_using_subcommand restart" -s f -l force -d 'Take over names that another file or folder owns'
complete -c rsx -n "__fish_rsx_using_subcommand restart" -s a -l update-env -d 'Existing apps take this shell\'s environment'
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l attach -d 'Follow the logs afterwards, until Ctrl-C'
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l no-wait -d 'Return as soon as the plan is accepted'
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l time -d 'Begin each line with the time'
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l merge-logs -d 'One log file for all instances'
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l disable-logs -d 'Write no logs'
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l no-autorestart -d 'Do not restart it when it ends'
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l wait-ready -d 'It is ready when it says so: process.send(\'ready\'), READY=1'
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l shutdown-with-message -d 'Ask a Node program to end by the message `shutdown`'
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l no-treekill -d 'Stop its main process only'
complete -c rsx -n "__fish_rsx_using_subcommand restart" -s m -l mini-list -d 'Print a short table afterwards'
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand restart" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand restart" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand restart" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l env -d 'Take the variables of `env_NAME`, too' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l only -d 'Only these apps of the file' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l parallel -d 'Start or restart so many instances at a time; default: all' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -s n -l name -d 'Its name; default: the script\'s without extension' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -s N -l namespace -d 'The group it belongs to' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l interpreter -l interp -d 'What executes the script; `none`: the script itself' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l interpreter-args -l node-args -d 'Arguments before the script' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l cwd -d 'The working directory' -r -f -a "(__fish_complete_directories)"
complete -c rsx -n "__fish_rsx_using_subcommand reload" -s o -l output -l out -d 'The file for standard output' -r -F
complete -c rsx -n "__fish_rsx_using_subcommand reload" -s e -l error -l err -d 'The file for standard error' -r -F
complete -c rsx -n "__fish_rsx_using_subcommand reload" -s l -l log -d 'One more file for both' -r -F
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l log-date-format -d 'Begin each line with the time in this form: `YYYY-MM-DD HH:mm:ss`' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l log-type -d 'What a line is: `raw`, or `json` for an object with its time, app, instance, stream and message' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -s p -l pid -d 'The file that holds its pid while it runs' -r -F
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l restart-delay -d 'Pause before each restart' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l exp-backoff-restart-delay -d 'First pause of a growing one' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l max-restarts -d 'Quick exits until it is given up' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l min-uptime -d 'A shorter life is a quick exit' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l retry-after -d 'When to try again what was given up; `off`: never' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l max-memory-restart -d 'Replace it when its processes take more memory: `300M`' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l stop-exit-codes -d 'Exit codes that mean "finished"' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l filter-env -d 'Withhold variables of this shell whose names contain one of these; `true`: all but the necessary' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l listen-timeout -d 'How long it may take to be ready' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -s k -l kill-timeout -d 'How long it may take to end before SIGKILL' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l stop-signal -d 'The first signal of a stop' -r
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l strategy -d 'Replace in batches, or bring up all new ones and then switch at once; default: what the app says' -r -f -a "rolling\t''
blue-green\t''"
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l dry-run -d 'Print the plan and change nothing'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l prune -d 'Delete apps that the file no longer declares'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -s f -l force -d 'Take over names that another file or folder owns'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -s a -l update-env -d 'Existing apps take this shell\'s environment'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l attach -d 'Follow the logs afterwards, until Ctrl-C'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l no-wait -d 'Return as soon as the plan is accepted'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l time -d 'Begin each line with the time'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l merge-logs -d 'One log file for all instances'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l disable-logs -d 'Write no logs'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l no-autorestart -d 'Do not restart it when it ends'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l wait-ready -d 'It is ready when it says so: process.send(\'ready\'), READY=1'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l shutdown-with-message -d 'Ask a Node program to end by the message `shutdown`'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l no-treekill -d 'Stop its main process only'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -s m -l mini-list -d 'Print a short table afterwards'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l abort -d 'End a reload that is under way: what is not replaced for good goes back'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand reload" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand startOrRestart" -l env -d 'Take the variables of `env_NAME`, too' -r
complete -c rsx -n "__fish_rsx_using_subcommand startOrRestart" -l only -d 'Only these apps of the file' -r
complete -c rsx -n "__fish_rsx_using_subcommand startOrRestart" -l parallel -d 'Start or restart so many instances at a time; default: all' -r
complete -c rsx -n "__fish_rsx_using_subcommand startOrRestart" -l dry-run -d 'Print the plan and change nothing'
complete -c rsx -n "__fish_rsx_using_subcommand startOrRestart" -l prune -d 'Delete apps that the file no longer declares'
complete -c rsx -n "__fish_rsx_using_subcommand startOrRestart" -s f -l force -d 'Take over names that another file or folder owns'
complete -c rsx -n "__fish_rsx_using_subcommand startOrRestart" -s a -l update-env -d 'Existing apps take this shell\'s environment'
complete -c rsx -n "__fish_rsx_using_subcommand startOrRestart" -l attach -d 'Follow the logs afterwards, until Ctrl-C'
complete -c rsx -n "__fish_rsx_using_subcommand startOrRestart" -l no-wait -d 'Return as soon as the plan is accepted'
complete -c rsx -n "__fish_rsx_using_subcommand startOrRestart" -s m -l mini-list -d 'Print a short table afterwards'
complete -c rsx -n "__fish_rsx_using_subcommand startOrRestart" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand startOrRestart" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand startOrRestart" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand startOrRestart" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand startOrReload" -l env -d 'Take the variables of `env_NAME`, too' -r
complete -c rsx -n "__fish_rsx_using_subcommand startOrReload" -l only -d 'Only these apps of the file' -r
complete -c rsx -n "__fish_rsx_using_subcommand startOrReload" -l parallel -d 'Start or restart so many instances at a time; default: all' -r
complete -c rsx -n "__fish_rsx_using_subcommand startOrReload" -l dry-run -d 'Print the plan and change nothing'
complete -c rsx -n "__fish_rsx_using_subcommand startOrReload" -l prune -d 'Delete apps that the file no longer declares'
complete -c rsx -n "__fish_rsx_using_subcommand startOrReload" -s f -l force -d 'Take over names that another file or folder owns'
complete -c rsx -n "__fish_rsx_using_subcommand startOrReload" -s a -l update-env -d 'Existing apps take this shell\'s environment'
complete -c rsx -n "__fish_rsx_using_subcommand startOrReload" -l attach -d 'Follow the logs afterwards, until Ctrl-C'
complete -c rsx -n "__fish_rsx_using_subcommand startOrReload" -l no-wait -d 'Return as soon as the plan is accepted'
complete -c rsx -n "__fish_rsx_using_subcommand startOrReload" -s m -l mini-list -d 'Print a short table afterwards'
complete -c rsx -n "__fish_rsx_using_subcommand startOrReload" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand startOrReload" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand startOrReload" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand startOrReload" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand startOrGracefulReload" -l env -d 'Take the variables of `env_NAME`, too' -r
complete -c rsx -n "__fish_rsx_using_subcommand startOrGracefulReload" -l only -d 'Only these apps of the file' -r
complete -c rsx -n "__fish_rsx_using_subcommand startOrGracefulReload" -l parallel -d 'Start or restart so many instances at a time; default: all' -r
complete -c rsx -n "__fish_rsx_using_subcommand startOrGracefulReload" -l dry-run -d 'Print the plan and change nothing'
complete -c rsx -n "__fish_rsx_using_subcommand startOrGracefulReload" -l prune -d 'Delete apps that the file no longer declares'
complete -c rsx -n "__fish_rsx_using_subcommand startOrGracefulReload" -s f -l force -d 'Take over names that another file or folder owns'
complete -c rsx -n "__fish_rsx_using_subcommand startOrGracefulReload" -s a -l update-env -d 'Existing apps take this shell\'s environment'
complete -c rsx -n "__fish_rsx_using_subcommand startOrGracefulReload" -l attach -d 'Follow the logs afterwards, until Ctrl-C'
complete -c rsx -n "__fish_rsx_using_subcommand startOrGracefulReload" -l no-wait -d 'Return as soon as the plan is accepted'
complete -c rsx -n "__fish_rsx_using_subcommand startOrGracefulReload" -s m -l mini-list -d 'Print a short table afterwards'
complete -c rsx -n "__fish_rsx_using_subcommand startOrGracefulReload" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand startOrGracefulReload" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand startOrGracefulReload" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand startOrGracefulReload" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand scale" -l no-wait -d 'Return as soon as it is accepted'
complete -c rsx -n "__fish_rsx_using_subcommand scale" -s m -l mini-list -d 'Print a short table afterwards'
complete -c rsx -n "__fish_rsx_using_subcommand scale" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand scale" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand scale" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand scale" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rsx -n "__fish_rsx_using_subcommand stop" -l only -d 'Only these apps of a config file' -r
complete -c rsx -n "__fish_rsx_using_subcommand stop" -l no-wait -d 'Return as soon as it is accepted'
complete -c rsx -n "__fish_rsx_using_subcommand stop" -s m -l mini-list -d 'Print a short table afterwards'
complete -c rsx -n "__fish_rsx_using_subcommand stop" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand stop" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand stop" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand stop" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand delete" -l only -d 'Only these apps of a config file' -r
complete -c rsx -n "__fish_rsx_using_subcommand delete" -l no-wait -d 'Return as soon as it is accepted'
complete -c rsx -n "__fish_rsx_using_subcommand delete" -s m -l mini-list -d 'Print a short table afterwards'
complete -c rsx -n "__fish_rsx_using_subcommand delete" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand delete" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand delete" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand delete" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand del" -l only -d 'Only these apps of a config file' -r
complete -c rsx -n "__fish_rsx_using_subcommand del" -l no-wait -d 'Return as soon as it is accepted'
complete -c rsx -n "__fish_rsx_using_subcommand del" -s m -l mini-list -d 'Print a short table afterwards'
complete -c rsx -n "__fish_rsx_using_subcommand del" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand del" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand del" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand del" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand serve" -l basic-auth -d 'Ask for a password' -r
complete -c rsx -n "__fish_rsx_using_subcommand serve" -s n -l name -d 'Its name; default: static-page-server-PORT' -r
complete -c rsx -n "__fish_rsx_using_subcommand serve" -l parallel -d 'Start or restart so many instances at a time; default: all' -r
complete -c rsx -n "__fish_rsx_using_subcommand serve" -l spa -d 'Answer unknown paths with index.html'
complete -c rsx -n "__fish_rsx_using_subcommand serve" -l dry-run -d 'Print the plan and change nothing'
complete -c rsx -n "__fish_rsx_using_subcommand serve" -l prune -d 'Delete apps that the file no longer declares'
complete -c rsx -n "__fish_rsx_using_subcommand serve" -s f -l force -d 'Take over names that another file or folder owns'
complete -c rsx -n "__fish_rsx_using_subcommand serve" -s a -l update-env -d 'Existing apps take this shell\'s environment'
complete -c rsx -n "__fish_rsx_using_subcommand serve" -l attach -d 'Follow the logs afterwards, until Ctrl-C'
complete -c rsx -n "__fish_rsx_using_subcommand serve" -l no-wait -d 'Return as soon as the plan is accepted'
complete -c rsx -n "__fish_rsx_using_subcommand serve" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand serve" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand serve" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand serve" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand ls" -l sort -d 'Sort by a column, `:desc` turns it round' -r
complete -c rsx -n "__fish_rsx_using_subcommand ls" -s m -l mini-list -d 'A short table'
complete -c rsx -n "__fish_rsx_using_subcommand ls" -l watch -d 'Draw it anew whenever something changes, until Ctrl-C'
complete -c rsx -n "__fish_rsx_using_subcommand ls" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand ls" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand ls" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand ls" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand list" -l sort -d 'Sort by a column, `:desc` turns it round' -r
complete -c rsx -n "__fish_rsx_using_subcommand list" -s m -l mini-list -d 'A short table'
complete -c rsx -n "__fish_rsx_using_subcommand list" -l watch -d 'Draw it anew whenever something changes, until Ctrl-C'
complete -c rsx -n "__fish_rsx_using_subcommand list" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand list" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand list" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand list" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand l" -l sort -d 'Sort by a column, `:desc` turns it round' -r
complete -c rsx -n "__fish_rsx_using_subcommand l" -s m -l mini-list -d 'A short table'
complete -c rsx -n "__fish_rsx_using_subcommand l" -l watch -d 'Draw it anew whenever something changes, until Ctrl-C'
complete -c rsx -n "__fish_rsx_using_subcommand l" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand l" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand l" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand l" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand ps" -l sort -d 'Sort by a column, `:desc` turns it round' -r
complete -c rsx -n "__fish_rsx_using_subcommand ps" -s m -l mini-list -d 'A short table'
complete -c rsx -n "__fish_rsx_using_subcommand ps" -l watch -d 'Draw it anew whenever something changes, until Ctrl-C'
complete -c rsx -n "__fish_rsx_using_subcommand ps" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand ps" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand ps" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand ps" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand status" -l sort -d 'Sort by a column, `:desc` turns it round' -r
complete -c rsx -n "__fish_rsx_using_subcommand status" -s m -l mini-list -d 'A short table'
complete -c rsx -n "__fish_rsx_using_subcommand status" -l watch -d 'Draw it anew whenever something changes, until Ctrl-C'
complete -c rsx -n "__fish_rsx_using_subcommand status" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand status" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand status" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand status" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand jlist" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand jlist" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand jlist" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand jlist" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand prettylist" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand prettylist" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand prettylist" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand prettylist" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand describe" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand describe" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand describe" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand describe" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand desc" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand desc" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand desc" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand desc" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand show" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand show" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand show" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand show" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand info" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand info" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand info" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand info" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand why" -s n -l lines -d 'How many last entries of each instance' -r
complete -c rsx -n "__fish_rsx_using_subcommand why" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand why" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand why" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand why" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand monit" -l theme -d '`terminal`: its own colours; `vivid`: graded graphs; `mono`: none, as NO_COLOR does' -r -f -a "terminal\t''
vivid\t''
mono\t''"
complete -c rsx -n "__fish_rsx_using_subcommand monit" -l read-only -d 'Look, and change nothing'
complete -c rsx -n "__fish_rsx_using_subcommand monit" -l no-mouse -d 'Leave clicks to the terminal'
complete -c rsx -n "__fish_rsx_using_subcommand monit" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand monit" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand monit" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand monit" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand dash" -l theme -d '`terminal`: its own colours; `vivid`: graded graphs; `mono`: none, as NO_COLOR does' -r -f -a "terminal\t''
vivid\t''
mono\t''"
complete -c rsx -n "__fish_rsx_using_subcommand dash" -l read-only -d 'Look, and change nothing'
complete -c rsx -n "__fish_rsx_using_subcommand dash" -l no-mouse -d 'Leave clicks to the terminal'
complete -c rsx -n "__fish_rsx_using_subcommand dash" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand dash" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand dash" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand dash" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand dashboard" -l theme -d '`terminal`: its own colours; `vivid`: graded graphs; `mono`: none, as NO_COLOR does' -r -f -a "terminal\t''
vivid\t''
mono\t''"
complete -c rsx -n "__fish_rsx_using_subcommand dashboard" -l read-only -d 'Look, and change nothing'
complete -c rsx -n "__fish_rsx_using_subcommand dashboard" -l no-mouse -d 'Leave clicks to the terminal'
complete -c rsx -n "__fish_rsx_using_subcommand dashboard" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand dashboard" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand dashboard" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand dashboard" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand env" -l show -d 'Show secret-looking values, too'
complete -c rsx -n "__fish_rsx_using_subcommand env" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand env" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand env" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand env" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand id" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand id" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand id" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand id" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand signal" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand signal" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand signal" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand signal" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand send" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand send" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand send" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand send" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand reset" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand reset" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand reset" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand reset" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand flush" -l keep-archives -d 'Leave what was put away before'
complete -c rsx -n "__fish_rsx_using_subcommand flush" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand flush" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand flush" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand flush" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand rotate" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand rotate" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand rotate" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand rotate" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand reload-logs" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand reload-logs" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand reload-logs" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand reload-logs" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand doctor" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand doctor" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand doctor" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand logs" -s n -l lines -d 'How many last lines of each file come first [default: 15, with --since all]' -r
complete -c rsx -n "__fish_rsx_using_subcommand logs" -l since -d 'Lines since then: `10m` ago, or a time; for lines that begin with an ISO 8601 time' -r
complete -c rsx -n "__fish_rsx_using_subcommand logs" -l until -d 'Lines until then, without what comes' -r
complete -c rsx -n "__fish_rsx_using_subcommand logs" -l grep -d 'Only lines that match' -r
complete -c rsx -n "__fish_rsx_using_subcommand logs" -l highlight -d 'Mark this text' -r
complete -c rsx -n "__fish_rsx_using_subcommand logs" -l nostream -l no-follow -l no-stream -d 'Print the history and end'
complete -c rsx -n "__fish_rsx_using_subcommand logs" -l out -d 'Standard output only'
complete -c rsx -n "__fish_rsx_using_subcommand logs" -l err -l error -d 'Standard error only'
complete -c rsx -n "__fish_rsx_using_subcommand logs" -l raw -d 'Lines without the name in front'
complete -c rsx -n "__fish_rsx_using_subcommand logs" -l format -d 'Lines as `timestamp=… app=… id=… type=… message=…`'
complete -c rsx -n "__fish_rsx_using_subcommand logs" -l timestamp -d 'Put the time at which it came in front of each new line'
complete -c rsx -n "__fish_rsx_using_subcommand logs" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand logs" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand logs" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand logs" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand log" -s n -l lines -d 'How many last lines of each file come first [default: 15, with --since all]' -r
complete -c rsx -n "__fish_rsx_using_subcommand log" -l since -d 'Lines since then: `10m` ago, or a time; for lines that begin with an ISO 8601 time' -r
complete -c rsx -n "__fish_rsx_using_subcommand log" -l until -d 'Lines until then, without what comes' -r
complete -c rsx -n "__fish_rsx_using_subcommand log" -l grep -d 'Only lines that match' -r
complete -c rsx -n "__fish_rsx_using_subcommand log" -l highlight -d 'Mark this text' -r
complete -c rsx -n "__fish_rsx_using_subcommand log" -l nostream -l no-follow -l no-stream -d 'Print the history and end'
complete -c rsx -n "__fish_rsx_using_subcommand log" -l out -d 'Standard output only'
complete -c rsx -n "__fish_rsx_using_subcommand log" -l err -l error -d 'Standard error only'
complete -c rsx -n "__fish_rsx_using_subcommand log" -l raw -d 'Lines without the name in front'
complete -c rsx -n "__fish_rsx_using_subcommand log" -l format -d 'Lines as `timestamp=… app=… id=… type=… message=…`'
complete -c rsx -n "__fish_rsx_using_subcommand log" -l timestamp -d 'Put the time at which it came in front of each new line'
complete -c rsx -n "__fish_rsx_using_subcommand log" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand log" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand log" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand log" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand pid" -l daemon -d 'The daemon\'s own'
complete -c rsx -n "__fish_rsx_using_subcommand pid" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand pid" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand pid" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand pid" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand events" -l history -d 'How many past ones come first (the last 1,000 are kept)' -r
complete -c rsx -n "__fish_rsx_using_subcommand events" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand events" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand events" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand events" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand metrics" -l format -d 'OpenMetrics, or Prometheus\' older text format for the textfile collector of its node exporter' -r -f -a "openmetrics\t''
prometheus\t''"
complete -c rsx -n "__fish_rsx_using_subcommand metrics" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand metrics" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand metrics" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand metrics" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rsx -n "__fish_rsx_using_subcommand ping" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand ping" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand ping" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand ping" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand save" -s f -l force -d 'Save an empty list, too'
complete -c rsx -n "__fish_rsx_using_subcommand save" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand save" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand save" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand save" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand dump" -s f -l force -d 'Save an empty list, too'
complete -c rsx -n "__fish_rsx_using_subcommand dump" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand dump" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand dump" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand dump" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand resurrect" -l no-wait -d 'Answer at once, not when the apps are ready'
complete -c rsx -n "__fish_rsx_using_subcommand resurrect" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand resurrect" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand resurrect" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand resurrect" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand update" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand update" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand update" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand update" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand kill" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand kill" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand kill" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand kill" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand check" -l env -d 'Take the variables of `env_NAME`, too' -r
complete -c rsx -n "__fish_rsx_using_subcommand check" -l only -d 'Only these apps of the file' -r
complete -c rsx -n "__fish_rsx_using_subcommand check" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand check" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand check" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand check" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand init" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand init" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand init" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand init" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand import" -l write -d 'Write the apps into this file, which must not exist yet' -r -F
complete -c rsx -n "__fish_rsx_using_subcommand import" -l start -d 'Start the apps'
complete -c rsx -n "__fish_rsx_using_subcommand import" -s f -l force -d 'Start them even if PM2 still runs, and take over names that are in the list'
complete -c rsx -n "__fish_rsx_using_subcommand import" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand import" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand import" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand import" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand version" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand version" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand version" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand version" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand man" -l out -d 'Write all pages into this folder, as man1 and man5' -r -f -a "(__fish_complete_directories)"
complete -c rsx -n "__fish_rsx_using_subcommand man" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand man" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand man" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand man" -s h -l help -d 'Print help'
complete -c rsx -n "__fish_rsx_using_subcommand completions" -l json -d 'Print the answer as JSON on stdout'
complete -c rsx -n "__fish_rsx_using_subcommand completions" -s s -l silent -d 'Print errors only'
complete -c rsx -n "__fish_rsx_using_subcommand completions" -l no-color -d 'Print without colour (as NO_COLOR does)'
complete -c rsx -n "__fish_rsx_using_subcommand completions" -s h -l help -d 'Print help'

# The live part: names, namespaces and ids of what the daemon runs. No daemon is started.
function __rsx_targets
    rsx complete-names 2>/dev/null
end

complete -c rsx -n "__fish_rsx_using_subcommand start" -k -a "(__rsx_targets)"
complete -c rsx -n "__fish_rsx_using_subcommand restart" -k -f -a "(__rsx_targets)"
complete -c rsx -n "__fish_rsx_using_subcommand reload" -k -f -a "(__rsx_targets)"
complete -c rsx -n "__fish_rsx_using_subcommand scale" -k -f -a "(__rsx_targets)"
complete -c rsx -n "__fish_rsx_using_subcommand stop" -k -f -a "(__rsx_targets)"
complete -c rsx -n "__fish_rsx_using_subcommand delete del" -k -f -a "(__rsx_targets)"
complete -c rsx -n "__fish_rsx_using_subcommand ls list l ps status" -f
complete -c rsx -n "__fish_rsx_using_subcommand jlist" -f
complete -c rsx -n "__fish_rsx_using_subcommand prettylist" -f
complete -c rsx -n "__fish_rsx_using_subcommand describe desc show info" -k -f -a "(__rsx_targets)"
complete -c rsx -n "__fish_rsx_using_subcommand why" -k -f -a "(__rsx_targets)"
complete -c rsx -n "__fish_rsx_using_subcommand monit dash dashboard" -f
complete -c rsx -n "__fish_rsx_using_subcommand env" -k -f -a "(__rsx_targets)"
complete -c rsx -n "__fish_rsx_using_subcommand id" -k -f -a "(__rsx_targets)"
complete -c rsx -n "__fish_rsx_using_subcommand signal" -k -f -a "(__rsx_targets)"
complete -c rsx -n "__fish_rsx_using_subcommand send" -k -f -a "(__rsx_targets)"
complete -c rsx -n "__fish_rsx_using_subcommand reset" -k -f -a "(__rsx_targets)"
complete -c rsx -n "__fish_rsx_using_subcommand flush" -k -f -a "(__rsx_targets)"
complete -c rsx -n "__fish_rsx_using_subcommand rotate" -k -f -a "(__rsx_targets)"
complete -c rsx -n "__fish_rsx_using_subcommand reload-logs" -f
complete -c rsx -n "__fish_rsx_using_subcommand doctor" -f
complete -c rsx -n "__fish_rsx_using_subcommand logs log" -k -f -a "(__rsx_targets)"
complete -c rsx -n "__fish_rsx_using_subcommand pid" -k -f -a "(__rsx_targets)"
complete -c rsx -n "__fish_rsx_using_subcommand events" -f
complete -c rsx -n "__fish_rsx_using_subcommand metrics" -f
complete -c rsx -n "__fish_rsx_using_subcommand ping" -f
complete -c rsx -n "__fish_rsx_using_subcommand save dump" -f
complete -c rsx -n "__fish_rsx_using_subcommand resurrect" -f
complete -c rsx -n "__fish_rsx_using_subcommand kill" -f
complete -c rsx -n "__fish_rsx_using_subcommand init" -f -a "simple"
complete -c rsx -n "__fish_rsx_using_subcommand import" -f -a "pm2"
complete -c rsx -n "__fish_rsx_using_subcommand version" -f
complete -c rsx -n "__fish_rsx_using_subcommand man" -f -a "start restart reload startOrRestart startOrReload scale stop delete serve ls jlist prettylist describe why monit env id signal send reset flush rotate reload-logs doctor logs pid events metrics ping save resurrect update kill check init import version man completions ecosystem.toml"
complete -c rsx -n "__fish_rsx_using_subcommand completions" -f -a "bash zsh fish"
