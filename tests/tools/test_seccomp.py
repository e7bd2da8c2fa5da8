"""The system call filter, run by a small interpreter, for both machines it is made for."""

import struct

import pytest

from kimi_tools.seccomp import program

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS, EAFNOSUPPORT = 0x50001, 0x50026, 0x50061
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def verdict(machine, number, *arguments, arch=None):
    """What the kernel would answer; the instructions are those of linux/bpf_common.h."""
    words = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("=iIQ6Q", number, arch or ARCH[machine], 0, *words)
    code = list(struct.iter_unpack("=HBBI", program(machine)))
    at = loaded = 0
    while True:
        operation, true, false, value = code[at]
        at += 1
        if operation == 0x20:
            (loaded,) = struct.unpack_from("=I", data, value)
        elif operation == 0x06:
            return value
        else:
            holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[operation]
            at += true if holds else false


#                      x86_64, aarch64
NUMBERS = {
    "read": (0, 63),
    "openat": (257, 56),
    "execve": (59, 221),
    "ptrace": (101, 117),
    "mount": (165, 40),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "keyctl": (250, 219),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "clone3": (435, 435),
    "clone": (56, 220),
    "ioctl": (16, 29),
    "socket": (41, 198),
}
CASES = [
    ("read", (), ALLOW),
    ("openat", (), ALLOW),
    ("execve", (), ALLOW),
    ("ptrace", (), ALLOW),
    ("mount", (), EPERM),
    ("unshare", (), EPERM),
    ("setns", (), EPERM),
    ("bpf", (), EPERM),
    ("keyctl", (), EPERM),
    ("userfaultfd", (), EPERM),
    ("perf_event_open", (), EPERM),
    ("io_uring_setup", (), EPERM),
    ("clone3", (), ENOSYS),
    ("clone", (0x11,), ALLOW),
    ("clone", (0x003D0F00,), ALLOW),  # a thread
    ("clone", (0x10000011,), EPERM),  # CLONE_NEWUSER
    ("clone", (0x00020011,), EPERM),  # CLONE_NEWNS
    ("clone", (0x40000011,), EPERM),  # CLONE_NEWNET
    ("ioctl", (0, 0x5401), ALLOW),
    ("ioctl", (0, 0x5412), EPERM),  # TIOCSTI
    ("ioctl", (0, 0x1_0000_5412), EPERM),  # the kernel looks at 32 bits
    ("ioctl", (0, 0x541C), EPERM),  # TIOCLINUX
    ("socket", (1,), ALLOW),
    ("socket", (2,), ALLOW),
    ("socket", (10,), ALLOW),
    ("socket", (16,), EAFNOSUPPORT),  # AF_NETLINK
    ("socket", (17,), EAFNOSUPPORT),  # AF_PACKET
    ("socket", (38,), EAFNOSUPPORT),  # AF_ALG
    ("socket", (40,), EAFNOSUPPORT),  # AF_VSOCK
]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(("name", "arguments", "answer"), CASES)
def test_verdicts(machine, name, arguments, answer):
    assert verdict(machine, NUMBERS[name][machine == "aarch64"], *arguments) == answer


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_another_machines_calls_are_not_judged_by_these_numbers(machine):
    assert verdict(machine, 0, arch=0x40000003) == KILL


def test_the_x32_numbers_are_no_way_round():
    assert verdict("x86_64", 0x40000000 | 272) == KILL


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_way_through_ends(machine):
    code = program(machine)
    assert len(code) % 8 == 0
    assert len(code) // 8 < 4096
    for number in range(-1, 600):
        assert verdict(machine, number) in {ALLOW, KILL, EPERM, ENOSYS, EAFNOSUPPORT}
