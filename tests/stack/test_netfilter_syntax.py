"""Rules in iptables' words: what is written comes back, and what is wrong is said."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from pystack.core.engine import VirtualEngine
from pystack.host import Host
from pystack.net.netfilter.xt import XtablesError

RULES = Path(__file__).parents[1] / "netfilter" / "syntax.rules"
TABLES = ("filter", "nat", "mangle", "raw")
LISTINGS = ("-L -n -v", "-L -n --line-numbers", "-S -v", "-S", "-L -n -v -x")


@pytest.fixture
def host() -> Host:
    return Host(VirtualEngine(), "h")


def commands() -> list[str]:
    """One for each rule of the file, with its table."""
    found, table = ["-N foo"], ""
    for line in RULES.read_text().splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A"):
            found.append(f"-t {table} {line}")
    return found


def linux(script: str) -> str:
    """What the tool itself prints, in a network namespace of its own."""
    path = "/usr/sbin:/sbin:/usr/bin:/bin"
    if shutil.which("iptables-legacy", path=path) is None:
        pytest.skip("iptables-legacy is not installed")
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        pytest.skip("no network namespaces here")
    done = subprocess.run(
        ["unshare", "-rn", "sh", "-e"],
        input=script,
        capture_output=True,
        text=True,
        env={"PATH": path, "XTABLES_LOCKFILE": "/dev/shm/xtables.lock"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def linux_tables() -> tuple[str, str]:
    """iptables-save and all listings of the tool, given our rules."""
    lines = [f"iptables-legacy {command}" for command in commands()]
    lines += ["iptables-legacy-save", "echo ====="]
    lines += [f"iptables-legacy -t {table} {how}" for table in TABLES for how in LISTINGS]
    saved, _, listed = linux("\n".join(lines)).partition("=====\n")
    return saved, listed


def test_listings_are_those_of_iptables(host: Host, linux_tables: tuple[str, str]) -> None:
    for command in commands():
        host.iptables(command)
    listed = [host.iptables(f"-t {table} {how}") for table in TABLES for how in LISTINGS]
    assert "".join(listed).splitlines() == linux_tables[1].splitlines()


def test_what_iptables_saves_is_restored_and_saved_unchanged(
    host: Host, linux_tables: tuple[str, str]
) -> None:
    saved = [line for line in linux_tables[0].splitlines() if not line.startswith("#")]
    host.iptables_restore(linux_tables[0])
    assert host.iptables_save().splitlines() == saved


def test_rules_survive_restore_with_counters(host: Host) -> None:
    text = "*filter\n:INPUT DROP [7:700]\n:x - [0:0]\n[3:180] -A INPUT -p tcp -j x\nCOMMIT\n"
    host.iptables_restore(text, counters=True)
    saved = host.iptables_save(counters=True)
    assert saved.splitlines() == [
        "*filter",
        ":INPUT DROP [7:700]",
        ":FORWARD ACCEPT [0:0]",
        ":OUTPUT ACCEPT [0:0]",
        ":x - [0:0]",
        "[3:180] -A INPUT -p tcp -j x",
        "COMMIT",
    ]


def test_rules_are_inserted_replaced_checked_and_deleted(host: Host) -> None:
    for command in (
        "-A INPUT -p tcp --dport 1 -j ACCEPT",
        "-A INPUT -p tcp --dport 3 -j ACCEPT",
        "-I INPUT 2 -p tcp --dport 2 -j DROP",
        "-I INPUT --protocol=udp --destination-port 9 --jump DROP",
        "-R INPUT 3 -p tcp --dport 22 -j DROP",
        "-C INPUT -p tcp -m tcp --dport 22 -j DROP",
        "-D INPUT -p tcp --dport 3 -j ACCEPT",
        "-D INPUT 1",
        "-P INPUT DROP",
    ):
        assert host.iptables(command) == ""
    assert host.iptables("-S INPUT") == (
        "-P INPUT DROP\n"
        "-A INPUT -p tcp -m tcp --dport 1 -j ACCEPT\n"
        "-A INPUT -p tcp -m tcp --dport 22 -j DROP\n"
    )


def test_chains_are_made_renamed_emptied_and_deleted(host: Host) -> None:
    for command in ("-N b", "-N a", "-A INPUT -j b", "-A b -s 10.0.0.0/8,11.0.0.1 -j RETURN"):
        host.iptables(command)
    host.iptables("-E b c")
    assert host.iptables("-S").splitlines()[3:] == [
        "-N a",
        "-N c",
        "-A INPUT -j c",
        "-A c -s 10.0.0.0/8 -j RETURN",
        "-A c -s 11.0.0.1/32 -j RETURN",
    ]
    host.iptables("-F")
    host.iptables("-X")
    assert host.iptables("-S").splitlines()[3:] == []


WRONG = [
    ("-A NONE -j ACCEPT", "No chain/target/match by that name"),
    ("-A INPUT -j NONE", "Couldn't load target `NONE':No such file or directory"),
    ("-A INPUT -m none", "Couldn't load match `none':No such file or directory"),
    ("-A INPUT --dport 80", 'unknown option "--dport"'),
    ("-A INPUT -p tcp --dport 70000", "invalid port/service `70000' specified"),
    ("-A INPUT -p nonsense", 'unknown protocol "nonsense" specified'),
    ("-A INPUT -s 10.0.0.300", "host/network `10.0.0.300' not found"),
    ("-A INPUT -s 10.0.0.0/33", "invalid mask `33' specified"),
    ("-D INPUT 1", "Index of deletion too big"),
    ("-I INPUT 3 -j ACCEPT", "Index of insertion too big"),
    ("-D INPUT -j ACCEPT", "Bad rule (does a matching rule exist in that chain?)"),
    ("-N foo", "Chain already exists"),
    ("-X foo", "Too many links"),
    ("-P foo DROP", "Bad built-in chain name"),
    ("-P INPUT QUEUE", "Bad policy name"),
    ("-A OUTPUT -i eth0 -j ACCEPT", "Can't use -i with OUTPUT"),
    ("-A INPUT -o eth0 -j ACCEPT", "Can't use -o with INPUT"),
    ("-t none -L", "can't initialize iptables table `none': Table does not exist"),
    ("-t nat -A PREROUTING -j DNAT", 'option "--to-destination" must be specified'),
    ("-t nat -A PREROUTING -j DNAT --to-destination 1.2.3.4:80", "Need TCP, UDP, SCTP or DCCP"),
    ("-A INPUT ! -j ACCEPT", "unexpected ! flag before"),
    ("-A INPUT -m statistic --mode odd", 'Bad mode "odd"'),
    ("-A INPUT -m conntrack --ctstate OLD", 'Bad ctstate "OLD"'),
    ("-A INPUT -m limit --limit many", "bad value for option"),
    ("-A INPUT -p tcp -p udp", "multiple -p flags not allowed"),
    ("-L -j ACCEPT", "Bad argument"),
    ("", "no command specified"),
]


@pytest.mark.parametrize(("command", "words"), WRONG)
def test_what_is_wrong_is_said_in_iptables_words(host: Host, command: str, words: str) -> None:
    host.iptables("-N foo")
    host.iptables("-A FORWARD -j foo")
    before = host.iptables("-S")
    with pytest.raises(XtablesError) as said:
        host.iptables(command)
    assert words in str(said.value) and "\n" not in str(said.value)
    assert host.iptables("-S") == before


@pytest.mark.parametrize(("command", "words"), WRONG)
def test_iptables_refuses_the_same(command: str, words: str) -> None:
    quoted = " ".join(map(shlex.quote, shlex.split(command)))
    script = (
        f"iptables-legacy -N foo\niptables-legacy -A FORWARD -j foo\n! iptables-legacy {quoted}"
    )
    linux(script)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("-t nat -A POSTROUTING -j DNAT --to-destination 1.2.3.4", "cannot be used from"),
        ("-A INPUT -j SNAT --to-source 1.2.3.4", "only valid in the nat table"),
        ("-t nat -A PREROUTING -j MASQUERADE", "cannot be used from PREROUTING"),
        ("-t mangle -A INPUT -j REJECT", "only valid in the filter table"),
        ("-A foo -j bar", "Too many levels"),
    ],
)
def test_targets_stand_only_where_they_work_and_chains_make_no_loop(
    host: Host, command: str, words: str
) -> None:
    for line in ("-N foo", "-N bar", "-A bar -j foo", "-A INPUT -j foo"):
        host.iptables(line)
    with pytest.raises(XtablesError, match=words):
        host.iptables(command)
    assert host.iptables("-S foo") == "-N foo\n"


def test_a_file_that_is_wrong_changes_nothing_and_names_the_line(host: Host) -> None:
    host.iptables("-A INPUT -j ACCEPT")
    before = host.iptables_save()
    text = "*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp --dport http -j ACCEPT\nCOMMIT\n"
    with pytest.raises(XtablesError, match=r"iptables-restore: line 3 failed: invalid port"):
        host.iptables_restore(text)
    with pytest.raises(XtablesError, match="COMMIT expected"):
        host.iptables_restore("*filter\n-F\n")
    assert host.iptables_save() == before


def test_noflush_adds_to_what_is_there_as_kube_proxy_does(host: Host) -> None:
    host.iptables_restore("*nat\n:KUBE-A - [0:0]\n:KUBE-B - [0:0]\n-A KUBE-B -j ACCEPT\nCOMMIT\n")
    host.iptables("-t nat -A OUTPUT -j ACCEPT")
    host.iptables_restore(
        "*nat\n:KUBE-A - [0:0]\n:KUBE-B - [0:0]\n-A KUBE-A -p udp -j RETURN\n-X KUBE-B\nCOMMIT\n",
        noflush=True,
    )
    assert host.iptables("-t nat -S").splitlines()[4:] == [
        "-N KUBE-A",
        "-A OUTPUT -j ACCEPT",
        "-A KUBE-A -p udp -j RETURN",
    ]


def test_ip6tables_has_tables_of_its_own(host: Host) -> None:
    rule = "-A INPUT -s fd00::/8 -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j REJECT"
    host.ip6tables(rule)
    saved = f"{rule} --reject-with icmp6-port-unreachable"
    assert saved in host.ip6tables_save().splitlines()
    assert host.iptables_save() == ""
    host.ip6tables_restore(host.ip6tables_save())
    assert saved in host.ip6tables("-S").splitlines()
