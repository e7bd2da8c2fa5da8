#compdef kimi-code
_kimi_code() {
    local -a words
    if (( CURRENT == 2 )); then
        words=(run demo sessions models serve policy sandbox config doctor completion --version --help)
    else
        case "${words_typed[2]}" in
        run) words=(--add-dir --api-key-env --approval --approvals --attempts --continue --cwd --fork --instant --max-steps --max-tokens --model --model-url --no-preserve-thinking --no-sandbox --no-verify --output-format --plan --preserve-thinking --prompt --resume --sandbox --thinking --timeout --verify -C -c -m -o -p -r) ;;
        demo) words=(--keep --model -m) ;;
        sessions) words=(--force --format --full --here --json --limit --output export list rm show verify) ;;
        models) words=(--calls --json --seed check info list pull rm) ;;
        serve) words=(--ctx --model --port --socket -m) ;;
        policy) words=(--cwd --json check) ;;
        sandbox) words=(--cwd --network -C) ;;
        config) words=(--cwd --events --forget --json path schema show trust) ;;
        doctor) words=(--json) ;;
        completion) words=() ;;
        esac
    fi
    compadd -a words
    _files
}
_kimi_code_entry() { local -a words_typed=("${words[@]}"); _kimi_code; }
compdef _kimi_code_entry kimi-code
