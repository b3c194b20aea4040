"""The words by which a failure is classed. Data for decide/node/failure_texts.py.

Clear words are phrases that mean one thing. Vague ones count only where no clause has clear ones. A word
counts where it stands alone: in `ssh-quota`, `n-429` or `quota.example.org` it is part of a name.
"""

import re
from collections.abc import Iterable

from slurm_powersave.model.errors import FailureClass

_Table = tuple[tuple[FailureClass, re.Pattern[str]], ...]


def _alone(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w./@-])(?:{words})(?![\w@-]|[./]\w)", re.I | re.S)


# In order: the first that matches a clause wins.
_CLEAR: _Table = (
    (
        FailureClass.QUOTA,
        _alone(
            r"over[ -]?quota|overlimit|(?-i:RESOURCE_EXHAUSTED|QUOTA_EXCEEDED)|\w*LimitExceeded|"
            r"TooManyInstances|VolumeSizeExceedsAvailableQuota|"
            r"quotas?(?=[\s,]).{0,40}?(exceeded|exhausted|reached|used up)|"
            r"quota (exceeded|is \d+)|exceed(s|ed|ing)?\s.{0,60}?\squotas?|(not enough|insufficient) quota|"
            r"maximum (?!(number of )?(retries|attempts))[^.]{0,40}?exceeded|"
            r"(?<!rate )(?<!time )(?<!retry )limit [^.]{0,40}?exceeded|over (a |the )?limit|"
            r"no more ip addresses"
        ),
    ),
    (
        # The host or the port of this one server, or its address that another one still holds.
        FailureClass.NODE_LOCAL,
        _alone(
            r"binding failed for port|PortBindingFailed|vif_type=binding_failed|"
            r"failed to allocate the network|virtual interface creation failed|"
            r"(port|address)\s.{0,60}?(in use|already has an attached device)|"
            r"ip address .{0,60}?already allocated|IpAddressAlreadyAllocated|build of instance \S+ aborted|"
            r"(was|been) re-?scheduled|while it is in (vm_state|task_state|power_state)|"
            r"failed to (spawn|rebuild|provision)|did not finish being created|"
            r"(instance|server|port) \S+ could not be found|connection to the hypervisor|"
            r"connecting to monitor|qemu\S*|libvirt\w*|host key verification failed|\(publickey\S*|"
            r"status must be available|could not get lock|failed to lock \S+ for exclusive operation|"
            r"module failure|temporary directory|"
            r"refuses the node's registration|reported lower than configured|low (RealMemory|TmpDisk)|"
            r"low socket\S* count|low cpu count"
        ),
    ),
    (
        FailureClass.CAPACITY,
        _alone(
            r"no valid (host|backend)s?|NoValidHost|insufficient(?! (permission|privilege|right|credential))|"
            r"not enough (hosts|resources|capacity)|out of capacity|exceeds? .{0,20}?capacity|"
            r"exhausted all hosts|exceeded max scheduling attempts|exceeded maximum number of retries|"
            r"no (more|available) hosts|ComputeResourcesUnavailable|no weighed backends|pci device request|"
            r"no allocation candidates|cannot fit the given host|(anti-)?affinity instance group policy"
        ),
    ),
    (
        # An API that is away or asks for patience says nothing about the node.
        FailureClass.UNKNOWN,
        _alone(
            r"rate.?limit(s|ed|ing)?|too many requests|bad gateway|gateway time-?out|"
            r"service (temporarily )?unavailable|temporary overloading|dial tcp|context deadline exceeded|"
            r"tls handshake timeout|awaiting headers|no such host|unable to establish connection|"
            r"failed to establish a new connection|max retries exceeded with url|"
            r"timed out waiting for the request|MessagingTimeout|reply to message id"
        ),
    ),
    (
        FailureClass.AUTH,
        _alone(
            r"requires authentication|authentication (failed|required)|(not |dis)allowed by policy|"
            r"policy doesn't allow|not authori[sz]ed|auth_url|requires a scope|"
            r"required for auth plugin|missing input for argument|"
            r"could not find (user|project|domain)|expecting to find domain|exactly one of DomainID|"
            r"(invalid|validate|recogni[sz]e) (\w+ )?token|"
            r"credentials? .{0,40}?(expired|rejected|invalid|missing)"
        ),
    ),
    (
        FailureClass.CONFIG,
        _alone(
            r"(image|flavor|network|key ?pair|security group|subnet|server group|volume type|zone)\s.{0,80}?"
            r"(not found|could not be found|does not exist|unknown)|unable to find|can ?not find|"
            r"unable to access requested image|unsupported (argument|attribute|block)|"
            r"missing required argument|undeclared|"
            r"undefined variable|is undefined|too (small|large)( for)?|is not active|is unacceptable|"
            r"is locked|x509|certificate(_verify_failed)?|no suitable endpoint|"
            r"availability zone is not available|"
            r"(possible networks|matches) found|more than one|network requires|port[ _-]?security(_enabled)?|"
            r"not a valid ip|invalid key_name|no suitable image|query returned no results|"
            r"smaller than the minimum|requires the subnet_id|not usable for instance|"
            r"inconsistent dependency lock file|could not load plugin|couldn't resolve module/action|"
            r"template error|syntax error while loading|could not find or access|"
            r"\S+\.ya?ml could not be found"
        ),
    ),
)
_VAGUE: _Table = (
    (FailureClass.QUOTA, _alone(r"quotas?")),
    (
        FailureClass.AUTH,
        _alone(
            r"unauthori[sz]ed|forbidden|authenticat\w*|credentials?|"
            r"insufficient (permission|privilege|right|credential)s?"
        ),
    ),
    (FailureClass.CONFIG, _alone(r"bad request|invalid|availability zone|unknown (image|flavor|network)")),
    (
        FailureClass.NODE_LOCAL,
        _alone(
            r"unreachable!?|ssh|mount(\.\w+|ing| point)|did not (boot|register)|time-?out|timed out|munged?|"
            r"slurmd(\.service)?|FAILED!"
        ),
    ),
)


def clear(clauses: Iterable[str]) -> FailureClass | None:
    """Return the class of the first clause whose words mean one thing; None if none has such words."""
    return _look(_CLEAR, clauses)


def vague(clauses: Iterable[str]) -> FailureClass | None:
    """Return the class of the first clause with a word that hints at one."""
    return _look(_VAGUE, clauses)


def _look(table: _Table, clauses: Iterable[str]) -> FailureClass | None:
    for clause in clauses:
        for failure, pattern in table:
            if pattern.search(clause):
                return failure
    return None
