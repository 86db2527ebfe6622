# SPDX-License-Identifier: MIT OR Apache-2.0
"""Other people's watchers of processes, and how they are started beside what they watch."""

import pathlib
import signal
import subprocess
import sys
import time

KMONITOR = str(pathlib.Path(__file__).parent.parent / "target/release/kmonitor")

# The same as `kmonitor watch` prints: births, execs with arguments, ends with status.
BPFTRACE = """
tracepoint:sched:sched_process_fork { printf("fork %d %d\\n", args->child_pid, pid); }
tracepoint:syscalls:sys_enter_execve { printf("exec %d ", pid); join(args->argv); }
tracepoint:sched:sched_process_exit { printf("exit %d %d\\n", pid, curtask->exit_code); }
"""

# How each starts, and what it prints when it is at work.
BESIDE = {
    "execsnoop": (["execsnoop"], "PCOMM"),
    "bpftrace": (["bpftrace", "-e", BPFTRACE], "Attach"),
    "forkstat": (["forkstat", "-e", "fork,exec,exit"], "Event"),
}


class Beside:
    """A watcher of the whole machine, which is at work before anything begins. Mount tracefs first."""

    def __init__(self, name, output):
        command, ready = BESIDE[name]
        with open(output, "w") as file:
            # Into a file they would write their first line late.
            self.process = subprocess.Popen(["stdbuf", "-oL", *command], stdout=file, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 30
        while ready not in pathlib.Path(output).read_text(errors="replace"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                sys.exit(f"{' '.join(command)} does not run: {pathlib.Path(output).read_text()}")
            time.sleep(0.05)
        # Its probes are attached one by one.
        time.sleep(2)

    def end(self):
        """Ends it, with what it still has to print."""
        time.sleep(1)
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
