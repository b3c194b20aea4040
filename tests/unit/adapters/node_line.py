"""A node as `scontrol -o show node` prints it."""

# 22.05.8, `scontrol -o show node`, as printed.
LINE = (
    "NodeName=c1 Arch=x86_64 CoresPerSocket=1 CPUAlloc=0 CPUEfctv=2 CPUTot=2 CPULoad=0.12 "
    "AvailableFeatures=(null) ActiveFeatures=(null) Gres=(null) NodeAddr=10.79.1.1 NodeHostName=c1 "
    "Version=22.05.8 OS=Linux 6.1.0-13-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.55-1 (2023-09-29) "
    "RealMemory=1000 AllocMem=0 FreeMem=512 Sockets=2 Boards=1 State={state} ThreadsPerCore=1 TmpDisk=0 "
    "Weight=1 Owner=N/A MCS_label=N/A Partitions=main BootTime={boot} SlurmdStartTime=2026-11-21T01:00:02 "
    "LastBusyTime=2026-11-21T01:00:03 CfgTRES=cpu=2,mem=1000M,billing=2 AllocTRES= CapWatts=n/a "
    "CurrentWatts=0 AveWatts=0 ExtSensorsJoules=n/s ExtSensorsWatts=0 ExtSensorsTemp=n/s{end}"
)


def line(state: str = "IDLE+CLOUD", boot: str = "2026-11-21T01:00:01", end: str = " ") -> str:
    """A node's line."""
    return LINE.format(state=state, boot=boot, end=end)
