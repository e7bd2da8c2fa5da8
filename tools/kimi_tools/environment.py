"""What of the environment a command may see: an allow-list, so that no secret is inherited by accident."""

from collections.abc import Mapping

_KEPT = frozenset(
    {
        "CARGO_HOME", "CONDA_PREFIX", "CURL_CA_BUNDLE", "GOPATH", "GOROOT", "HOME", "JAVA_HOME", "LANG",
        "LANGUAGE", "LOGNAME", "NVM_DIR", "PATH", "PYENV_ROOT", "PYENV_VERSION", "PYTHONPATH",
        "REQUESTS_CA_BUNDLE", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "SHELL", "SSL_CERT_DIR", "SSL_CERT_FILE",
        "TZ", "USER", "VIRTUAL_ENV",
    }
)  # fmt: skip

# No pager, no colour, no question; git takes no lock it can do without and no repository that was planted
# inside another. Bytecode is not written: an edit within the second that keeps a file's size would go unseen.
_FIXED = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.bareRepository",
    "GIT_CONFIG_VALUE_0": "explicit",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
    "MANPAGER": "cat",
    "PAGER": "cat",
    "PIP_NO_INPUT": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TERM": "dumb",
}

# Home is read-only in the box; these go to its private /tmp instead.
_BOXED = {
    "TMPDIR": "/tmp",
    "XDG_CACHE_HOME": "/tmp/.cache",
    "npm_config_cache": "/tmp/.npm",
}
_OFFLINE = {"CARGO_NET_OFFLINE": "true", "npm_config_offline": "true", "npm_config_update_notifier": "false"}

_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


def for_command(inherited: Mapping[str, str], *, boxed: bool, network: bool) -> dict[str, str]:
    """The environment of a command a model chose; `network` says whether it has one."""
    kept = {name: value for name, value in inherited.items() if name in _KEPT or name.startswith("LC_")}
    kept.setdefault("PATH", _DEFAULT_PATH)
    kept |= _FIXED
    if boxed:
        kept |= _BOXED
        if not network:
            kept |= _OFFLINE
    elif "TMPDIR" in inherited:
        kept["TMPDIR"] = inherited["TMPDIR"]
    return kept
