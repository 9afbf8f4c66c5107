"""Makes our tasks known to lmms-eval and its runs recorded, without importing it early.

lmms-eval has no entry point for tasks. Ours for models (`lmms_eval.models`) is loaded by every way of starting it,
so that is where the hook is set: three functions of lmms-eval are wrapped as their modules are imported.

- `TaskManager.initialize_tasks`: our folder joins the include path, each of our names gets a `minchange_` alias.
- `TaskManager._load_individual_task_or_group`: a task learns whether the model takes plain text or messages.
- `evaluator.evaluate` and `EvaluationTracker.save_results_aggregated`: the run record is made and written.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minchange_eval.tasks.run_recorder import RunRecorder

TASKS_FOLDER = Path(__file__).parent
ALIAS_PREFIX = "minchange_"
_MARK = "_minchange_hook"

Patch = Callable[[ModuleType], None]


def manifests() -> list[Any]:
    """The entry point: sets the hook, and adds no model."""
    install()
    return []


def install() -> None:
    """Set the hook; a second call does nothing."""
    patches: dict[str, Patch] = {
        "lmms_eval.tasks": _patch_task_manager,
        "lmms_eval.evaluator": _patch_evaluate,
        "lmms_eval.loggers.evaluation_tracker": _patch_tracker,
    }
    if not any(isinstance(finder, _PatchOnImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _PatchOnImport(patches))
    for name, patch in patches.items():
        module = sys.modules.get(name)
        if module is not None and not getattr(module.__spec__, "_initializing", False):
            _once(module, patch)


def recorder() -> RunRecorder:
    """The recorder of this process: one evaluation at a time, as lmms-eval itself runs them."""
    return _recorder()


@functools.cache
def _recorder() -> RunRecorder:
    from minchange_eval.tasks.run_recorder import RunRecorder

    return RunRecorder()


class _PatchOnImport(importlib.abc.MetaPathFinder):
    """Lets the ordinary finders find a module, and patches it once it has run."""

    def __init__(self, patches: dict[str, Patch]) -> None:
        self._patches = patches

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        patch = self._patches.get(fullname)
        if patch is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _PatchingLoader(spec.loader, patch)
        return spec


class _PatchingLoader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader, patch: Patch) -> None:
        self._loader = loader
        self._patch = patch

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _once(module, self._patch)

    def __getattr__(self, name: str) -> Any:  # importlib.resources and inspect ask the loader for more
        return getattr(self._loader, name)


def _once(module: ModuleType, patch: Patch) -> None:
    """Patch a module, once. A failure is told and goes no further: it would take other plugins' models with it."""
    if getattr(module, _MARK, False):
        return
    setattr(module, _MARK, True)
    try:
        patch(module)
    except AttributeError as error:  # another version of lmms-eval; each patch looks everything up before it sets any
        warnings.warn(
            f"minchange-eval: {module.__name__} is not as expected ({error}); its tasks or records will be missing; "
            "run: minchange-eval doctor",
            RuntimeWarning,
            stacklevel=2,
        )


def _patch_task_manager(module: ModuleType) -> None:
    manager = module.TaskManager
    initialize, load = manager.initialize_tasks, manager._load_individual_task_or_group

    @functools.wraps(initialize)
    def initialize_with_ours(
        self: Any, include_path: str | list[str] | None = None, include_defaults: bool = True
    ) -> dict[str, Any]:
        install()  # the evaluator may have been half imported the first time: it is what loads the entry points
        folders = [include_path] if isinstance(include_path, str) else list(include_path or ())
        index: dict[str, Any] = initialize(self, [*folders, str(TASKS_FOLDER)], include_defaults)
        ours = initialize(self, [str(TASKS_FOLDER)], False)
        aliases = {ALIAS_PREFIX + name.removeprefix(ALIAS_PREFIX): entry for name, entry in ours.items()}
        return {**aliases, **index}

    @functools.wraps(load)
    def load_and_tell(
        self: Any, name_or_config: Any = None, task_type: str = "simple", *args: Any, **kwargs: Any
    ) -> Any:
        loaded = load(self, name_or_config, task_type, *args, **kwargs)
        _tell(loaded, task_type)
        return loaded

    manager.initialize_tasks = initialize_with_ours
    manager._load_individual_task_or_group = load_and_tell


def _tell(loaded: Any, task_type: str) -> None:
    from minchange_eval.tasks.store_task import StoreTask

    for name, task in loaded.items():
        if isinstance(task, StoreTask):
            task.task_type = task_type
            task.set_config("task", name)  # an alias: requests and results must agree on the name


def _patch_evaluate(module: ModuleType) -> None:
    evaluate = module.evaluate

    @functools.wraps(evaluate)
    def evaluate_and_record(lm: Any, task_dict: Any, *args: Any, **kwargs: Any) -> Any:
        return recorder().evaluate(evaluate, lm, task_dict, *args, **kwargs)

    module.evaluate = evaluate_and_record  # type: ignore[attr-defined]


def _patch_tracker(module: ModuleType) -> None:
    tracker = module.EvaluationTracker
    save = tracker.save_results_aggregated

    @functools.wraps(save)
    def save_with_record(self: Any, *args: Any, **kwargs: Any) -> None:
        save(self, *args, **kwargs)
        folder = Path(self.output_path) / self.general_config_tracker.model_name_sanitized if self.output_path else None
        recorder().save(folder)

    tracker.save_results_aggregated = save_with_record
