"""`minchange-eval doctor`: what is installed, what works together, what is prepared, and what to do about the rest."""

from __future__ import annotations

import argparse
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from minchange_eval.core.errors import ExitCode, UsageError

EXAMPLES = """examples:
  minchange-eval doctor          exit code 0 when everything needed to evaluate is in place, else 2
  minchange-eval doctor --probe --model_args pretrained=FOLDER,dtype=bf16
                                 ask a chat model about two almost equal images in every way that a run may use;
                                 exit code 0 when each image gets the same scores in all of them, else 70
"""

_PACKAGES = ("lmms-eval", "torch", "transformers", "open_clip_torch", "datasets", "accelerate", "safetensors")
_LEAST_FREE_BYTES = 5 * 2**30  # SPEC's zip and its store, with some room


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        fine: nothing to do.
        what: what was found.
        mend: the command or step that mends it; empty when fine.
        needed: evaluation does not work without it.
    """

    fine: bool
    what: str
    mend: str = ""
    needed: bool = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is looked at: the installation, or one chat model."""
    parser.add_argument("--probe", action="store_true", help="look at a chat model (hf_multi_image) instead")
    parser.add_argument(
        "--model_args", default="", metavar="NAME=VALUE,…", help="of the model, as lmms_eval takes them"
    )


def run(args: argparse.Namespace) -> ExitCode:
    """Print every finding; the exit code speaks of the needed ones.

    Raises:
        UsageError: `--model_args` without `--probe`, or a model that does not exist.
        ModelError: the probe finds that images are mixed up.
    """
    if args.probe:
        return _probe(args.model_args)
    if args.model_args:
        raise UsageError("--model_args: belongs to --probe, which looks at a model; add it")
    broken = False
    for title, findings in (
        ("versions", _versions()),
        ("seams to lmms-eval", _seams()),
        ("task names", _task_names()),
        ("data", _data()),
        ("disk", _disk()),
    ):
        print(f"{title}")
        for finding in findings:
            mark = "ok  " if finding.fine else "FAIL" if finding.needed else "-   "
            print(f"  {mark} {finding.what}" + (f"\n       -> {finding.mend}" if finding.mend else ""))
            broken |= finding.needed and not finding.fine
    return ExitCode.USAGE if broken else ExitCode.OK


def _probe(model_args: str) -> ExitCode:
    """Print what two almost equal images differ by, and what each way of asking about them does."""
    from minchange_eval.model_adapters.hf_multi_image import HuggingFaceMultiImage

    found = HuggingFaceMultiImage.create_from_arg_string(model_args).probe()
    print(f"largest difference of a log-probability; {found.tolerance:.2g} is allowed")
    print(f"  {found.between_images:<10.2g}between the two images")
    for (way, prompt), difference in found.differences.items():
        print(f"  {difference:<10.2g}{prompt}: {way}")
    for warning in found.warnings:
        print(f"  -         {warning}")
    found.check()
    return ExitCode.OK


def _versions() -> Iterator[Finding]:
    yield Finding(True, f"Python {platform.python_version()}")
    yield Finding(True, f"minchange-eval {version('minchange-eval')}")
    for package in _PACKAGES:
        yield _package(package)


def _package(name: str) -> Finding:
    from packaging.requirements import Requirement

    wanted = [Requirement(line) for line in requires("minchange-eval") or ()]
    bounds = next((r.specifier for r in wanted if r.name.replace("_", "-") == name.replace("_", "-")), None)
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding(False, f"{name} is not installed", "pip install 'minchange-eval[eval]'")
    if bounds is not None and not bounds.contains(found, prereleases=True):
        return Finding(False, f"{name} {found}, expected {bounds}", f"pip install '{name}{bounds}'")
    return Finding(True, f"{name} {found}")


def _seams() -> Iterator[Finding]:
    from minchange_eval.tasks.seams import SEAMS, moved_seams

    moved = moved_seams()
    for line in moved:
        yield Finding(False, line, "install a version of lmms-eval within the bounds above")
    if not moved:
        yield Finding(True, f"all {len(SEAMS)} are where they are expected")


def _task_names() -> Iterator[Finding]:
    try:
        from lmms_eval.tasks import TaskManager
    except ImportError as error:
        yield Finding(False, f"lmms-eval does not import ({error})", "pip install 'minchange-eval[eval]'")
        return
    from minchange_eval.tasks import hook

    hook.install()
    index = TaskManager().task_index
    ours = sorted(path.stem for path in hook.TASKS_FOLDER.rglob("*.yaml"))
    shadowed = [name for name in ours if not _is_ours(index.get(name, {}).get("yaml_path"), hook.TASKS_FOLDER)]
    for name in shadowed:
        yield Finding(False, f"{name} is another task's name here", f"use {hook.ALIAS_PREFIX}{name}", needed=False)
    if not shadowed:
        yield Finding(True, f"all {len(ours)} names lead to this package")


def _is_ours(yaml_path: object, folder: Path) -> bool:
    return isinstance(yaml_path, str) and Path(yaml_path).is_relative_to(folder)


def _data() -> Iterator[Finding]:
    from minchange_eval.core.errors import DataError
    from minchange_eval.data.releases import known_releases
    from minchange_eval.data.store import Store, prepared_names

    prepared = set(prepared_names())
    for name, release in known_releases().items():
        if name not in prepared:
            mend = f"minchange-eval prepare {name}" + (f"  ({release.how_to_get})" if release.how_to_get else "")
            yield Finding(False, f"{name} is not prepared", mend, needed=False)
            continue
        try:
            Store.open(name)
        except DataError as error:
            yield Finding(False, str(error), f"minchange-eval prepare {name} --force")
        else:
            yield Finding(True, f"{name} is prepared")


def _disk() -> Iterator[Finding]:
    from minchange_eval.core.home import home

    folder = home()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    what = f"{free / 2**30:.1f} GiB free under {folder}"
    enough = free >= _LEAST_FREE_BYTES
    yield Finding(enough, what, "" if enough else "free some space, or set MINCHANGE_HOME", needed=False)
