"""`completion SHELL`: what the shell needs to complete commands, flags and file names."""

from __future__ import annotations

import argparse

SHELLS = ("bash", "zsh", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS)
    parser.epilog = (
        "bash: spyx-nir completion bash > ~/.local/share/bash-completion/completions/spyx-nir\n"
        "zsh:  spyx-nir completion zsh > _spyx-nir, in a folder of $fpath\n"
        "tcsh: spyx-nir completion tcsh >> ~/.tcshrc"
    )


def main(arguments: argparse.Namespace) -> int:
    import shtab

    print(shtab.complete(_with_files(arguments.whole_parser()), shell=arguments.shell))
    return 0


def _with_files(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """`parser` with the kind of those arguments that are files, folders or targets."""
    import shtab

    from spyx_nir.converter.lint import TARGETS
    from spyx_nir.hardware import facts

    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for sub in commands.choices.values():
        for action in sub._actions:
            if action.dest in (
                "file",
                "a",
                "b",
                "data",
                "out",
                "output",
                "key",
                "calibrate",
                "finetune",
            ):
                action.complete = shtab.FILE
            elif action.dest in ("bundle", "folder"):
                action.complete = shtab.DIRECTORY
            elif action.dest == "target":
                action.choices = TARGETS if sub is commands.choices["lint"] else facts.names()
    return parser
