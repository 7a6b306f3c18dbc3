"""The command line: one file per noun, loaded only when it is asked for.

`COMMANDS` maps each command to the module that holds it (as `command`) and its one-line help, so that
`aegis --help` and `aegis --version` import nothing else.
"""

from __future__ import annotations

import sys
from typing import Final

from aegis import __version__

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "adopt": ("projects", "write the pipeline and declaration for an existing project"),
    "approve": ("approvals", "approve a waiting promotion"),
    "cancel": ("runs", "cancel a run"),
    "chart": ("chart", "generate, check, pack and push Helm charts"),
    "check": ("projects", "report what would work here and what would not"),
    "completion": ("completion", "print the completion script of a shell"),
    "demo": ("demo", "carry an example from a push to production and show it"),
    "dev": ("dev", "make and remove the environment of a developer here"),
    "diff": ("pipeline", "compare the pipelines of two revisions"),
    "doctor": ("server", "look for what would keep Aegis from working here"),
    "environment": ("environment", "show and stop the environments that jobs have deployed"),
    "explain": ("runs", "say why a run or job failed, and the mend"),
    "gate": ("gates", "judge reports against a policy"),
    "graph": ("graph", "draw the pipeline that would run"),
    "help": ("help", "explain an error code or a topic"),
    "image": ("image", "build, push and inspect images without a daemon"),
    "ledger": ("ledger", "show, verify and export the ledger"),
    "lint": ("pipeline", "check a .gitlab-ci.yml"),
    "login": ("server", "keep a token for a server"),
    "logs": ("runs", "show a job's log"),
    "lsp": ("lsp", "serve an editor: findings, hover, completion"),
    "merge-request": ("merge_requests", "open, merge and close merge requests"),
    "play": ("runs", "start a manual job"),
    "preview": ("pipeline", "show the jobs that would run, and why"),
    "project": ("project", "install a project's locked environment, or write its lock"),
    "promote": ("approvals", "ask for a release in an environment"),
    "registry": ("registry", "clean up and check images, packages and logs of a server"),
    "reject": ("approvals", "reject a waiting promotion"),
    "release": ("release", "show releases"),
    "retry": ("runs", "run a failed job again"),
    "review": ("approvals", "review an emergency after the fact"),
    "rollback": ("approvals", "return an environment to its previous release"),
    "run": ("run", "run the pipeline here"),
    "runner": ("runner", "register, list and pause remote runners (gitlab-runner)"),
    "scan": ("scan", "look for vulnerable dependencies and leaked secrets"),
    "status": ("status", "what runs where, since when and why"),
    "template": ("template", "list, show and use pipeline templates"),
    "tests": ("tests", "share out tests among parallel jobs"),
    "token": ("token", "issue and revoke tokens"),
    "trace": ("trace", "show where a run's time went, and export its trace"),
    "up": ("server", "serve everything on one port"),
    "wheel": ("wheel", "build and publish a library"),
    "why": ("runs", "say why a job waits or is slow"),
}


def main() -> None:
    """The entry point of the `aegis` command."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        sys.stdout.write(f"aegis {__version__}\n")
        return
    from aegis.cli.root import run

    run()
