"""The system calls a boxed command may not make, as a BPF program for the kernel. Knows nothing of the box.

Layout of the data a filter sees and of its instructions: linux/seccomp.h, linux/filter.h, linux/bpf_common.h.
"""

import platform
import struct
from functools import cache

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_AT_NUMBER, _AT_ARCH, _AT_ARGUMENT = 0, 4, 16
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97

_X32_BIT = 0x40000000
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 0, "aarch64": 1}

# What is reached through these is either the machine's (mounts, modules, clocks) or a part of the kernel with
# a history of holes that no build or test needs. ptrace stays: debuggers and leak checkers are honest work,
# and the box has a process namespace of its own.
_REFUSED = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
_X86_ONLY = (172, 173)  # iopl, ioperm
_CLONE, _CLONE3, _IOCTL, _SOCKET = (56, 220), (435, 435), (16, 29), (41, 198)

_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}
_TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6


def _op(code: int, value: int, true: int = 0, false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, true, false, value)


def _refuse(error: int) -> bytes:
    return _op(_RETURN, _ERRNO | error)


def _only_for(number: int, block: bytes) -> bytes:
    """Run `block`, which must end in a return, for one system call."""
    return _op(_EQUAL, number, 0, len(block) // 8) + block


def _argument(index: int) -> bytes:
    """The low 32 bits of an argument; both machines are little-endian."""
    return _op(_LOAD, _AT_ARGUMENT + 8 * index)


def machine() -> str | None:
    """The machine's name where a filter can be made for it, else None."""
    name = platform.machine()
    return name if name in _AUDIT_ARCH else None


@cache
def program(name: str) -> bytes:
    """The filter for `x86_64` or `aarch64`, as an array of struct sock_filter.

    KeyError for another machine.
    """
    column = _COLUMN[name]
    code = [_op(_LOAD, _AT_ARCH), _op(_EQUAL, _AUDIT_ARCH[name], 1, 0), _op(_RETURN, _KILL)]
    code.append(_op(_LOAD, _AT_NUMBER))
    refused = [numbers[column] for numbers in _REFUSED.values()]
    if name == "x86_64":
        code += [_op(_AT_LEAST, _X32_BIT, 0, 1), _op(_RETURN, _KILL)]
        refused += _X86_ONLY
    code += [_only_for(number, _refuse(_EPERM)) for number in refused]
    # The flags of clone3 lie in memory a filter cannot read; told that it is missing, libc falls back to
    # clone.
    code.append(_only_for(_CLONE3[column], _refuse(_ENOSYS)))
    code.append(
        _only_for(
            _CLONE[column],
            _argument(0) + _op(_ANY_BIT, _NEW_NAMESPACES, 0, 1) + _refuse(_EPERM) + _op(_RETURN, _ALLOW),
        )
    )
    injections = b"".join(_op(_EQUAL, request, 0, 1) + _refuse(_EPERM) for request in _TERMINAL_INJECTION)
    code.append(_only_for(_IOCTL[column], _argument(1) + injections + _op(_RETURN, _ALLOW)))
    families = b"".join(_op(_EQUAL, family, 0, 1) + _op(_RETURN, _ALLOW) for family in _FAMILIES)
    code.append(_only_for(_SOCKET[column], _argument(0) + families + _refuse(_EAFNOSUPPORT)))
    code.append(_op(_RETURN, _ALLOW))
    return b"".join(code)
