"""How long the engine waits, and how often it looks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds, on the monotonic clock; whoever makes the World hands it in, and a test makes a shorter one.

    What an administrator may set is in the cluster file. What is a fact of an outside system stands in the
    module that speaks with it.
    """

    slurm_poll: float = 0.15
    """Seconds between two readings of Slurm while somebody waits for them: one takes 50 to 100 ms."""
    cloud_poll: float = 0.4
    """Seconds between two listings of a cloud's servers while somebody waits for them."""
    reading_backoff: float = 10.0
    """Seconds before Slurm or a cloud that could not be read is tried again, at most."""
    clock_step: float = 2.0
    """Seconds by which the clocks may drift apart between two looks; more is a step of the wall clock."""
    anchor_every: float = 60.0
    """Seconds after which the journal is told anew how the clocks stand."""
    offers_age: float = 2.0
    """Seconds for which an image's or flavor's id is used again: a call takes 50 to 300 ms, and asked for
    each node a hundred of them would wait half a minute."""
    flavors_age: float = 60.0
    """Seconds for which a listing of a cloud's flavors is used."""
    collect: float = 0.2
    """Seconds after the first queued create, or the last queued change, in which others may join its
    apply."""
    collect_longest: float = 2.0
    """Seconds that the first queued change waits for others at most."""
    busy_pause: float = 0.02
    """Seconds between two steps of the engine while something is under way."""
    idle_pause: float = 1.0
    """Seconds between two steps while nothing is; what comes ends it."""
    planning_step: float = 0.2
    """Seconds that one step of the engine spends on planning requests."""
    pause_look: float = 1.0
    """Seconds between two looks whether a person has paused something."""
    intake_full: float = 0.1
    """Seconds after which is looked again whether there is room for more requests."""
    intake_look: float = 1.0
    """Seconds between two looks for requests, if nothing tells of one."""
    error_pause_first: float = 0.5
    """Seconds before another engine is made, after the first error; it doubles."""
    error_pause_longest: float = 10.0
    """The same, at most: a full disk is waited for and not filled with words about it."""
    error_quiet: float = 60.0
    """Seconds without an error after which the pauses begin with the shortest again."""
    fault_rest_first: float = 60.0
    """Seconds for which a part of the engine that fails again and again is left alone, at first. It
    doubles, because the error after each rest makes another engine, with which every operation's limits
    begin anew."""
    fault_rest_longest: float = 3600.0
    """The same, at most."""
    busy_shard: float = 60.0
    """Seconds that a delete or change waits for another run in its shard before it acts by server id."""
    slurm_lag: float = 5.0
    """Seconds in which Slurm's state may lag behind its own hook call, a listing behind the server that was
    just made, and Terraform's lock behind the start of its process."""
    slurm_again: float = 5.0
    """Seconds after which a command to Slurm that was refused, or had no effect, is given again."""
    power_up_for: float = 60.0
    """Seconds in which an operator's POWER_UP that had no effect is given again."""
    start_again: float = 25.0
    """Seconds more than `slurm_again` for the start of a server that is off: each try is recorded as an
    act."""
    evidence_wait: float = 60.0
    """Seconds to wait for evidence that may come by itself: the end of a job, Slurm's call."""
    evidence_age: float = 5.0
    """Seconds that a reading of Slurm may be old when a deletion begins."""
    refused_again: float = 2.0
    """Seconds after which a deletion or a RESUME that was refused is tried again."""
    deletion_again: float = 15.0
    """Seconds after which a deletion by id that the cloud has not carried out is asked for again; it
    doubles."""
    deletion_again_longest: float = 60.0
    """The same, at most: so soon it is noticed that somebody has mended what was wrong."""
    blocked_look: float = 30.0
    """Seconds between two looks at a deletion that does not end."""
    blocked_rest: float = 90.0
    """Seconds for which its node rests after a look: when the server is gone nobody has to end the rest."""
    listing_age: float = 10.0
    """Seconds that a listing of a cloud's servers may be old by which one counts as gone."""
    job_steps_again: float = 10.0
    """Seconds after which a server is asked again whether jobs run there."""
    job_steps_wait: float = 0.02
    """Seconds for which its answer is waited for; a later look has it."""
    job_steps_kept: float = 60.0
    """Seconds for which an answer is kept; none is of use for so long."""
    refusal_longest: float = 60.0
    """Seconds between two tries of what Slurm refuses for a failed node, at most."""
    requeue_known: float = 3600.0
    """Seconds for which is remembered how often a requeued job's two minutes' wait was ended by us."""
    requeue_wait: float = 30.0
    """Seconds in which a job of a failed node is expected back in the queue."""
    slurmctld_look: float = 30.0
    """Seconds between two looks at when slurmctld began."""
    terraform_run: float = 300.0
    """Seconds that a Terraform run which changes no server may take: init, plan, forget and refresh."""
    reason_wait: float = 3.0
    """Seconds for which Terraform's reason of a failed creation is waited for: it tells it when the others
    have ended."""
    terraform_end: float = 60.0
    """Seconds from SIGINT to SIGKILL: a provider that still creates is waited for, so that the state knows
    it."""
    init_again: float = 60.0
    """Seconds after which a `terraform init` that failed is tried again."""
    tidy_again: float = 60.0
    """Seconds after which a tidying of a state that failed is tried again."""
    state_look: float = 5.0
    """Seconds between two looks whether a state is spoiled."""
    module_look: float = 30.0
    """Seconds between two looks whether there is a newer root module."""
    quota_age: float = 3.0
    """Seconds for which a reading of the quota may admit. Nothing is refused by one that is older than the
    request, or than the end of a deletion."""
    quota_wait: float = 60.0
    """Seconds that a create waits for servers of ours that are being deleted."""
    play_gather: float = 0.3
    """Seconds that a ready node waits for others: a play for four costs twice one for one, not four
    times."""
    probing: float = 0.6
    """Seconds that a step may spend on nodes that do not answer; each may take 0.3 s."""
    host_key_again: float = 0.5
    """Seconds between two questions for a server's host key: it is on the console when sshd has made it."""
    play_end: float = 30.0
    """Seconds that a play has, after its own limit, to end by itself."""
    play_quiet: float = 30.0
    """Seconds without news after which a play holds up no other: what its nodes do needs no processor of
    ours."""
    confirm: float = 5.0
    """Seconds after which a difference between Slurm, the clouds and the journal is looked at again."""
    account_blind: float = 120.0
    """Seconds without a reading after which nothing is known of the time before, of servers that nobody
    needs."""
    ssh_look: float = 60.0
    """Seconds between two questions over SSH to a server whose node is down."""
    ssh_blind: float = 180.0
    """Seconds without a look after which nothing is known of the time before, of such a server."""
    ssh_wait: float = 0.05
    """Seconds for which all the questions of a reading together are waited for."""
    dead_again: float = 600.0
    """Seconds after which Slurm is told again of a dead server what it has refused, or what has not
    helped."""
    prune_every: float = 3600.0
    """Seconds between two times that what is old leaves the journal, if the engine is idle."""
    prune_latest: float = 86400.0
    """Seconds after which it is done although the engine is never idle."""
    prune_jump: float = 60.0
    """Seconds by which the host's clock may be off within `prune_every`; if it jumps, nothing is pruned by
    it."""


USUAL = Timing()
"""What a service runs with."""
