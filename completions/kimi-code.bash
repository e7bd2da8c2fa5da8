_kimi_code() {
    local current="${COMP_WORDS[COMP_CWORD]}" words
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="run demo sessions models serve policy sandbox config doctor completion --version --help"
    else
        case "${COMP_WORDS[1]}" in
        run) words="--add-dir --api-key-env --approval --approvals --attempts --continue --cwd --fork --instant --max-steps --max-tokens --model --model-url --no-preserve-thinking --no-sandbox --no-verify --output-format --plan --preserve-thinking --prompt --resume --sandbox --thinking --timeout --verify -C -c -m -o -p -r" ;;
        demo) words="--keep --model -m" ;;
        sessions) words="--force --format --full --here --json --limit --output export list rm show verify" ;;
        models) words="--calls --json --seed check info list pull rm" ;;
        serve) words="--ctx --model --port --socket -m" ;;
        policy) words="--cwd --json check" ;;
        sandbox) words="--cwd --network -C" ;;
        config) words="--cwd --events --forget --json path schema show trust" ;;
        doctor) words="--json" ;;
        completion) words="" ;;
        *) words="" ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$current"))
}
complete -o filenames -F _kimi_code kimi-code
