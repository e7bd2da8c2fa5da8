complete -c kimi-code -n __fish_use_subcommand -f -a 'run demo sessions models serve policy sandbox config doctor completion'
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l add-dir
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l api-key-env
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l approval
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l approvals
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l attempts
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l continue
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l cwd
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l fork
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l instant
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l max-steps
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l max-tokens
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l model
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l model-url
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l no-preserve-thinking
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l no-sandbox
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l no-verify
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l output-format
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l plan
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l preserve-thinking
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l prompt
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l resume
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l sandbox
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l thinking
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l timeout
complete -c kimi-code -n '__fish_seen_subcommand_from run' -l verify
complete -c kimi-code -n '__fish_seen_subcommand_from run' -s C
complete -c kimi-code -n '__fish_seen_subcommand_from run' -s c
complete -c kimi-code -n '__fish_seen_subcommand_from run' -s m
complete -c kimi-code -n '__fish_seen_subcommand_from run' -s o
complete -c kimi-code -n '__fish_seen_subcommand_from run' -s p
complete -c kimi-code -n '__fish_seen_subcommand_from run' -s r
complete -c kimi-code -n '__fish_seen_subcommand_from demo' -l keep
complete -c kimi-code -n '__fish_seen_subcommand_from demo' -l model
complete -c kimi-code -n '__fish_seen_subcommand_from demo' -s m
complete -c kimi-code -n '__fish_seen_subcommand_from sessions' -l force
complete -c kimi-code -n '__fish_seen_subcommand_from sessions' -l format
complete -c kimi-code -n '__fish_seen_subcommand_from sessions' -l full
complete -c kimi-code -n '__fish_seen_subcommand_from sessions' -l here
complete -c kimi-code -n '__fish_seen_subcommand_from sessions' -l json
complete -c kimi-code -n '__fish_seen_subcommand_from sessions' -l limit
complete -c kimi-code -n '__fish_seen_subcommand_from sessions' -l output
complete -c kimi-code -n '__fish_seen_subcommand_from sessions' -f -a export
complete -c kimi-code -n '__fish_seen_subcommand_from sessions' -f -a list
complete -c kimi-code -n '__fish_seen_subcommand_from sessions' -f -a rm
complete -c kimi-code -n '__fish_seen_subcommand_from sessions' -f -a show
complete -c kimi-code -n '__fish_seen_subcommand_from sessions' -f -a verify
complete -c kimi-code -n '__fish_seen_subcommand_from models' -l calls
complete -c kimi-code -n '__fish_seen_subcommand_from models' -l json
complete -c kimi-code -n '__fish_seen_subcommand_from models' -l seed
complete -c kimi-code -n '__fish_seen_subcommand_from models' -f -a check
complete -c kimi-code -n '__fish_seen_subcommand_from models' -f -a info
complete -c kimi-code -n '__fish_seen_subcommand_from models' -f -a list
complete -c kimi-code -n '__fish_seen_subcommand_from models' -f -a pull
complete -c kimi-code -n '__fish_seen_subcommand_from models' -f -a rm
complete -c kimi-code -n '__fish_seen_subcommand_from serve' -l ctx
complete -c kimi-code -n '__fish_seen_subcommand_from serve' -l model
complete -c kimi-code -n '__fish_seen_subcommand_from serve' -l port
complete -c kimi-code -n '__fish_seen_subcommand_from serve' -l socket
complete -c kimi-code -n '__fish_seen_subcommand_from serve' -s m
complete -c kimi-code -n '__fish_seen_subcommand_from policy' -l cwd
complete -c kimi-code -n '__fish_seen_subcommand_from policy' -l json
complete -c kimi-code -n '__fish_seen_subcommand_from policy' -f -a check
complete -c kimi-code -n '__fish_seen_subcommand_from sandbox' -l cwd
complete -c kimi-code -n '__fish_seen_subcommand_from sandbox' -l network
complete -c kimi-code -n '__fish_seen_subcommand_from sandbox' -s C
complete -c kimi-code -n '__fish_seen_subcommand_from config' -l cwd
complete -c kimi-code -n '__fish_seen_subcommand_from config' -l events
complete -c kimi-code -n '__fish_seen_subcommand_from config' -l forget
complete -c kimi-code -n '__fish_seen_subcommand_from config' -l json
complete -c kimi-code -n '__fish_seen_subcommand_from config' -f -a path
complete -c kimi-code -n '__fish_seen_subcommand_from config' -f -a schema
complete -c kimi-code -n '__fish_seen_subcommand_from config' -f -a show
complete -c kimi-code -n '__fish_seen_subcommand_from config' -f -a trust
complete -c kimi-code -n '__fish_seen_subcommand_from doctor' -l json
